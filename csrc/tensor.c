/* Element types, and what every call asks of the shapes and strides that it is given. */
#include "internal.h"

static const struct { const char *name; size_t size; } types[PE_DTYPE_COUNT] = {
    [PE_FLOAT32] = {"float32", 4}, [PE_FLOAT64] = {"float64", 8}, [PE_BFLOAT16] = {"bfloat16", 2},
    [PE_FLOAT16] = {"float16", 2}, [PE_INT8] = {"int8", 1},       [PE_INT16] = {"int16", 2},
    [PE_INT32] = {"int32", 4},     [PE_INT64] = {"int64", 8},     [PE_UINT8] = {"uint8", 1},
    [PE_BOOL] = {"bool", 1},
};

size_t pe_dtype_size(int dtype) { return dtype >= 0 && dtype < PE_DTYPE_COUNT ? types[dtype].size : 0; }

const char *pe_dtype_name(int dtype) {
    return dtype >= 0 && dtype < PE_DTYPE_COUNT ? types[dtype].name : "unknown type";
}

int64_t pe_numel(const pe_tensor *t) {
    int64_t product = 1;
    int overflow = 0, empty = 0;
    if (t->ndim < 0 || t->ndim > PE_MAX_DIMS)
        return -1;
    for (int i = 0; i < t->ndim; i++) {
        if (t->shape[i] < 0)
            return -1;
        empty |= t->shape[i] == 0;
        overflow |= __builtin_mul_overflow(product, t->shape[i], &product);
    }
    /* an axis of 0 makes the others' product irrelevant, however large */
    return empty ? 0 : overflow ? -1 : product;
}

int pe_is_contiguous(const pe_tensor *t) {
    int64_t expected = (int64_t)pe_dtype_size(t->dtype);
    if (pe_numel(t) == 0)
        return 1;
    for (int i = t->ndim - 1; i >= 0; i--) {
        if (t->shape[i] == 1)
            continue;
        if (t->strides[i] != expected || __builtin_mul_overflow(expected, t->shape[i], &expected))
            return 0;
    }
    return 1;
}

int pe_is_channels_last(const pe_tensor *t) {
    int64_t expected = (int64_t)pe_dtype_size(t->dtype);
    for (int i = 0; i < t->ndim; i++) {
        const int axis = i == 0 ? 1 : i == t->ndim - 1 ? 0 : t->ndim - i;
        if (t->shape[axis] == 1)
            continue;
        if (t->strides[axis] != expected || __builtin_mul_overflow(expected, t->shape[axis], &expected))
            return 0;
    }
    return 1;
}

int pe_same_shape(const pe_tensor *a, const pe_tensor *b) {
    int same = a->ndim == b->ndim;
    for (int i = 0; same && i < a->ndim; i++) same = a->shape[i] == b->shape[i];
    return same;
}

pe_status pe_check_tensor(const pe_tensor *t, const char *operation, const char *argument, pe_error *err) {
    char shape[PE_SHAPE_TEXT];
    if (!t)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: %s is missing", operation, argument);
    int64_t size = (int64_t)pe_dtype_size(t->dtype), bytes;
    if (!size)
        return pe_fail(err, PE_ERR_DTYPE, -1, "%s: %s has the unknown element type %d", operation, argument,
                       (int)t->dtype);
    if (t->ndim < 0 || t->ndim > PE_MAX_DIMS)
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s has %d axes, allowed are 0 to %d", operation, argument,
                       (int)t->ndim, PE_MAX_DIMS);
    for (int i = 0; i < t->ndim; i++)
        if (t->shape[i] < 0)
            return pe_fail(err, PE_ERR_SHAPE, i, "%s: %s has the negative size %lld on axis %d", operation,
                           argument, (long long)t->shape[i], i);
    int64_t count = pe_numel(t);
    if (count < 0 || __builtin_mul_overflow(count, size, &bytes))
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s of shape %s has too many elements", operation, argument,
                       pe_shape_text(t, shape));
    if (count && !t->data)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: %s of shape %s has no data", operation, argument,
                       pe_shape_text(t, shape));
    for (int i = 0; i < t->ndim; i++) {
        int64_t reach;
        if (count && t->shape[i] > 1 &&
            (t->strides[i] % size || __builtin_mul_overflow(t->strides[i], t->shape[i], &reach)))
            return pe_fail(err, PE_ERR_ARGUMENT, i,
                           "%s: %s has the stride %lld on axis %d, which does not fit %s", operation,
                           argument, (long long)t->strides[i], i, pe_dtype_name(t->dtype));
    }
    return PE_OK;
}

pe_status pe_check_dtype(const pe_tensor *t, int dtype, const char *operation, const char *argument, pe_error *err) {
    pe_status status = pe_check_tensor(t, operation, argument, err);
    if (status || t->dtype == dtype) return status;
    return pe_fail(err, PE_ERR_DTYPE, -1, "%s: %s must be %s, is %s", operation, argument, pe_dtype_name(dtype),
                   pe_dtype_name(t->dtype));
}
