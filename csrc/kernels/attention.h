/* Softmax of attention, block by block of keys, on scores that lie with keys down and queries side by side: maximum,
 * sum and rescaling then are lanes of vectors, and neither keys nor values are ever packed (see attention.h). */
#ifndef PE_KERNELS_ATTENTION_H
#define PE_KERNELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#define PE_ATTENTION_VECTORS 4 /* side by side in a panel of queries, at most: the tile's */

/* What a panel of `vectors` vectors of queries may see: lane x the keys low[x] .. high[x]-1, and so vector v nothing
 * outside seen_low[v] .. seen_high[v]-1, and all of whole_low[v] .. whole_high[v]-1 in every lane. */
struct pe_attention_sight {
    int vectors;
    int32_t seen_low[PE_ATTENTION_VECTORS], seen_high[PE_ATTENTION_VECTORS];
    int32_t whole_low[PE_ATTENTION_VECTORS], whole_high[PE_ATTENTION_VECTORS];
    int32_t *low, *high;
};

/* Scores s[j*width + x] of the keys first .. first+keys-1 and the panel's queries, times log2 e as the bias and slopes
 * are; width = vectors * VL. The score proper is s + bias[j*width + x] - slope[x] |place[x] - (first+j)|, -infinity
 * where the lane does not see the key. */
struct pe_attention_block {
    float *s;
    int32_t first, keys;
    const struct pe_attention_sight *sight;
    const float *bias;          /* or NULL */
    const float *slope, *place; /* or NULL */
};

struct pe_attention_kernels {
    /* max, sum and factor have `width` floats. The maximum moves on to that of the block too; sum is rescaled by
     * factor = 2^(old maximum - new) and takes the block's weights s = 2^(score - maximum), in the order of keys.
     * Outside seen_low .. seen_high s becomes 0. 1 when some factor is not 1. */
    int (*soften)(const struct pe_attention_block *, float *max, float *sum, float *factor);
    /* s = 2^(score - lse[x]), and with that ds[j*width + x] = s (ds - delta[x]); 0 where nothing is seen */
    void (*harden)(const struct pe_attention_block *, float *ds, const float *lse, const float *delta);
    /* o[p*width + x] *= factor[x], p < rows */
    void (*rescale)(float *o, size_t rows, size_t width, const float *factor);
    /* Of one row: s[j] = e^(s[j] - *max), *max the largest of its n scores; their sum. Of -infinity alone: zeros. */
    float (*weigh)(float *s, size_t n, float *max);
    /* One row of parts: part p at part + p*step is its maximum, its sum, and n sums over values. *max and *sum are
     * those of all parts, out[x] = the sums over values, rescaled to them and added in the order of parts, divided by
     * *sum; zeros where that is 0. */
    void (*merge)(float *out, size_t n, const float *part, ptrdiff_t step, size_t parts, float *max, float *sum);
    /* to[i] = from[i] ? 0 : -infinity, i < n */
    void (*hide)(float *to, const uint8_t *from, size_t n);
    /* bias[i] *= factor, i < n, n whole vectors. 1 when one of them is not -infinity. */
    int (*ready)(float *bias, size_t n, float factor);
    /* y[r*y_row + i] = sum over p < n of a[i*a_row + p] b[r*b_row + p], i < rows, r < count; a streams by once. Sums
     * run over 64 lanes, as those of reduce.def. */
    void (*meet)(float *y, ptrdiff_t y_row, const float *a, ptrdiff_t a_row, size_t rows, const float *b,
                 ptrdiff_t b_row, size_t count, size_t n);
    /* y[i] = sum over p < n of a[i*a_row + p] b[i*b_row + p], i < rows */
    void (*dots)(float *y, const float *a, ptrdiff_t a_row, const float *b, ptrdiff_t b_row, size_t rows, size_t n);
};

#endif
