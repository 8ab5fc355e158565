/* Depthwise convolution: one channel meets one channel, or a few meet as many, so that lanes are channels (`line`,
 * `sums`) or places of a plane (`plane`, `dots`). Every result is one chain over the taps in their order, in fused
 * steps: the same bits in both layouts, at every place of a block and at every vector length. No kernel looks
 * outside an image: its caller points at zeros. Results are written in overlapping vectors, so y overlaps none of
 * what is read. */
#ifndef PE_KERNELS_DEPTHWISE_H
#define PE_KERNELS_DEPTHWISE_H

#include <stddef.h>

enum { PE_DW_SLIDE_ROWS = 9 }; /* of taps, where windows slide */

struct pe_depthwise_line {
    const float *const *x, *const *w; /* rows of x, and the row of the weight that each meets */
    size_t rows, taps;
    ptrdiff_t x_first, w_first;       /* where the first place and tap lie in them */
    ptrdiff_t x_place, x_tap, w_tap, y_place, start_place;
    const float *start;               /* the chains start here, NULL: at +0 */
    const float *bias;                /* a value a channel, or NULL */
    const float *ahead;               /* what the next row of y meets is asked for, from here on: ahead_rows rows, */
    size_t ahead_rows, ahead_columns; /* ahead_columns cells of them for each place; NULL: nothing is */
    ptrdiff_t ahead_row, ahead_column, y_ahead; /* and that row itself, so far behind y */
    size_t width;                     /* channels of a group, in and out: a part of VL; the channels are whole groups */
    ptrdiff_t w_part;                 /* of the weight, from one of a group's channels in to the next */
    /* Where windows slide (3 or 5 taps, places one or two taps apart, no start, whole vectors of channels), only the
     * cells number x_low .. x_high of a row are in x, counted in taps from the first tap of place 0: outside, every
     * channels are those at x_outside. Elsewhere all cells are in x. */
    ptrdiff_t x_low, x_high;
    const float *x_outside;
    /* Where they slide by one or two and `pairs` says so, two rows of y at a time: the second lies y_pair from y, and
     * its taps meet the rows from number `down` of x on, of which there are so many more than `rows`: 1 where windows
     * slide by one, 2 where by two. y_pair 0: one row. */
    ptrdiff_t y_pair;
    size_t down;
};

struct pe_depthwise_plane {
    const ptrdiff_t *offset;          /* of each tap in x */
    const float *w;                   /* of each tap */
    size_t taps, rows, columns;
    ptrdiff_t x_row, y_row, start_row;
    size_t side;                      /* 3 or 5: the taps are so many rows of so many, x_row or -x_row apart; else 0 */
    const float *start, *bias;        /* as above; the bias is one value */
    const float *ahead;               /* while it computes it asks for what is read next, from here on */
    size_t ahead_lines;               /* so many lines for every four vectors of y */
    ptrdiff_t y_ahead;                /* and for what is written next, so far behind y */
};

struct pe_depthwise_sums {
    const float *const *x;            /* rows of x, those of one place after another */
    size_t x_step, x_spacing;         /* in that list: from a row of y to the next, from a row of taps to the next */
    size_t rows, places, channels;    /* of y */
    size_t tap_rows, taps;
    ptrdiff_t x_place, x_tap, y_row, y_place, sums_tap;
};

struct pe_depthwise_kernels {
    /* y[i y_place + c] = bias[c] + sum over (r, k, p) of x[r][x_first + i x_place + k x_tap + p(c)] w[r][w_first +
     * k w_tap + p w_part + c], where p(c) is the channel number p < width of c's group */
    void (*line)(const struct pe_depthwise_line *, float *y, size_t places, size_t channels);
    int pairs; /* the line's y_pair may be set */
    /* y[i y_row + j] = bias + sum over t of x[offset[t] + i x_row + j] w[t]; reads whole vectors of x */
    void (*plane)(const struct pe_depthwise_plane *, const float *x, float *y);
    /* sums[t] += sum over i < n of g[i] x[offset[t] + i]; n is a multiple of 16, of which each is one lane */
    void (*dots)(const float *x, const float *g, size_t n, const ptrdiff_t *offset, size_t taps, double *sums);
    /* sums[(r taps + k) sums_tap + c] += the chain over (i, j) of y[i y_row + j y_place + c] times
     * x[i x_step + r x_spacing][j x_place + k x_tap + c]: lanes are channels */
    void (*sums)(const struct pe_depthwise_sums *, const float *y, float *sums);
    /* even[i to_row + j] = from[i from_row + 2 j], odd the elements between: `columns` elements in all */
    void (*split)(float *even, float *odd, ptrdiff_t to_row, const float *from, ptrdiff_t from_row, size_t rows,
                  size_t columns);
    /* the other way: to[i to_row + 2 j] = even[i from_row + j], to[.. + 2 j + 1] = odd[..] */
    void (*merge)(float *to, ptrdiff_t to_row, const float *even, const float *odd, ptrdiff_t from_row, size_t rows,
                  size_t columns);
};

#endif
