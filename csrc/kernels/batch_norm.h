/* Normalization by channel. Elements of one channel come as a `row`, one behind the other, or as `columns`: rows of
 * channels side by side, `pitch` floats from one to the next, with one number a channel in each vector of parameters or
 * sums. Sums are the same either way, and on every level with fused steps: the element numbered r is added to chain
 * r mod 16, and the chains are folded in halves. They are float32: for pieces of a few thousand elements, which the
 * caller adds in double. Outputs overlap no input. */
#ifndef PE_KERNELS_BATCH_NORM_H
#define PE_KERNELS_BATCH_NORM_H

#include <stddef.h>

enum { PE_CHANNEL_STRIP = 128 }; /* most columns of a call that sums: 16 chains of two sums lie in 16 KB of stack */

struct pe_batch_norm_kernels {
    /* *mean = the mean, *rest = sum (x - mean)^2; n >= 1, rows >= 1 */
    void (*moments_row)(const float *x, size_t n, float *mean, float *rest);
    void (*moments_columns)(const float *x, size_t pitch, size_t rows, size_t n, float *mean, float *rest);
    /* *first = sum g, *second = sum g (x - mean) */
    void (*products_row)(const float *x, const float *g, size_t n, float mean, float *first, float *second);
    void (*products_columns)(const float *x, const float *g, size_t pitch, size_t rows, size_t n, const float *mean,
                             float *first, float *second);
    /* y = (x - mean) scale + shift over dense rows of n; columns: a number a lane, else one for all */
    void (*apply)(const float *x, size_t rows, size_t n, const float *mean, const float *scale, const float *shift,
                  int columns, float *y);
    /* dx = g scale + ((x - mean) slope + shift) */
    void (*input)(const float *x, const float *g, size_t rows, size_t n, const float *mean, const float *scale,
                  const float *slope, const float *shift, int columns, float *dx);
};

#endif
