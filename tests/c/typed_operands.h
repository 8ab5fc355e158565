/* Matrices of any element type whose last (or first) byte touches a page without access, filled at random. */
#ifndef PE_TYPED_OPERANDS_H
#define PE_TYPED_OPERANDS_H

#include "guarded.h"

static inline void *at(const pe_tensor *t, int64_t i, int64_t j) {
    return (char *)t->data + i * t->strides[0] + j * t->strides[1];
}
static inline int32_t whole_at(const pe_tensor *t, int64_t i, int64_t j) {
    const void *p = at(t, i, j);
    if (t->dtype == PE_INT8) return *(const int8_t *)p;
    if (t->dtype == PE_UINT8) return *(const uint8_t *)p;
    return *(const int32_t *)p;
}
static inline float real_at(const pe_tensor *t, int64_t i, int64_t j) { return *(const float *)at(t, i, j); }

static inline struct operand make_matrix(int dtype, int64_t rows, int64_t columns, enum layout layout) {
    struct operand o = make_guarded(dtype, rows, columns, layout, (int)draw(2));
    for (size_t x = 0; x < o.span; x++) o.low[x] = (char)draw(256);
    if (dtype == PE_FLOAT32)
        for (size_t x = 0; x < o.span / 4; x++) ((float *)(void *)o.low)[x] = draw_float();
    return o;
}
static inline struct operand make_vector(int dtype, int64_t n, int64_t step) {
    struct operand o = make_matrix(dtype, n, step > 0 ? step : -step, ROWS);
    int64_t size = (int64_t)pe_dtype_size(dtype);
    char *first = (char *)o.t.data + (step < 0 && n ? (n - 1) * -step * size : 0);
    o.t = (pe_tensor){ first, dtype, 1, { n }, { step * size } };
    return o;
}

#endif
