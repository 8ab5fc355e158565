/* Cross entropy of one row of logits against a class number, with label smoothing e:
 *   p = softmax(x),  loss = -(1 - e) log p[t] - e/n sum_j log p[j] */
#ifndef PE_KERNELS_CROSS_ENTROPY_H
#define PE_KERNELS_CROSS_ENTROPY_H

#include <stddef.h>

struct pe_cross_entropy_kernels {
    /* *loss as above, *lse = log sum_j exp(x[j]); 0 <= target < n */
    void (*forward)(const float *x, size_t n, size_t target, float smoothing, float *loss, float *lse);
    /* dx[j] = g (exp(x[j] - lse) - e/n - (1 - e) [j = target]); dx may be x */
    void (*backward)(const float *x, size_t n, size_t target, float smoothing, float lse, float g, float *dx);
};

#endif
