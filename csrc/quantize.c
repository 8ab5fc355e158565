/* pe_quantize: each row of floats by itself. */
#include "quant.h"
#include "rows.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const struct { int32_t least, most; int symmetric; } kinds[] = {
    [PE_QUANT_S8] = { -127, 127, 1 }, [PE_QUANT_U8] = { 0, 255, 0 },
    [PE_QUANT_S4] = { 1, 15, 1 },     [PE_QUANT_U4] = { 0, 15, 0 },
};

struct pe_row_quant pe_row_quant_of(const struct pe_qgemm_kernels *kernels, int kind, const float *x, int64_t n) {
    float low, high, steps;
    struct pe_row_quant q = { .least = kinds[kind].least, .most = kinds[kind].most };
    kernels->range(&low, &high, x, (size_t)n);
    q.zero = kinds[kind].symmetric ? (q.least + q.most) / 2 : q.least;
    if (low != low) { /* a NaN or an infinity in the row: no range to speak of */
        q.scale = NAN;
        q.least = q.most = q.zero;
        return q;
    }
    if (kinds[kind].symmetric) {
        steps = (float)(q.most - q.least) * 0.5f;
        q.scale = (-low > high ? -low : high) / steps;
    } else {
        steps = (float)(q.most - q.least);
        q.scale = high / steps - low / steps; /* high - low may overflow */
    }
    if (q.scale < FLT_MIN) q.scale = FLT_MIN; /* its inverse is finite */
    q.inverse = 1.0f / q.scale;
    if (!kinds[kind].symmetric) {
        float zero = rintf((float)q.least - low * q.inverse);
        q.zero = zero > (float)q.most ? q.most : (int32_t)zero;
    }
    return q;
}

struct quantizing {
    const struct pe_qgemm_kernels *kernels;
    const pe_quantize_args *args;
    struct pe_rows rows;
};

static void quantize_body(int64_t begin, int64_t end, void *arg) {
    const struct quantizing *z = arg;
    const pe_quantize_args *args = z->args;
    for (int64_t i = begin; i < end; i++) {
        const float *x = pe_row(&z->rows, i);
        uint8_t *to = (uint8_t *)args->out->data + i * args->out->strides[0];
        struct pe_row_quant q = pe_row_quant_of(z->kernels, args->kind, x, z->rows.n);
        if (q.scale != q.scale) memset(to, q.zero, (size_t)z->rows.n);
        else z->kernels->quantize(to, x, (size_t)z->rows.n, q.inverse, q.zero, q.least, q.most);
        *(float *)((char *)args->scale->data + i * args->scale->strides[0]) = q.scale;
        if (args->zero) *(int32_t *)((char *)args->zero->data + i * args->zero->strides[0]) = q.zero;
    }
}

static pe_status check(const pe_quantize_args *args, pe_error *err) {
    char in_shape[PE_SHAPE_TEXT], out_shape[PE_SHAPE_TEXT];
    pe_status status;
    if (!args) return pe_fail(err, PE_ERR_ARGUMENT, -1, "quantize: no arguments");
    if (args->kind < PE_QUANT_S8 || args->kind > PE_QUANT_U4)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "quantize: kind %d is unknown", args->kind);
    const struct pe_operand_rule in = { "in", 2, 1u << PE_FLOAT32 };
    const struct pe_operand_rule out = { "out", 2, 1u << (args->kind == PE_QUANT_S8 ? PE_INT8 : PE_UINT8) };
    if ((status = pe_quant_operand(args->in, "quantize", &in, err))) return status;
    if ((status = pe_quant_operand(args->out, "quantize", &out, err))) return status;
    int64_t rows = args->in->shape[0], n = args->in->shape[1];
    if (args->out->shape[0] != rows || args->out->shape[1] != n)
        return pe_fail(err, PE_ERR_SHAPE, -1, "quantize: out %s must have the shape of in %s",
                       pe_shape_text(args->out, out_shape), pe_shape_text(args->in, in_shape));
    if (n > 1 && args->out->strides[1] != 1)
        return pe_fail(err, PE_ERR_ARGUMENT, 1, "quantize: the rows of out must be dense");
    if (!args->scale) return pe_fail(err, PE_ERR_ARGUMENT, -1, "quantize: scale is missing");
    if ((status = pe_quant_vector(args->scale, "quantize", "scale", PE_FLOAT32, rows, 0, err))) return status;
    if ((status = pe_quant_vector(args->zero, "quantize", "zero", PE_INT32, rows, 0, err))) return status;
    if (!args->zero && !kinds[args->kind].symmetric)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "quantize: zero is missing, which differs from row to row");
    if ((status = pe_quant_writable(args->out, "quantize", err))) return status;
    return pe_quant_apart(args->out, args->in, "quantize", "in", err);
}

pe_status pe_quantize(pe_context *ctx, const pe_quantize_args *args, pe_error *err) {
    struct quantizing z = { .kernels = &ctx->kernels->qgemm, .args = args };
    pe_status status = check(args, err);
    if (status || args->in->shape[0] == 0) return status;
    if ((status = pe_rows_open_input(ctx, &z.rows, args->in, err))) return status;
    pe_rows_for(ctx, &z.rows, 0.25, quantize_body, &z);
    return pe_rows_close(ctx, &z.rows, 0, err);
}
