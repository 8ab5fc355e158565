/* The transforms of winograd.h, F(4x4, 3x3): a tile of 6 x 6 places, a filter of 3 x 3 taps and 4 x 4 results become,
 * or are made of, 36 positions. Channels are contiguous everywhere and lie along the lanes, so no sum crosses lanes.
 * Strides count floats; the operands do not overlap. */
#ifndef PE_KERNELS_WINOGRAD_H
#define PE_KERNELS_WINOGRAD_H

#include <stddef.h>

#define PE_WINOGRAD_PLACES 4                            /* a side of a tile's results */
#define PE_WINOGRAD_SIDE 6                              /* and of what they are made of */
#define PE_WINOGRAD_POSITIONS 36
#define PE_WINOGRAD_DEPTH 64                            /* the most channels that `input` takes at a time */

/* v[position * v_apart + i] is the transform of channel i < channels <= PE_WINOGRAD_DEPTH of a tile, whose place (r, c)
 * lies at x + r * x_row + c * x_column; where r or c is outside low .. high (rows, then columns) it is 0, not read. */
typedef void pe_winograd_tile_kernel(float *v, ptrdiff_t v_apart, const float *x, ptrdiff_t x_row, ptrdiff_t x_column,
                                     const int low[2], const int high[2], size_t channels);

struct pe_winograd_kernels {
    pe_winograd_tile_kernel *input;    /* B^T x B, of 6 x 6 places */
    pe_winograd_tile_kernel *gradient; /* A y A^T, of 4 x 4 places */
    /* u[position * u_apart + i] = (G w G^T)[position], i < n, a multiple of VL; tap (r, c) lies at
     * w + (3 r + c) * w_apart */
    void (*weight)(float *u, ptrdiff_t u_apart, const float *w, ptrdiff_t w_apart, size_t n);
    /* y[r * y_row + c * y_column + i] = (A^T m A)[r, c] + bias[i], r < rows <= 4, c < columns <= 4, i < channels;
     * position p at m + p * m_apart, which is filled up to whole vectors; bias may be NULL: 0 */
    void (*output)(float *y, ptrdiff_t y_row, ptrdiff_t y_column, const float *m, ptrdiff_t m_apart, const float *bias,
                   int rows, int columns, size_t channels);
    /* w[(3 r + c) * w_apart + i] = (G^T u G)[r, c], i < n, a multiple of VL: the transpose of `weight` */
    void (*taps)(float *w, ptrdiff_t w_apart, const float *u, ptrdiff_t u_apart, size_t n);
};

#endif
