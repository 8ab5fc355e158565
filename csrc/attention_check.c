/* What attention asks of its arguments, and how tensors become a problem. */
#include "attention.h"

static pe_status check_operand(const pe_tensor *t, const char *name, int64_t batch, int64_t heads, int64_t rows,
                               int64_t columns, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(t, PE_FLOAT32, "attention", name, err);
    if (status) return status;
    const int64_t wanted[4] = { batch, heads, rows, columns };
    int fits = t->ndim == 4;
    for (int d = 0; d < 4 && fits; d++) fits = wanted[d] < 0 || t->shape[d] == wanted[d];
    if (!fits)
        return pe_fail(err, PE_ERR_SHAPE, -1, "attention: %s of shape %s must be (%lld, %lld, %lld, %lld), -1: any",
                       name, pe_shape_text(t, text), (long long)batch, (long long)heads, (long long)rows,
                       (long long)columns);
    if (t->shape[3] > 1 && t->strides[3] != (int64_t)sizeof(float))
        return pe_fail(err, PE_ERR_ARGUMENT, 3, "attention: rows of %s must be dense, their step is %lld bytes", name,
                       (long long)t->strides[3]);
    return PE_OK;
}

static int64_t step(const pe_tensor *t, int axis) { return t->strides[axis] / (int64_t)pe_dtype_size(t->dtype); }

static pe_status check_mask(const pe_attention_args *a, struct pe_attention_problem *p, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    const pe_tensor *m = a->mask;
    const int64_t wanted[4] = { p->batch, p->heads, p->queries, p->keys };
    pe_status status = pe_check_tensor(m, "attention", "mask", err);
    if (status) return status;
    if (m->dtype != PE_FLOAT32 && m->dtype != PE_BOOL)
        return pe_fail(err, PE_ERR_DTYPE, -1, "attention: mask must be float32 or bool, is %s",
                       pe_dtype_name(m->dtype));
    int fits = m->ndim == 4;
    for (int d = 0; d < 4 && fits; d++) fits = m->shape[d] == wanted[d];
    if (!fits)
        return pe_fail(err, PE_ERR_SHAPE, -1, "attention: mask of shape %s must be (%lld, %lld, %lld, %lld)",
                       pe_shape_text(m, text), (long long)wanted[0], (long long)wanted[1], (long long)wanted[2],
                       (long long)wanted[3]);
    p->mask = m->data, p->mask_is_bool = m->dtype == PE_BOOL;
    p->mask_b = step(m, 0), p->mask_h = step(m, 1), p->mask_i = step(m, 2), p->mask_j = step(m, 3);
    return PE_OK;
}

static pe_status check_vector(const pe_tensor *t, const char *name, int dtype, int64_t n, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(t, dtype, "attention", name, err);
    if (!status && (t->ndim != 1 || t->shape[0] != n))
        status = pe_fail(err, PE_ERR_SHAPE, -1, "attention: %s of shape %s must have %lld elements", name,
                         pe_shape_text(t, text), (long long)n);
    return status;
}

static pe_status check_lengths(const pe_attention_args *a, struct pe_attention_problem *p, pe_error *err) {
    pe_status status = check_vector(a->lengths, "lengths", PE_INT64, p->batch, err);
    if (status) return status;
    p->lengths = a->lengths->data, p->length_step = step(a->lengths, 0);
    for (int64_t b = 0; b < p->batch; b++) {
        int64_t length = p->lengths[b * p->length_step];
        if (length < 0 || length > p->keys)
            return pe_fail(err, PE_ERR_INDEX, 0, "attention: lengths[%lld] is %lld, expected 0 to %lld", (long long)b,
                           (long long)length, (long long)p->keys);
    }
    return PE_OK;
}

static pe_status check_numbers(const pe_attention_args *a, pe_error *err) {
    if (a->query_start < -INT32_MAX || a->query_start > INT32_MAX)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "attention: query_start is %lld, expected at most 2^31 - 1",
                       (long long)a->query_start);
    if (a->window < 0)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "attention: window is %lld, expected 1 or more", (long long)a->window);
    if (a->window && !a->causal)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "attention: a window of %lld keys needs causal", (long long)a->window);
    return PE_OK;
}

static pe_status check_tensors(const pe_attention_args *a, struct pe_attention_problem *p, pe_error *err) {
    pe_status status = check_operand(a->q, "query", -1, -1, -1, -1, err);
    if (!status) status = check_operand(a->k, "key", a->q->shape[0], -1, -1, a->q->shape[3], err);
    if (!status) status = check_operand(a->v, "value", a->q->shape[0], a->k->shape[1], a->k->shape[2], -1, err);
    if (!status) status = check_operand(a->out, "out", a->q->shape[0], a->q->shape[1], a->q->shape[2], a->v->shape[3],
                                        err);
    if (status) return status;
    const int64_t heads = a->q->shape[1], kv_heads = a->k->shape[1];
    if (heads != kv_heads && (kv_heads == 0 || heads % kv_heads))
        return pe_fail(err, PE_ERR_SHAPE, 1, "attention: %lld heads of query are no multiple of %lld of key",
                       (long long)heads, (long long)kv_heads);
    if (a->k->shape[2] > INT32_MAX - 4096 || a->q->shape[2] > INT32_MAX)
        return pe_fail(err, PE_ERR_SHAPE, 2, "attention: more than 2^31 - 4096 keys or queries");
    *p = (struct pe_attention_problem){
        .batch = a->q->shape[0], .heads = heads, .group = kv_heads ? heads / kv_heads : 1, .queries = a->q->shape[2],
        .keys = a->k->shape[2], .depth = a->q->shape[3], .width = a->v->shape[3], .q = a->q->data, .k = a->k->data,
        .v = a->v->data, .out = a->out->data, .q_b = step(a->q, 0), .q_h = step(a->q, 1), .q_i = step(a->q, 2),
        .k_b = step(a->k, 0), .k_h = step(a->k, 1), .k_j = step(a->k, 2), .v_b = step(a->v, 0), .v_h = step(a->v, 1),
        .v_j = step(a->v, 2), .out_b = step(a->out, 0), .out_h = step(a->out, 1), .out_i = step(a->out, 2),
        .scale = a->scale, .causal = a->causal, .start = a->query_start,
        .window = a->window ? a->window : INT64_MAX,
    };
    return PE_OK;
}

static pe_status check_lse(const pe_attention_args *a, struct pe_attention_problem *p, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(a->lse, PE_FLOAT32, "attention", "lse", err);
    if (status) return status;
    if (a->lse->ndim != 3 || a->lse->shape[0] != p->batch || a->lse->shape[1] != p->heads ||
        a->lse->shape[2] != p->queries || !pe_is_contiguous(a->lse))
        return pe_fail(err, PE_ERR_SHAPE, -1, "attention: lse of shape %s must be a dense (%lld, %lld, %lld)",
                       pe_shape_text(a->lse, text), (long long)p->batch, (long long)p->heads, (long long)p->queries);
    p->lse = a->lse->data;
    return PE_OK;
}

pe_status pe_attention_check(const pe_attention_args *a, struct pe_attention_problem *p, pe_error *err) {
    if (!a) return pe_fail(err, PE_ERR_ARGUMENT, -1, "attention: no arguments");
    pe_status status = check_numbers(a, err);
    if (!status) status = check_tensors(a, p, err);
    if (!status && a->lse) status = check_lse(a, p, err);
    if (!status && a->mask) status = check_mask(a, p, err);
    if (!status && a->lengths) status = check_lengths(a, p, err);
    if (!status && a->slopes) {
        status = check_vector(a->slopes, "slopes", PE_FLOAT32, p->heads, err);
        p->slopes = a->slopes->data, p->slope_step = step(a->slopes, 0);
    }
    return status;
}

pe_status pe_attention_check_backward(const pe_attention_backward_args *a, struct pe_attention_problem *p,
                                      pe_error *err) {
    if (!a || !a->forward) return pe_fail(err, PE_ERR_ARGUMENT, -1, "attention_backward: no arguments");
    pe_status status = pe_attention_check(a->forward, p, err);
    if (status) return status;
    if (!p->lse) return pe_fail(err, PE_ERR_ARGUMENT, -1, "attention_backward: lse is missing");
    const int64_t kv_heads = a->forward->k->shape[1];
    status = check_operand(a->g, "g", p->batch, p->heads, p->queries, p->width, err);
    if (!status) status = check_operand(a->dq, "dq", p->batch, p->heads, p->queries, p->depth, err);
    if (!status) status = check_operand(a->dk, "dk", p->batch, kv_heads, p->keys, p->depth, err);
    return status ? status : check_operand(a->dv, "dv", p->batch, kv_heads, p->keys, p->width, err);
}
