/* pe_qlinear: float rows against packed weights; int8 packs meet rows quantized on the way. */
#include "quant.h"
#include "rows.h"

#include <string.h>

enum { CHUNK = 512 };

static size_t line_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

struct run {
    struct pe_qproduct q;
    struct pe_rows rows;
    uint8_t *a;
    int32_t *zero;
    float *scale;
};

/* One row: its range, then its bytes, a chunk at a time through L1 into the packed form. */
static void quantize_body(int64_t begin, int64_t end, void *arg) {
    const struct run *r = arg;
    const struct pe_qgemm_kernels *kernels = &r->q.ctx->kernels->qgemm;
    uint8_t bytes[CHUNK];
    for (int64_t i = begin; i < end; i++) {
        const float *x = pe_row(&r->rows, i);
        int64_t n = r->rows.n;
        struct pe_row_quant row = pe_row_quant_of(kernels, PE_QUANT_U8, x, n);
        r->zero[i] = row.zero;
        r->scale[i] = row.scale;
        uint8_t *to = r->a + (size_t)i * r->q.a_row;
        for (int64_t p = 0; p < n; p += CHUNK) {
            size_t count = (size_t)(n - p < CHUNK ? n - p : CHUNK);
            if (row.scale != row.scale) memset(bytes, row.zero, count);
            else kernels->quantize(bytes, x + p, count, row.inverse, row.zero, row.least, row.most);
            kernels->pack_a(to + p / 4 * kernels->dot.group, bytes, 1, count, 0);
        }
    }
}

static pe_status run_int8(pe_context *ctx, const struct pe_qpack_view *view, const pe_qlinear_args *args,
                          const float *bias, pe_error *err) {
    struct run r = { .q = { .ctx = ctx, .m = args->x->shape[0], .n = view->n,
                            .groups = view->k / 4 + (view->k % 4 != 0), .panels = view->data,
                            .panel_bytes = view->panel_bytes, .sums = view->sums,
                            .scale_b = view->scale, .bias = bias, .real = args->out->data } };
    int64_t m = r.q.m;
    pe_status status;
    if (!view->has_scale)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "qlinear: the pack was made without scales");
    if (view->k > PE_QUANT_MAX_K)
        return pe_fail(err, PE_ERR_SHAPE, 1, "qlinear: %lld columns of int8 are more than %d, sums could wrap",
                       (long long)view->k, PE_QUANT_MAX_K);
    if ((status = pe_activation_loop(ctx, args->activation, "qlinear", &r.q.activation, err))) return status;
    r.q.c_i = args->out->strides[0] / 4, r.q.c_j = view->n == 1 ? 1 : args->out->strides[1] / 4;
    r.q.a_row = pe_qgemm_row_bytes(ctx->kernels, view->k);
    size_t vector = line_up((size_t)m * 4), bytes = 2 * vector + (size_t)m * r.q.a_row;
    char *scratch = pe_alloc(ctx, bytes);
    if (!scratch) return pe_fail(err, PE_ERR_MEMORY, -1, "qlinear: no memory for %zu bytes of quantized x", bytes);
    r.zero = (int32_t *)scratch, r.scale = (float *)(scratch + vector);
    r.a = (uint8_t *)scratch + 2 * vector;
    r.q.zero = r.zero, r.q.scale_a = r.scale, r.q.a = r.a;
    status = pe_rows_open_input(ctx, &r.rows, args->x, err);
    if (status == PE_OK) {
        pe_rows_for(ctx, &r.rows, 0.25, quantize_body, &r);
        pe_qgemm_run(&r.q);
    }
    pe_rows_close(ctx, &r.rows, 0, NULL);
    pe_free(ctx, scratch);
    return status;
}

static pe_status check(pe_context *ctx, const pe_qlinear_args *args, struct pe_qpack_view *view, pe_error *err) {
    static const struct pe_operand_rule rule_x = { "x", 2, 1u << PE_FLOAT32 };
    static const struct pe_operand_rule rule_out = { "out", 2, 1u << PE_FLOAT32 };
    char text_x[PE_SHAPE_TEXT], text_out[PE_SHAPE_TEXT];
    pe_status status;
    if (!args) return pe_fail(err, PE_ERR_ARGUMENT, -1, "qlinear: no arguments");
    if ((status = pe_quant_operand(args->x, "qlinear", &rule_x, err))) return status;
    if ((status = pe_quant_operand(args->out, "qlinear", &rule_out, err))) return status;
    if ((status = pe_qpack_open(ctx, args->packed, args->packed_bytes, "qlinear", view, err))) return status;
    if (args->x->shape[1] != view->k)
        return pe_fail(err, PE_ERR_SHAPE, 1,
                       "qlinear: x %s must have as many columns as the weights (%lld, %lld) have rows",
                       pe_shape_text(args->x, text_x), (long long)view->k, (long long)view->n);
    if (args->out->shape[0] != args->x->shape[0] || args->out->shape[1] != view->n)
        return pe_fail(err, PE_ERR_SHAPE, -1, "qlinear: out %s must be (%lld, %lld)",
                       pe_shape_text(args->out, text_out), (long long)args->x->shape[0], (long long)view->n);
    if ((status = pe_quant_vector(args->bias, "qlinear", "bias", PE_FLOAT32, view->n, 0, err))) return status;
    if ((status = pe_quant_writable(args->out, "qlinear", err))) return status;
    if ((status = pe_quant_apart(args->out, args->x, "qlinear", "x", err))) return status;
    return pe_quant_apart(args->out, args->bias, "qlinear", "bias", err);
}

pe_status pe_qlinear(pe_context *ctx, const pe_qlinear_args *args, pe_error *err) {
    struct pe_qpack_view view;
    pe_status status = check(ctx, args, &view, err);
    if (status || args->x->shape[0] == 0 || view.n == 0) return status;
    const float *bias = args->bias ? args->bias->data : NULL;
    float *copy = NULL;
    if (args->bias && view.n > 1 && args->bias->strides[0] != 4) {
        copy = pe_alloc(ctx, (size_t)view.n * 4);
        if (!copy) return pe_fail(err, PE_ERR_MEMORY, -1, "qlinear: no memory for the bias");
        pe_quant_dense(copy, args->bias, view.n);
        bias = copy;
    }
    status = view.kind == PE_QPACK_INT4 ? pe_int4_run(ctx, &view, args, bias, err)
                                        : run_int8(ctx, &view, args, bias, err);
    pe_free(ctx, copy);
    return status;
}
