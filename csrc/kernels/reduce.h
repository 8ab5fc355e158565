/* Reductions of float32: the rows of reduce.def, and the place of an extreme. */
#ifndef PE_KERNELS_REDUCE_H
#define PE_KERNELS_REDUCE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* 64 lanes keep the adders busy on every level (4 vectors of AVX-512, 8 of AVX2); a block of
 * 4096 hides the fold of the lanes (under 10 % of the time in L1) and keeps chains at 64 links. */
enum { PE_REDUCE_LANES = 64, PE_REDUCE_BLOCK = 4096 };
/* levels of the tree: enough for 2^52 elements */
enum { PE_REDUCE_LEVELS = 40 };

enum {
#define REDUCE(name, ...) PE_REDUCE_##name,
#include "reduce.def"
#undef REDUCE
    PE_REDUCE_OPS
};

struct pe_reduce_op {
    /* out[i] = T(x[i*ldx .. i*ldx + n-1]) for i < rows; strides in elements */
    void (*rows)(const float *x, ptrdiff_t ldx, size_t rows, size_t n, float *out);
    /* out[j] = T(x[j], x[ldx + j], ... x[(n-1)*ldx + j]) for j < m */
    void (*columns)(const float *x, ptrdiff_t ldx, size_t n, size_t m, float *out);
    /* out[j] = the tree over parts[p*ld + j], p < count: only valid where each part but the
     * last is the result of the same power of two of blocks */
    void (*merge)(const float *parts, ptrdiff_t ld, size_t count, size_t m, float *out);
    /* out[j] = finish(out[j], count) */
    void (*finish)(float *out, size_t m, float count);
};

struct pe_reduce_kernels {
    const struct pe_reduce_op *op; /* PE_REDUCE_OPS of them */
    /* index of the first NaN, else of the first maximum (minimum) of x[0 .. n-1], n > 0 */
    size_t (*argmax)(const float *x, size_t n, int minimum);
    /* the same down each of m columns of n < 2^31 rows */
    void (*argmax_columns)(const float *x, ptrdiff_t ldx, size_t n, size_t m, int minimum, int64_t *out);
};

#endif
