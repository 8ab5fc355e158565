/* Pooling: a vector runs over channels where they lie last, over the outputs of a row otherwise. No vector is split
 * over a window, so the order of its elements is the same on every level and in either layout. */
#ifndef PE_KERNELS_POOLING_H
#define PE_KERNELS_POOLING_H

#include <stddef.h>
#include <stdint.h>

/* The part of a window that lies inside: taps[a] along each axis, `apart` elements from each other in memory and
 * `apart_place` in the count of places. Lane i's first tap is the place first + i * lane_place. */
struct pe_pool_window {
    size_t taps[3];
    ptrdiff_t apart[3];
    int32_t first, lane_place, apart_place[3];
};

struct pe_pooling_kernels {
    /* y[i] = the maximum over the taps of x[i*lane + tap], i < n; a NaN wins, and the last one's place is taken, of
     * equal numbers the first one's. -inf at the place `first` where there are no taps. place may be NULL. */
    void (*max)(const float *x, ptrdiff_t lane, size_t n, const struct pe_pool_window *, float *y, int32_t *place);
    /* y[i] = (the sum over the taps of x[i*lane + tap]) / divisor: from +0 on along the last axis, each addend the sum
     * from +0 on over the other two */
    void (*mean)(const float *x, ptrdiff_t lane, size_t n, const struct pe_pool_window *, float divisor, float *y);
    /* dx[i] = the sum of g[i + tap] over the taps, the last axis fastest, where place[i + tap] == at */
    void (*max_input)(const float *g, const int32_t *place, size_t n, const struct pe_pool_window *, int32_t at,
                      float *dx);
};

#endif
