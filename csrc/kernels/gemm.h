/* The product's kernels: one register tile, one packing, one copy, one row. Sizes and
 * strides count elements. No kernel splits or reorders the chain over k. */
#ifndef PE_KERNELS_GEMM_H
#define PE_KERNELS_GEMM_H

#include <stddef.h>

/* Upper bounds over all levels, for buffers that hold one tile. */
#define PE_GEMM_MAX_ROWS 14
#define PE_GEMM_MAX_COLUMNS 32

/* One tile: c[i,j] = fma(a[i,p], b[p,j], .) for p = 0 .. k-1 in this order, i < rows, j < vectors * VL.
 * a[i*a_row + p*a_k], one of the two strides is 1; b[p*b_k + j]; c[i*c_row + j]. The chain starts
 * at c when from_c is set, else at +0. c overlaps neither a nor b. No tail: the caller cuts the rows,
 * and pads the columns of b and c. */
struct pe_gemm_tile {
    size_t k;
    const float *a;
    ptrdiff_t a_row, a_k;
    const float *b;
    ptrdiff_t b_k;
    float *c;
    ptrdiff_t c_row;
    int vectors; /* 1 or 2 */
    int from_c;
};

struct pe_gemm_kernels {
    int mr, nr; /* the tile: mr rows of nr = 2 VL columns, kept in registers */
    /* tile[rows - 1], rows = 1 .. mr */
    void (*const *tile)(const struct pe_gemm_tile *);
    /* to[p*width + x] = from[p*from_p + x*from_x], p < depth, x < count <= width; a width that is
     * a multiple of VL is filled up with zeros. Writes nothing outside these depth rows. No overlap. */
    void (*pack)(float *to, size_t width, const float *from, ptrdiff_t from_p, ptrdiff_t from_x,
                 size_t depth, size_t count);
    /* to[i*to_row + j] = from[i*from_row + j*from_column], i < rows, j < columns. No overlap. */
    void (*copy)(float *to, ptrdiff_t to_row, const float *from, ptrdiff_t from_row, ptrdiff_t from_column,
                 size_t rows, size_t columns);
    /* tile[i*nr + j] += bias[i*bias_row + j*bias_column], i < rows, j < columns; one of the strides is 0. */
    void (*add_bias)(float *tile, const float *bias, ptrdiff_t bias_row, ptrdiff_t bias_column,
                     size_t rows, size_t columns);
    /* y[j] = fma(x[p*x_step], b[p*b_row + j], .) for p = 0 .. k-1 in this order, j < n, starting at y
     * when from_y is set, else at +0. No overlap. */
    void (*row)(float *y, size_t n, const float *x, ptrdiff_t x_step, const float *b, ptrdiff_t b_row,
                size_t k, int from_y);
};

#endif
