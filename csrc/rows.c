/* Tensors as rows along the last axis: the outer axes collapsed, gaps copied away. */
#include "rows.h"

pe_status pe_rows_check(const char *name, const char *argument, const pe_tensor *t, const pe_tensor *model,
                        pe_error *err) {
    char a[PE_SHAPE_TEXT], b[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(t, PE_FLOAT32, name, argument, err);
    if (status) return status;
    if (t->ndim < 1) return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s has no axis to run along", name, argument);
    if (!pe_same_shape(t, model))
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s has the shape %s, expected %s", name, argument,
                       pe_shape_text(t, a), pe_shape_text(model, b));
    return PE_OK;
}

pe_status pe_rows_check_matrix(const char *name, const char *argument, const pe_tensor *t, pe_error *err) {
    char a[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(t, PE_FLOAT32, name, argument, err);
    if (status) return status;
    if (t->ndim != 2)
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s must be a matrix, has the shape %s", name, argument,
                       pe_shape_text(t, a));
    return PE_OK;
}

pe_status pe_rows_check_numbers(const char *name, const pe_tensor *index, int64_t limit, int64_t skip, pe_error *err) {
    for (int64_t i = 0; i < index->shape[0]; i++) {
        int64_t number = *(const int64_t *)((const char *)index->data + i * index->strides[0]);
        if ((number < 0 || number >= limit) && number != skip)
            return pe_fail(err, PE_ERR_INDEX, 0, "%s: index[%lld] is %lld, expected 0 to %lld", name, (long long)i,
                           (long long)number, (long long)limit - 1);
    }
    return PE_OK;
}

static void describe(struct pe_rows *r, const pe_tensor *t) {
    const int last = t->ndim - 1;
    r->data = t->data;
    r->n = t->shape[last];
    r->count = 1;
    r->outer = 0;
    for (int i = 0; i < last; i++) {
        int64_t size = t->shape[i], stride = t->strides[i];
        r->count *= size;
        if (size == 1) continue;
        int k = r->outer - 1;
        if (k >= 0 && r->stride[k] == size * stride) {
            r->size[k] *= size;
            r->stride[k] = stride;
        } else {
            r->size[r->outer] = size;
            r->stride[r->outer++] = stride;
        }
    }
}

static pe_status open_view(pe_context *ctx, struct pe_rows *r, const pe_tensor *t, pe_error *err) {
    const int last = t->ndim - 1;
    r->origin = t;
    r->scratch = NULL;
    if (t->shape[last] <= 1 || t->strides[last] == (int64_t)sizeof(float) || pe_numel(t) == 0) {
        describe(r, t);
        return PE_OK;
    }
    r->dense = *t;
    int64_t stride = sizeof(float);
    for (int i = last; i >= 0; i--) {
        r->dense.strides[i] = stride;
        stride *= t->shape[i];
    }
    r->dense.data = r->scratch = pe_alloc(ctx, (size_t)stride);
    if (!r->scratch)
        return pe_fail(err, PE_ERR_MEMORY, last, "no memory for a dense copy of %lld bytes", (long long)stride);
    describe(r, &r->dense);
    return PE_OK;
}

pe_status pe_rows_open_input(pe_context *ctx, struct pe_rows *r, const pe_tensor *t, pe_error *err) {
    pe_status status = open_view(ctx, r, t, err);
    if (status || !r->scratch) return status;
    return pe_copy(ctx, &(pe_copy_args){t, &r->dense}, err);
}

pe_status pe_rows_open_output(pe_context *ctx, struct pe_rows *r, const pe_tensor *t, pe_error *err) {
    return open_view(ctx, r, t, err);
}

pe_status pe_rows_close(pe_context *ctx, struct pe_rows *r, int copy_back, pe_error *err) {
    pe_status status = PE_OK;
    if (r->scratch && copy_back) status = pe_copy(ctx, &(pe_copy_args){&r->dense, r->origin}, err);
    pe_free(ctx, r->scratch);
    r->scratch = NULL;
    return status;
}

void pe_rows_for(pe_context *ctx, const struct pe_rows *rows, double element_ns, pe_range_body *body, void *arg) {
    const int64_t grain = rows->n < 16384 ? 16384 / (rows->n + 1) + 1 : 1;
    const double work = (double)rows->count * (double)(rows->n + 16) * element_ns; /* 16: a row's own cost */
    pe_parallel_for(ctx, rows->count, grain, pe_threads_for(ctx, work), body, arg);
}
