/* Pooling: a vector runs over channels where they lie last, over the outputs of a row otherwise. No vector is split
 * over a window, so the order of its elements is the same on every level and in either layout. */
#ifndef PE_KERNELS_POOLING_H
#define PE_KERNELS_POOLING_H

#include <stddef.h>
#include <stdint.h>

/* What a window has inside along an axis: `taps` elements, the first one numbered `from`; it counts for `count`. */
struct pe_pool_span {
    int64_t from, taps;
    double count;
};

/* Windows of one row. Along the first two axes they have taps[a] elements, apart[a] from each other in memory and
 * apart_place[a] in the count of places; along the last one each has its own span, whose elements are apart[2] and
 * apart_place[2] from each other and whose number n lies n * unit from the row's start. `first` is the place of the
 * row's start. */
struct pe_pool_window {
    size_t taps[2];
    ptrdiff_t apart[3], unit;
    int32_t first, apart_place[3];
};

/* Of `count` windows along[o] each has n lanes, lane i's data `i lane` behind the first one's and lane i's places
 * `i lane_place`; outputs are dense (count, n). */
struct pe_pooling_kernels {
    /* y = the maximum over the taps; a NaN wins, and the last one's place is taken, of equal numbers the first one's.
     * -inf, and the place -1, where there are no taps. place may be NULL. */
    void (*max)(const float *x, ptrdiff_t lane, int32_t lane_place, size_t n, const struct pe_pool_window *,
                const struct pe_pool_span *along, size_t count, float *y, int32_t *place);
    /* y = the sum over the taps divided by (divisor times the span's count): from +0 on along the last axis, each
     * addend the sum from +0 on over the other two */
    void (*mean)(const float *x, ptrdiff_t lane, size_t n, const struct pe_pool_window *,
                 const struct pe_pool_span *along, size_t count, double divisor, float *y);
    /* dx = the sum of g over the taps, the last axis fastest, where place == at + o */
    void (*max_input)(const float *g, const int32_t *place, size_t n, const struct pe_pool_window *,
                      const struct pe_pool_span *along, size_t count, int32_t at, float *dx);
};

#endif
