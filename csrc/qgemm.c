/* The product of bytes: packs what is not packed yet, and takes sums out of dot.c's tiles. Sums are exact, so any order
 * and any cut gives the same bits. */
#include "quant.h"
#include "sizes.h"

#include <string.h>

size_t pe_qgemm_row_bytes(const struct pe_kernels *kernels, int64_t k) {
    return pe_dot_row_bytes(&kernels->qgemm.dot, parts(k, 4));
}

/* Finished sums, as they are. */
static void take_whole(const struct pe_qproduct *q, const struct pe_dot_rows *r) {
    const struct pe_kernels *kernels = q->ctx->kernels;
    int32_t *to = q->whole + r->i * q->c_i + r->j * q->c_j;
    size_t rows = (size_t)r->rows, columns = (size_t)r->columns;
    if (q->c_j == 1 && q->past_caches && columns % 16 == 0 && (uintptr_t)to % 64 == 0 && q->c_i % 16 == 0)
        kernels->half.stream(to, q->c_i, r->from, r->from_row, rows, columns);
    else if (q->c_j == 1) /* a copy of words, whatever they are */
        kernels->gemm.copy((float *)(void *)to, q->c_i, (const float *)(const void *)r->from, r->from_row, 1, rows,
                           columns);
    else
        for (int64_t y = 0; y < r->rows; y++)
            for (int64_t x = 0; x < r->columns; x++) to[y * q->c_i + x * q->c_j] = r->from[y * r->from_row + x];
}

static void scale(const struct pe_qproduct *q, const struct pe_dot_rows *r, int64_t y, int64_t rows, float *out,
                  int64_t out_row) {
    q->ctx->kernels->qgemm.scale(out, out_row, r->from + y * r->from_row, r->from_row, q->scale_a + r->i + y,
                                 q->scale_b + r->j, q->bias ? q->bias + r->j : NULL, (size_t)rows, (size_t)r->columns);
}

static void take_scaled(const struct pe_qproduct *q, const struct pe_dot_rows *r) {
    float line[PE_DOT_MAX_COLUMNS], *to = q->real + r->i * q->c_i + r->j * q->c_j;
    if (q->c_j == 1) scale(q, r, 0, r->rows, to, q->c_i);
    if (q->c_j == 1 && !q->activation) return;
    for (int64_t y = 0; y < r->rows; y++, to += q->c_i) {
        float *out = q->c_j == 1 ? to : line;
        if (out == line) scale(q, r, y, 1, line, 0);
        if (q->activation) {
            const void *in[1] = { out };
            const ptrdiff_t step[1] = { 1 };
            q->activation(out, in, step, (size_t)r->columns);
        }
        if (out == line)
            for (int64_t x = 0; x < r->columns; x++) to[x * q->c_j] = line[x];
    }
}

static void take(const void *who, const struct pe_dot_rows *rows) {
    const struct pe_qproduct *q = who;
    if (q->whole) take_whole(q, rows);
    else take_scaled(q, rows);
}

void pe_qgemm_run(struct pe_qproduct *q) {
    struct pe_dot_run run = { .ctx = q->ctx, .kernels = &q->ctx->kernels->qgemm.dot, .m = q->m, .n = q->n,
                              .groups = q->groups, .a = q->a, .a_row = q->a_row, .panels = q->panels,
                              .panel_bytes = q->panel_bytes, .sums = q->sums, .zero = q->zero,
                              .direct = q->c_j == 1 ? q->whole : NULL, .direct_row = q->c_i, .take = take, .who = q };
    q->past_caches = pe_dot_past_caches(&run, (size_t)q->m * (size_t)q->n * 4);
    pe_dot_run(&run);
}

/* ---- pe_qgemm: packs what is not packed yet ---- */

struct call {
    struct pe_qproduct q;
    const pe_qgemm_args *args;
    int64_t k;
    uint8_t *a;
    int8_t *b;
    int32_t *sums;
};

static void pack_a_body(int64_t begin, int64_t end, void *arg) {
    const struct call *c = arg;
    const pe_tensor *a = c->args->a;
    for (int64_t i = begin; i < end; i++)
        c->q.ctx->kernels->qgemm.pack_a(c->a + (size_t)i * c->q.a_row, (const uint8_t *)a->data + i * a->strides[0],
                                        a->strides[1], (size_t)c->k, a->dtype == PE_INT8 ? 128 : 0);
}

static void pack_b_body(int64_t begin, int64_t end, void *arg) {
    const struct call *c = arg;
    const pe_tensor *b = c->args->b;
    int64_t nr = c->q.ctx->kernels->qgemm.dot.nr;
    for (int64_t x = begin; x < end; x++)
        c->q.ctx->kernels->qgemm.pack_b(c->b + (size_t)x * c->q.panel_bytes, c->sums + x * nr,
                                        (const int8_t *)b->data + x * nr * b->strides[1], b->strides[0],
                                        b->strides[1], (size_t)c->k, (size_t)min64(nr, c->q.n - x * nr));
}

static pe_status check_vectors(const pe_qgemm_args *args, int64_t m, int64_t n, const struct pe_qpack_view *view,
                               pe_error *err) {
    pe_status status;
    if ((status = pe_quant_vector(args->zero_a, "qgemm", "zero_a", PE_INT32, m, 1, err))) return status;
    if ((status = pe_quant_vector(args->scale_a, "qgemm", "scale_a", PE_FLOAT32, m, 1, err))) return status;
    if ((status = pe_quant_vector(args->scale_b, "qgemm", "scale_b", PE_FLOAT32, n, 0, err))) return status;
    if ((status = pe_quant_vector(args->bias, "qgemm", "bias", PE_FLOAT32, n, 0, err))) return status;
    if (args->c->dtype == PE_INT32) {
        if (args->scale_a || args->scale_b || args->bias || args->activation != PE_NO_ACTIVATION)
            return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: scales, bias and activation need a float32 c");
        return PE_OK;
    }
    if (!args->scale_a) return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: a float32 c needs scale_a");
    if (!args->scale_b && !(args->packed && view->has_scale))
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: a float32 c needs scale_b, or a pack with scales");
    return PE_OK;
}

static pe_status check(pe_context *ctx, const pe_qgemm_args *args, struct pe_qpack_view *view, pe_error *err) {
    static const struct pe_operand_rule rule_a = { "a", 2, 1u << PE_UINT8 | 1u << PE_INT8 };
    static const struct pe_operand_rule rule_b = { "b", 2, 1u << PE_INT8 };
    static const struct pe_operand_rule rule_c = { "c", 2, 1u << PE_INT32 | 1u << PE_FLOAT32 };
    char text_a[PE_SHAPE_TEXT], text_c[PE_SHAPE_TEXT];
    pe_status status;
    if (!args) return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: no arguments");
    if ((status = pe_quant_operand(args->a, "qgemm", &rule_a, err))) return status;
    if ((status = pe_quant_operand(args->c, "qgemm", &rule_c, err))) return status;
    if (!args->b == !args->packed)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: either b or a pack must be given");
    if (args->packed) {
        if ((status = pe_qpack_open(ctx, args->packed, args->packed_bytes, "qgemm", view, err))) return status;
        if (view->kind != PE_QPACK_INT8)
            return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: the pack holds int4 weights, which pe_qlinear takes");
    } else {
        if ((status = pe_quant_operand(args->b, "qgemm", &rule_b, err))) return status;
        *view = (struct pe_qpack_view){ .k = args->b->shape[0], .n = args->b->shape[1] };
    }
    if (args->a->shape[1] != view->k)
        return pe_fail(err, PE_ERR_SHAPE, 1,
                       "qgemm: the columns of a %s must be as many as the rows of b (%lld, %lld)",
                       pe_shape_text(args->a, text_a), (long long)view->k, (long long)view->n);
    if (args->c->shape[0] != args->a->shape[0] || args->c->shape[1] != view->n)
        return pe_fail(err, PE_ERR_SHAPE, -1, "qgemm: c %s must be (%lld, %lld)", pe_shape_text(args->c, text_c),
                       (long long)args->a->shape[0], (long long)view->n);
    if ((status = check_vectors(args, args->a->shape[0], view->n, view, err))) return status;
    if ((status = pe_quant_writable(args->c, "qgemm", err))) return status;
    const pe_tensor *inputs[6] = { args->a, args->b, args->zero_a, args->scale_a, args->scale_b, args->bias };
    static const char *const names[6] = { "a", "b", "zero_a", "scale_a", "scale_b", "bias" };
    for (int x = 0; x < 6; x++)
        if ((status = pe_quant_apart(args->c, inputs[x], "qgemm", names[x], err))) return status;
    return PE_OK;
}

/* The parts of one scratch buffer, each on its own line. */
static size_t line_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

static void fill_vectors(struct call *c, char *at) {
    const pe_qgemm_args *args = c->args;
    int64_t m = c->q.m, n = c->q.n;
    int32_t shift = args->a->dtype == PE_INT8 ? 128 : 0;
    if (shift || args->zero_a) {
        int32_t *zero = (int32_t *)at;
        memset(zero, 0, (size_t)m * 4);
        if (args->zero_a) pe_quant_dense(zero, args->zero_a, m);
        for (int64_t i = 0; i < m; i++) zero[i] = (int32_t)((uint32_t)zero[i] + (uint32_t)shift);
        c->q.zero = zero;
    }
    at += line_up((size_t)m * 4);
    if (args->scale_a) pe_quant_dense(at, args->scale_a, m), c->q.scale_a = (const float *)at;
    at += line_up((size_t)m * 4);
    if (args->scale_b) pe_quant_dense(at, args->scale_b, n), c->q.scale_b = (const float *)at;
    at += line_up((size_t)n * 4);
    if (args->bias) pe_quant_dense(at, args->bias, n), c->q.bias = (const float *)at;
}

static pe_status run_call(struct call *c, const struct pe_qpack_view *view, pe_error *err) {
    pe_context *ctx = c->q.ctx;
    int64_t m = c->q.m, n = c->q.n, k = c->k, nr = ctx->kernels->qgemm.dot.nr, panels = parts(n, nr);
    c->q.a_row = pe_qgemm_row_bytes(ctx->kernels, k);
    size_t vectors = 2 * line_up((size_t)m * 4) + 2 * line_up((size_t)n * 4), a_bytes = (size_t)m * c->q.a_row;
    size_t b_bytes = 0, sums_bytes = 0;
    if (!c->args->packed) {
        c->q.panel_bytes = pe_dot_panel_bytes(&ctx->kernels->qgemm.dot, c->q.groups);
        b_bytes = (size_t)panels * c->q.panel_bytes;
        sums_bytes = line_up((size_t)(panels * nr) * 4);
    }
    char *scratch = pe_alloc(ctx, vectors + a_bytes + b_bytes + sums_bytes + 64);
    if (!scratch)
        return pe_fail(err, PE_ERR_MEMORY, -1, "qgemm: no memory for %zu bytes of packing",
                       vectors + a_bytes + b_bytes + sums_bytes);
    fill_vectors(c, scratch);
    c->q.a = c->a = (uint8_t *)scratch + vectors;
    pe_parallel_for(ctx, m, 1 + 65536 / (k + 1), pe_threads_for(ctx, (double)m * (double)k * 0.06), pack_a_body, c);
    if (c->args->packed) {
        c->q.panels = view->data, c->q.panel_bytes = view->panel_bytes, c->q.sums = view->sums;
        if (!c->q.scale_b) c->q.scale_b = view->scale;
    } else {
        c->q.sums = c->sums = (int32_t *)(c->a + a_bytes);
        c->q.panels = c->b = (int8_t *)c->sums + sums_bytes;
        pe_parallel_for(ctx, panels, 1 + 65536 / (k * nr + 1), pe_threads_for(ctx, (double)n * (double)k * 0.2),
                        pack_b_body, c);
    }
    pe_qgemm_run(&c->q);
    pe_free(ctx, scratch);
    return PE_OK;
}

pe_status pe_qgemm(pe_context *ctx, const pe_qgemm_args *args, pe_error *err) {
    struct pe_qpack_view view;
    struct call c = { .args = args };
    pe_status status = check(ctx, args, &view, err);
    if (status) return status;
    if ((status = pe_activation_loop(ctx, args->activation, "qgemm", &c.q.activation, err))) return status;
    int64_t m = args->a->shape[0], n = view.n;
    if (m == 0 || n == 0) return PE_OK;
    c.k = view.k;
    c.q.ctx = ctx, c.q.m = m, c.q.n = n, c.q.groups = parts(view.k, 4);
    c.q.whole = args->c->dtype == PE_INT32 ? args->c->data : NULL;
    c.q.real = c.q.whole ? NULL : args->c->data;
    c.q.c_i = args->c->strides[0] / 4, c.q.c_j = n == 1 ? 1 : args->c->strides[1] / 4;
    return run_call(&c, &view, err);
}
