/* The product of bytes: c[i,j] = sum over p of (a[i,p] - zero[i]) * b[p,j] in int32, modulo 2^32, the same
 * bits on every level. a is unsigned (signed bytes come in as a + 128 with zero 128 higher), b is signed.
 * k is taken in groups of four, filled up with zeros. */
#ifndef PE_KERNELS_QGEMM_H
#define PE_KERNELS_QGEMM_H

#include <stddef.h>
#include <stdint.h>

/* Upper bounds over all levels, for buffers that hold one tile. */
#define PE_QGEMM_MAX_ROWS 6
#define PE_QGEMM_MAX_COLUMNS 64

/* One tile of `rows` (1 .. mr) by vectors * VL columns. a: packed rows, a_row bytes apart; b: a panel, group g
 * at b + g * 4 nr; c[i*c_row + j]. The sum starts at c when from_c is set, else at -zero[i] * sums[j]
 * (at 0 when zero is NULL). c overlaps nothing. No tail: the caller cuts rows and pads columns.
 * Every PE_QGEMM_AHEAD groups it asks for the next ahead_lines lines of memory from ahead on. */
#define PE_QGEMM_AHEAD 8
struct pe_qgemm_tile {
    size_t groups;
    const uint8_t *a;
    ptrdiff_t a_row;
    const int8_t *b;
    int32_t *c;
    ptrdiff_t c_row;
    const int32_t *zero, *sums;
    int vectors;
    int from_c;
    const int8_t *ahead;
    int ahead_lines;
};

struct pe_qgemm_kernels {
    int mr, nr; /* rows and columns of the tile; nr is a multiple of 16 */
    int group;  /* bytes of four packed elements of a */
    void (*const *tile)(const struct pe_qgemm_tile *); /* tile[rows - 1] */
    /* One panel: to[g*4nr + 4j + t] = from[(4g+t)*from_k + j*from_j], 0 where 4g+t >= k or j >= n;
     * sums[j] = sum over p of from[p*from_k + j*from_j]. n <= nr; writes whole groups. No overlap. */
    void (*pack_b)(int8_t *to, int32_t *sums, const int8_t *from, ptrdiff_t from_k, ptrdiff_t from_j,
                   size_t k, size_t n);
    /* k elements of a row of a, in groups at `to`, the last filled with zeros; each byte ^ flip (0 or 128). */
    void (*pack_a)(uint8_t *to, const uint8_t *from, ptrdiff_t from_k, size_t k, uint8_t flip);
    /* out[j] = float(sums[j]) * (scale_a * scale_b[j]) + bias[j], j < n, each step rounded; bias may be NULL.
     * Reads scale_b and bias up to n. No overlap. */
    void (*scale)(float *out, const int32_t *sums, float scale_a, const float *scale_b, const float *bias,
                  size_t n);
    /* *low = min(0, x...), *high = max(0, x...); both NaN when an x is NaN or infinite. */
    void (*range)(float *low, float *high, const float *x, size_t n);
    /* to[i] = clamp(round(x[i] * inverse) + zero, least, most), ties to even; |x[i] * inverse| < 2^30. */
    void (*quantize)(uint8_t *to, const float *x, size_t n, float inverse, int32_t zero, int32_t least,
                     int32_t most);
};

#endif
