/* The product of bytes: c[i,j] = sum over p of (a[i,p] - zero[i]) * b[p,j] in int32, modulo 2^32, the same
 * bits on every level. a is unsigned (signed bytes come in as a + 128 with zero 128 higher), b is signed.
 * k is taken in groups of four, filled up with zeros; the tile is dot.h's. */
#ifndef PE_KERNELS_QGEMM_H
#define PE_KERNELS_QGEMM_H

#include "dot.h"

struct pe_qgemm_kernels {
    struct pe_dot_kernels dot;
    /* One panel: to[g*4nr + 4j + t] = from[(4g+t)*from_k + j*from_j], 0 where 4g+t >= k or j >= n;
     * sums[j] = sum over p of from[p*from_k + j*from_j]. n <= nr; writes whole multiples of `deep` groups. No
     * overlap. */
    void (*pack_b)(int8_t *to, int32_t *sums, const int8_t *from, ptrdiff_t from_k, ptrdiff_t from_j,
                   size_t k, size_t n);
    /* k elements of a row of a, in groups at `to`, filled with zeros up to a multiple of `deep` groups; each byte ^
     * flip (0 or 128). */
    void (*pack_a)(uint8_t *to, const uint8_t *from, ptrdiff_t from_k, size_t k, uint8_t flip);
    /* out[i*out_row + j] = float(sums[i*sums_row + j]) * (scale_a[i] * scale_b[j]) + bias[j], i < rows, j < n, each
     * step rounded; bias may be NULL. Reads scale_b and bias up to n. No overlap. */
    void (*scale)(float *out, ptrdiff_t out_row, const int32_t *sums, ptrdiff_t sums_row, const float *scale_a,
                  const float *scale_b, const float *bias, size_t rows, size_t n);
    /* *low = min(0, x...), *high = max(0, x...); both NaN when an x is NaN or infinite. */
    void (*range)(float *low, float *high, const float *x, size_t n);
    /* to[i] = clamp(round(x[i] * inverse) + zero, least, most), ties to even; |x[i] * inverse| < 2^30. */
    void (*quantize)(uint8_t *to, const float *x, size_t n, float inverse, int32_t zero, int32_t least,
                     int32_t most);
};

#endif
