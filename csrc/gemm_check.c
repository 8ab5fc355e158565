/* What the product asks of its arguments, and how tensors become a problem and a batch. */
#include "gemm_plan.h"

#include <stdlib.h>

#define DESCRIBE_OPERANDS(t, u)                     \
    char text_t[PE_SHAPE_TEXT], text_u[PE_SHAPE_TEXT]; \
    pe_shape_text(t, text_t);                       \
    pe_shape_text(u, text_u)

pe_status pe_gemm_check_operand(const pe_tensor *t, const char *name, int least_axes, int may_be_half,
                                pe_error *err) {
    if (!t) return pe_fail(err, PE_ERR_ARGUMENT, -1, "gemm: %s is missing", name);
    if (t->ndim < least_axes || t->ndim > PE_MAX_DIMS)
        return pe_fail(err, PE_ERR_SHAPE, -1, "gemm: %s must have %d to %d axes, has %d", name, least_axes,
                       PE_MAX_DIMS, (int)t->ndim);
    if (t->dtype != PE_FLOAT32 && !(may_be_half && t->dtype == PE_BFLOAT16))
        return pe_fail(err, PE_ERR_DTYPE, -1, "gemm: %s must be float32%s, is %s", name,
                       may_be_half ? " or bfloat16" : "", pe_dtype_name(t->dtype));
    int64_t size = (int64_t)pe_dtype_size(t->dtype);
    int empty = 0;
    for (int d = 0; d < t->ndim; d++) {
        if (t->shape[d] < 0)
            return pe_fail(err, PE_ERR_SHAPE, d, "gemm: axis %d of %s has the negative size %lld", d, name,
                           (long long)t->shape[d]);
        if (t->strides[d] % size)
            return pe_fail(err, PE_ERR_ARGUMENT, d,
                           "gemm: stride %lld of axis %d of %s is no multiple of the element's %d bytes",
                           (long long)t->strides[d], d, name, (int)size);
        empty |= t->shape[d] == 0;
    }
    if (!empty && !t->data) return pe_fail(err, PE_ERR_ARGUMENT, -1, "gemm: %s has no data", name);
    if ((uintptr_t)t->data % (uintptr_t)size)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "gemm: the data of %s are not aligned to %d bytes", name,
                       (int)size);
    return PE_OK;
}

/* The addresses [*low, *high) that t's elements lie in; 0 when they overflow. Not for empty tensors. */
static int byte_range(const pe_tensor *t, intptr_t *low, intptr_t *high) {
    *low = (intptr_t)t->data;
    *high = *low;
    for (int d = 0; d < t->ndim; d++) {
        int64_t reach;
        if (__builtin_mul_overflow(t->shape[d] - 1, t->strides[d], &reach)) return 0;
        if (__builtin_add_overflow(reach < 0 ? *low : *high, reach, reach < 0 ? low : high)) return 0;
    }
    return !__builtin_add_overflow(*high, (intptr_t)pe_dtype_size(t->dtype), high);
}

static int is_empty(const pe_tensor *t) {
    for (int d = 0; d < t->ndim; d++)
        if (t->shape[d] == 0) return 1;
    return 0;
}

pe_status pe_gemm_check_apart(const pe_tensor *c, const pe_tensor *t, const char *name, pe_error *err) {
    intptr_t low, high, c_low, c_high;
    if (is_empty(t)) return PE_OK;
    if (!byte_range(t, &low, &high))
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "gemm: the strides of %s leave the address space", name);
    if (is_empty(c) || !byte_range(c, &c_low, &c_high)) return PE_OK;
    if (low < c_high && c_low < high)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "gemm: c must not overlap %s", name);
    return PE_OK;
}

/* Elements of c that share memory would be written by several threads. Refused unless each stride
 * steps over everything that the smaller strides reach: true of every permuted or sliced array. */
pe_status pe_gemm_check_writable(const pe_tensor *c, pe_error *err) {
    intptr_t low, high;
    int order[PE_MAX_DIMS], axes = 0;
    if (is_empty(c)) return PE_OK;
    if (!byte_range(c, &low, &high))
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "gemm: the strides of c leave the address space");
    for (int d = 0; d < c->ndim; d++) {
        if (c->shape[d] == 1) continue;
        int at = axes++;
        for (; at > 0 && llabs(c->strides[order[at - 1]]) > llabs(c->strides[d]); at--)
            order[at] = order[at - 1];
        order[at] = d;
    }
    int64_t reach = 0; /* cannot overflow: the whole range has been added up above */
    for (int x = 0; x < axes; x++) {
        int d = order[x];
        if (llabs(c->strides[d]) <= reach)
            return pe_fail(err, PE_ERR_ARGUMENT, d,
                           "gemm: c overlaps itself, stride %lld of axis %d is too small",
                           (long long)c->strides[d], d);
        reach += llabs(c->strides[d]) * (c->shape[d] - 1);
    }
    return PE_OK;
}

/* With its head and the padding of its panels. */
static pe_status check_apart_from_pack(pe_context *ctx, const pe_tensor *c, const void *packed, const pe_tensor *b,
                                       pe_error *err) {
    size_t bytes;
    pe_status status = pe_pack_bytes(ctx, &(pe_pack_args){ .b = b }, &bytes, err);
    if (status) return status;
    const pe_tensor whole = { .data = (void *)packed, .dtype = PE_UINT8, .ndim = 1, .shape = { (int64_t)bytes },
                              .strides = { 1 } };
    return pe_gemm_check_apart(c, &whole, "packed", err);
}

static pe_status check_matrices(const pe_tensor *a, const pe_tensor *b, const pe_tensor *c,
                                const pe_tensor *bias, pe_error *err) {
    int64_t m = a->shape[a->ndim - 2], k = a->shape[a->ndim - 1], n = b->shape[b->ndim - 1];
    if (b->shape[b->ndim - 2] != k) {
        DESCRIBE_OPERANDS(a, b);
        return pe_fail(err, PE_ERR_SHAPE, b->ndim - 2,
                       "gemm: the columns of a %s must be as many as the rows of b %s", text_t, text_u);
    }
    if (c->shape[c->ndim - 2] != m || c->shape[c->ndim - 1] != n) {
        char text_a[PE_SHAPE_TEXT];
        DESCRIBE_OPERANDS(b, c);
        return pe_fail(err, PE_ERR_SHAPE, c->ndim - 1,
                       "gemm: c %s must end in (%lld, %lld) for a %s and b %s", text_u,
                       (long long)m, (long long)n, pe_shape_text(a, text_a), text_t);
    }
    if (bias && bias->shape[0] != n) {
        DESCRIBE_OPERANDS(bias, c);
        return pe_fail(err, PE_ERR_SHAPE, 0, "gemm: bias %s must have as many elements as c %s has columns",
                       text_t, text_u);
    }
    return PE_OK;
}

/* The leading axes, right-aligned as NumPy does it; c must have exactly the broadcast shape. */
static pe_status read_batch(const pe_tensor *a, const pe_tensor *b, const pe_tensor *c,
                            const pe_tensor *residual, struct pe_gemm_batch *batch, pe_error *err) {
    int axes = (a->ndim > b->ndim ? a->ndim : b->ndim) - 2;
    DESCRIBE_OPERANDS(a, b);
    if (c->ndim - 2 != axes)
        return pe_fail(err, PE_ERR_SHAPE, -1, "gemm: c must have %d axes for a %s and b %s, has %d",
                       axes + 2, text_t, text_u, (int)c->ndim);
    batch->axes = 0;
    batch->count = 1;
    for (int d = 0; d < axes; d++) {
        int da = d - axes + a->ndim - 2, db = d - axes + b->ndim - 2;
        int64_t size_a = da >= 0 ? a->shape[da] : 1, size_b = db >= 0 ? b->shape[db] : 1;
        int64_t size = size_a == 1 ? size_b : size_a;
        if (size_a != size && size_a != 1) size = -1;
        if (size_b != size && size_b != 1) size = -1;
        if (size < 0)
            return pe_fail(err, PE_ERR_SHAPE, d, "gemm: the leading axes of a %s and b %s do not broadcast",
                           text_t, text_u);
        if (c->shape[d] != size) {
            char text_c[PE_SHAPE_TEXT];
            return pe_fail(err, PE_ERR_SHAPE, d, "gemm: axis %d of c %s must be %lld for a %s and b %s", d,
                           pe_shape_text(c, text_c), (long long)size, text_t, text_u);
        }
        if (__builtin_mul_overflow(batch->count, size, &batch->count))
            return pe_fail(err, PE_ERR_SHAPE, d, "gemm: the batch of a %s and b %s is too large", text_t,
                           text_u);
        if (size == 1) continue;
        int at = batch->axes++;
        batch->size[at] = size;
        batch->a[at] = size_a == 1 ? 0 : a->strides[da] / (int64_t)pe_dtype_size(a->dtype);
        batch->b[at] = size_b == 1 ? 0 : b->strides[db] / (int64_t)pe_dtype_size(b->dtype);
        batch->c[at] = c->strides[d] / (int64_t)pe_dtype_size(c->dtype);
        batch->residual[at] = residual ? residual->strides[d] / 4 : 0;
        batch->bias[at] = batch->packed[at] = 0;
    }
    return PE_OK;
}

/* A batch axis over which b stands still and whose steps in a and c continue their rows is more
 * rows of the same product: (batch, m, k) against one weight packs that weight once. */
static void fold_batch(struct pe_gemm_problem *g, struct pe_gemm_batch *batch) {
    while (batch->axes > 0) {
        int d = batch->axes - 1;
        int64_t a_step, c_step, residual_step;
        if (batch->b[d] != 0) return;
        if (g->m == 1) { /* the rows have no step of their own yet */
            g->a_i = batch->a[d];
            g->c_i = batch->c[d];
            g->residual_i = batch->residual[d];
        } else {
            if (__builtin_mul_overflow(g->a_i, g->m, &a_step) || a_step != batch->a[d]) return;
            if (__builtin_mul_overflow(g->c_i, g->m, &c_step) || c_step != batch->c[d]) return;
            if (__builtin_mul_overflow(g->residual_i, g->m, &residual_step) || residual_step != batch->residual[d])
                return;
        }
        g->m *= batch->size[d];
        batch->count /= batch->size[d];
        batch->axes = d;
    }
}

static pe_status check_residual(const pe_tensor *residual, const pe_tensor *c, pe_error *err) {
    pe_status status = pe_gemm_check_operand(residual, "residual", 2, 0, err);
    if (status) return status;
    if (!pe_same_shape(residual, c)) {
        DESCRIBE_OPERANDS(residual, c);
        return pe_fail(err, PE_ERR_SHAPE, -1, "gemm: residual %s must have the shape of c %s", text_t, text_u);
    }
    return pe_gemm_check_apart(c, residual, "residual", err);
}

static pe_status check_result(const pe_gemm_args *args, const pe_tensor *a, const pe_tensor *b, pe_error *err) {
    int halves = a->dtype == PE_BFLOAT16 && b->dtype == PE_BFLOAT16;
    pe_status status = pe_gemm_check_operand(args->c, "c", 2, halves, err);
    if (!status && args->accumulate && args->c->dtype != PE_FLOAT32)
        return pe_fail(err, PE_ERR_DTYPE, -1, "gemm: accumulate needs a float32 c, it is %s",
                       pe_dtype_name(args->c->dtype));
    return status;
}

pe_status pe_gemm_check(pe_context *ctx, const pe_gemm_args *args, struct pe_gemm_problem *g,
                        struct pe_gemm_batch *batch, pe_error *err) {
    if (!args) return pe_fail(err, PE_ERR_ARGUMENT, -1, "gemm: no arguments");
    const pe_tensor *a = args->a, *b = args->b, *c = args->c, *bias = args->bias, *residual = args->residual;
    pe_tensor from_pack;
    pe_loop *activation;
    pe_status status;
    if (args->packed) {
        if (b) return pe_fail(err, PE_ERR_ARGUMENT, -1, "gemm: b and packed are given, one is needed");
        if ((status = pe_gemm_open_pack(ctx, args->packed, &from_pack, err))) return status;
        b = &from_pack;
    }
    if ((status = pe_gemm_check_operand(a, "a", 2, 1, err))) return status;
    if ((status = pe_gemm_check_operand(b, "b", 2, 1, err))) return status;
    if ((status = check_result(args, a, b, err))) return status;
    if (bias && (status = pe_gemm_check_operand(bias, "bias", 1, 0, err))) return status;
    if (bias && bias->ndim != 1)
        return pe_fail(err, PE_ERR_SHAPE, -1, "gemm: bias must have 1 axis, has %d", (int)bias->ndim);
    if (residual && (status = check_residual(residual, c, err))) return status;
    if ((status = read_batch(a, b, c, residual, batch, err))) return status;
    if ((status = check_matrices(a, b, c, bias, err))) return status;
    if ((status = pe_activation_loop(ctx, args->activation, "gemm", &activation, err))) return status;
    if ((status = pe_gemm_check_writable(c, err))) return status;
    if ((status = pe_gemm_check_apart(c, a, "a", err))) return status;
    status = args->packed ? check_apart_from_pack(ctx, c, args->packed, b, err) : pe_gemm_check_apart(c, b, "b", err);
    if (status) return status;
    if (bias && (status = pe_gemm_check_apart(c, bias, "bias", err))) return status;

    int ra = a->ndim - 2, rb = b->ndim - 2, rc = c->ndim - 2;
    int64_t a_size = (int64_t)pe_dtype_size(a->dtype), b_size = (int64_t)pe_dtype_size(b->dtype);
    int64_t c_size = (int64_t)pe_dtype_size(c->dtype);
    *g = (struct pe_gemm_problem){
        .m = a->shape[ra], .k = a->shape[ra + 1], .n = b->shape[rb + 1],
        .a = a->data, .b = b->data, .c = c->data, .bias = bias ? bias->data : NULL,
        .residual = residual ? residual->data : NULL, .packed = args->packed ? b->data : NULL,
        .a_half = a->dtype == PE_BFLOAT16, .b_half = b->dtype == PE_BFLOAT16,
        .c_half = c->dtype == PE_BFLOAT16,
        .a_i = a->strides[ra] / a_size, .a_p = a->strides[ra + 1] / a_size,
        .b_p = b->strides[rb] / b_size, .b_j = b->strides[rb + 1] / b_size,
        .c_i = c->strides[rc] / c_size, .c_j = c->strides[rc + 1] / c_size,
        .bias_i = 0, .bias_j = bias ? bias->strides[0] / 4 : 0,
        .residual_i = residual ? residual->strides[rc] / 4 : 0,
        .residual_j = residual ? residual->strides[rc + 1] / 4 : 0,
        .scale = args->scale, .activation = activation, .accumulate = args->accumulate,
    };
    if (batch->count > 0 && g->m > 0) fold_batch(g, batch);
    return PE_OK;
}
