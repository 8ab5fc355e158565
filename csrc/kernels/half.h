/* The product of bfloat16 by instructions that multiply pairs and add them in float32: c[i,j] = sum over p of
 * a[i,p] b[p,j]. The tile is dot.h's, whose words are pairs: steps 2g and 2g+1 of k. Its bits are the instruction's
 * own, in rounding steps to nearest even, where numbers below 2^-126 count as 0, given and made:
 *   avx512_bf16   a chain over the pairs: fma(a[2g+1], b[2g+1], .), then fma(a[2g], b[2g], .)
 *   amx           32 steps of k at a time: two chains from 0, over the even and the odd ones; their sum; c plus that */
#ifndef PE_KERNELS_HALF_H
#define PE_KERNELS_HALF_H

#include "dot.h"

struct pe_half_kernels {
    struct pe_dot_kernels dot; /* c holds the bits of float32 */
    /* One panel: to[(g*nr + j)*2 + t] = from[(2g+t)*from_k + j*from_j], 0 where 2g+t >= k or j >= n; n <= nr. Writes
     * whole multiples of `deep` groups. No overlap. */
    void (*pack)(uint16_t *to, const uint16_t *from, ptrdiff_t from_k, ptrdiff_t from_j, size_t k, size_t n);
    /* The other way, to float32: to[p*to_row + j] = step p of column j, first <= p < first + depth, j < columns, a
     * multiple of 16. No overlap. */
    void (*unpack)(float *to, ptrdiff_t to_row, const uint16_t *panel, size_t first, size_t depth, size_t columns);
    /* to[i*to_row + j] = from[i*from_row + j] rounded to nearest even, below 2^-126 to 0; i < rows, j < columns. No
     * overlap. */
    void (*narrow)(uint16_t *to, ptrdiff_t to_row, const float *from, ptrdiff_t from_row, size_t rows, size_t columns);
    /* The same, and the same of words as they are, past the caches, for lines that are written whole: rows begin on a
     * boundary of 64 bytes of `to` and are a multiple of that. Visible to other threads after `fence`. */
    void (*stream_narrow)(uint16_t *to, ptrdiff_t to_row, const float *from, ptrdiff_t from_row, size_t rows,
                          size_t columns);
    void (*stream)(int32_t *to, ptrdiff_t to_row, const int32_t *from, ptrdiff_t from_row, size_t rows, size_t columns);
    void (*fence)(void);
};

#endif
