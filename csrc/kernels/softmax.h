/* softmax and log-softmax of one row of n elements, and their derivatives. Sums run over the 64
 * lanes of reduce.def (one block), so every vector width gives the same bits. */
#ifndef PE_KERNELS_SOFTMAX_H
#define PE_KERNELS_SOFTMAX_H

#include <stddef.h>

struct pe_softmax_kernels {
    /* y[j] = exp(x[j] - max x) / sum; y may be x */
    void (*forward)(const float *x, float *y, size_t n);
    /* y[j] = (x[j] - max x) - log sum; y may be x */
    void (*forward_log)(const float *x, float *y, size_t n);
    /* dx[j] = y[j] (g[j] - sum_i g[i] y[i]); dx may be y or g */
    void (*backward)(const float *y, const float *g, float *dx, size_t n);
    /* dx[j] = g[j] - exp(y[j]) sum_i g[i]; dx may be y or g */
    void (*backward_log)(const float *y, const float *g, float *dx, size_t n);
};

#endif
