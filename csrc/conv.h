/* One convolution (cross-correlation) as the paths that can run it see it. Sizes and strides count elements, strides
 * may have any sign. There are three axes of space always: those that a 1d or 2d convolution lacks come first, with
 * size, kernel, step, spacing and places 1 and before 0.
 *
 *   y[n, g out + o, p] = act(sum over (k, i) of x[n, g in + i, p step + k spacing - before] w[g, o, i, k]
 *                            + bias[g out + o]) + residual[n, g out + o, p]
 *
 * where x is 0 outside its sizes. The chain over (k, i) runs in this order: the taps k with the last axis fastest, the
 * channels i inside; winograd.h says how it is where that way is taken. */
#ifndef PE_CONV_H
#define PE_CONV_H

#include "internal.h"

#define PE_CONV_AXES 3

struct pe_conv_problem {
    int64_t images, groups, in, out; /* channels in and out of one group */
    int64_t size[PE_CONV_AXES], kernel[PE_CONV_AXES], step[PE_CONV_AXES], spacing[PE_CONV_AXES], before[PE_CONV_AXES];
    int64_t places[PE_CONV_AXES];    /* sizes of y in space */
    const float *x;
    int64_t x_n, x_c, x_s[PE_CONV_AXES];
    const float *w;
    int64_t w_g, w_o, w_i, w_k[PE_CONV_AXES];
    const float *bias;               /* groups * out values, or NULL */
    const float *residual;           /* with y's strides, or NULL */
    float *y;
    int64_t y_n, y_c, y_s[PE_CONV_AXES];
    pe_loop *activation;             /* or NULL */
    int accumulate;                  /* the chains start at y's elements instead of +0 */
};

#endif
