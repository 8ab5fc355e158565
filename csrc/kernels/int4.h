/* The product of floats against four-bit weights in groups along k, dequantized in the tile:
 *   y[i,j] = chain over g of fma(scale[g,j], chain over p in g of fma(x[i,p], q[p,j] - zero[g,j], .), .)
 * Both chains start at +0 and go up in p and g, so a row's bits depend on no other row. */
#ifndef PE_KERNELS_INT4_H
#define PE_KERNELS_INT4_H

#include <stddef.h>
#include <stdint.h>

#define PE_INT4_MAX_ROWS 8
#define PE_INT4_MAX_COLUMNS 32

/* A panel, group after group: scale[nr], zero[nr] as floats, then group/8 rows of nr words; word j's nibble t
 * (the lowest first) is step 8 w + t of the group. Steps past k hold the zero of 8 and meet an x of +0. */
struct pe_int4_tile {
    size_t k;         /* whole groups of x are read: ceil(k/group) * group floats a row */
    size_t group;
    const float *x;
    ptrdiff_t x_row;
    const uint8_t *panel;
    float *y;         /* y[i*y_row + j] */
    ptrdiff_t y_row;
};

struct pe_int4_source { /* strides in bytes */
    const uint8_t *b;
    ptrdiff_t b_k, b_j;
    const char *scale, *zero; /* zero NULL: 8 */
    ptrdiff_t scale_g, scale_j, zero_g, zero_j;
    size_t k, n, group;
};

struct pe_int4_kernels {
    int mr, nr;
    void (*const *tile)(const struct pe_int4_tile *); /* tile[rows - 1], rows = 1 .. mr */
    /* One panel of n <= nr columns; 0 when a number is above 15 (of which the low four bits are taken). */
    int (*pack)(uint8_t *to, const struct pe_int4_source *from);
};

#endif
