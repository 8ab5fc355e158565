/* A pooling as its two files see it: three axes of space always, the missing ones of size 1. */
#ifndef PE_POOLING_H
#define PE_POOLING_H

#include "internal.h"
#include "sizes.h"

enum { PE_POOL_AXES = 3 };

struct pe_pooling {
    const struct pe_pooling_kernels *kernels;
    int64_t images, channels; /* channels that lie last; else 1, and each is an image of its own */
    int lanes;                /* channels lie last: vectors run over them */
    int64_t size[PE_POOL_AXES], places[PE_POOL_AXES];
    int64_t kernel[PE_POOL_AXES]; /* 0: the axis is shared out among its places */
    int64_t step[PE_POOL_AXES], spacing[PE_POOL_AXES], before[PE_POOL_AXES];
    int include_padding;
    double divisor;
    float *x, *y;
    int32_t *place;
    int64_t inputs, outputs; /* elements of an image's x and y */
};

/* Checks a call, and reads it. *empty: there is nothing to read. */
pe_status pe_pooling_read(pe_context *, const char *name, const pe_pool_args *, int maximum, struct pe_pooling *,
                          int *empty, pe_error *);

static inline int64_t pe_pooling_rows(const int64_t sizes[PE_POOL_AXES]) { return sizes[0] * sizes[1]; }

/* row number i of all images' rows: its image; at[0] and at[1], its place along the first axes */
static inline int64_t pe_pooling_row(const int64_t sizes[PE_POOL_AXES], int64_t i, int64_t at[PE_POOL_AXES]) {
    at[1] = i % sizes[1], i /= sizes[1];
    at[0] = i % sizes[0];
    return i / sizes[0];
}

/* Along an axis, the part of place `at` that lies inside: how many elements, and the first one. */
static inline int64_t pe_pooling_taps(const struct pe_pooling *p, int axis, int64_t at, int64_t *from) {
    const int64_t size = p->size[axis], spacing = p->spacing[axis], kernel = p->kernel[axis];
    if (!kernel) {
        *from = at * size / p->places[axis];
        return parts((at + 1) * size, p->places[axis]) - *from;
    }
    const int64_t start = at * p->step[axis] - p->before[axis];
    const int64_t low = start < 0 ? ceiled(-start, spacing) : 0;
    const int64_t high = start < size ? min64(kernel, ceiled(size - start, spacing)) : 0;
    *from = high > low ? start + low * spacing : min64(max64(start, 0), size - 1);
    return max64(high - low, 0);
}

#endif
