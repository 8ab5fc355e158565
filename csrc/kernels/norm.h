/* Layer and RMS normalization of one row of n > 0 elements, and their derivatives. With
 *   layer  m = mean x,  r = 1 / sqrt(mean (x - m)^2 + eps)
 *   rms    m = 0,       r = 1 / sqrt(mean x^2 + eps)
 * and h[j] = (x[j] - m) r. Sums run over the 64 lanes of reduce.def in blocks of 4096, whose
 * results are added in double. w and b may be NULL: 1 and 0. */
#ifndef PE_KERNELS_NORM_H
#define PE_KERNELS_NORM_H

#include <stddef.h>

struct pe_norm_kernels {
    /* y[j] = h[j] w[j] + b[j]; *mean = m, *rstd = r. y may be x */
    void (*layer)(const float *x, const float *w, const float *b, float *y, size_t n, float eps, float *mean,
                  float *rstd);
    /* y[j] = h[j] w[j]; *rstd = r. y may be x */
    void (*rms)(const float *x, const float *w, float *y, size_t n, float eps, float *rstd);
    /* dx[j] = r (g[j] w[j] - mean_i(g[i] w[i]) - h[j] mean_i(g[i] w[i] h[i])), and unless they are NULL
     * dw[j] += g[j] h[j], db[j] += g[j]. dx may be x or g */
    void (*layer_backward)(const float *x, const float *g, const float *w, float *dx, size_t n, float mean,
                           float rstd, float *dw, float *db);
    /* dx[j] = r (g[j] w[j] - h[j] mean_i(g[i] w[i] h[i])), dw[j] += g[j] h[j]. dx may be x or g */
    void (*rms_backward)(const float *x, const float *g, const float *w, float *dx, size_t n, float rstd,
                         float *dw);
};

#endif
