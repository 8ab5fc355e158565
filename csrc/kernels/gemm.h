/* The product's kernels: one register tile, one packing, one copy, one row. Sizes and
 * strides count elements. No kernel splits or reorders the chain over k. */
#ifndef PE_KERNELS_GEMM_H
#define PE_KERNELS_GEMM_H

#include <stddef.h>
#include <stdint.h>

/* Upper bounds over all levels: vectors side by side in a tile, floats of a whole tile. */
#define PE_GEMM_MAX_VECTORS 4
#define PE_GEMM_MAX_TILE (28 * 16)

/* Panels of b that one row meets side by side. */
#define PE_GEMM_ABREAST 4

/* One tile: c[i,j] = fma(a[i,p], b[p,j], .) for p = 0 .. k-1 in this order, i < rows, j < vectors * VL.
 * a[i*a_row + p*a_k], one of the two strides is 1; b[p*b_k + j]; c[i*c_row + j]. The chain starts
 * at c when from_c is set, else at +0. c overlaps neither a nor b. No tail: the caller cuts the rows,
 * and pads the columns of b and c.
 *
 * Then, where they are set, the bias of its columns is added and what is not above 0 becomes 0, what is above `most`
 * becomes that (clamp); NaN stays.
 *
 * While it computes it asks for what the next tiles read: every PE_GEMM_AHEAD steps of k for ahead_lines
 * lines, ahead_row apart, from ahead on, which then moves on by ahead_step, into the second cache where ahead_far is
 * set; and for the next tile's c. */
#define PE_GEMM_AHEAD 8
struct pe_gemm_tile {
    size_t k;
    const float *a;
    ptrdiff_t a_row, a_k;
    const float *b;
    ptrdiff_t b_k, b_panel; /* b_panel: from panel to panel, for `abreast` only */
    float *c;
    ptrdiff_t c_row;
    int from_c;
    const float *ahead;
    ptrdiff_t ahead_step, ahead_row;
    int ahead_lines, ahead_far;
    const float *next_c; /* with rows c_row apart; c itself when there is none */
    const float *bias;   /* or NULL; not for `abreast` */
    int clamp;
    float most;
};
typedef void pe_gemm_tile_kernel(const struct pe_gemm_tile *);

struct pe_gemm_kernels {
    int vectors;                         /* of the widest tile */
    int rows[PE_GEMM_MAX_VECTORS];       /* rows[v-1]: the most rows that v vectors leave registers for */
    pe_gemm_tile_kernel *const *tile[PE_GEMM_MAX_VECTORS]; /* tile[v-1][rows-1] */
    /* abreast[q-1], q > 1: the tile's equation for one row and q panels of the widest tile's columns, b_panel apart.
     * They stream from memory side by side, since hardware runs ahead within a page of each stream only. */
    pe_gemm_tile_kernel *abreast[PE_GEMM_ABREAST];
    /* to[p*width + x] = from[p*from_p + x*from_x], p < depth, x < count <= width; a width that is
     * a multiple of VL is filled up with zeros. Writes nothing outside these depth rows. No overlap. */
    void (*pack)(float *to, size_t width, const float *from, ptrdiff_t from_p, ptrdiff_t from_x,
                 size_t depth, size_t count);
    /* to[i*to_row + j] = from[i*from_row + j*from_column], i < rows, j < columns. No overlap. */
    void (*copy)(float *to, ptrdiff_t to_row, const float *from, ptrdiff_t from_row, ptrdiff_t from_column,
                 size_t rows, size_t columns);
    /* copy's equation, from bfloat16 (the upper half of a float32). */
    void (*widen)(float *to, ptrdiff_t to_row, const uint16_t *from, ptrdiff_t from_row, ptrdiff_t from_column,
                  size_t rows, size_t columns);
    /* tile[i*tile_row + j] += from[i*from_row + j*from_column], i < rows, j < columns: bias, residual. */
    void (*add)(float *tile, ptrdiff_t tile_row, const float *from, ptrdiff_t from_row, ptrdiff_t from_column,
                size_t rows, size_t columns);
    void (*scale)(float *tile, size_t floats, float factor);
    /* y[j] = fma(x[p*x_step], b[p*b_row + j], .) for p = 0 .. k-1 in this order, j < n, starting at y
     * when from_y is set, else at +0. No overlap. */
    void (*row)(float *y, size_t n, const float *x, ptrdiff_t x_step, const float *b, ptrdiff_t b_row,
                size_t k, int from_y);
};

#endif
