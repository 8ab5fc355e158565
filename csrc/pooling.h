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
    struct pe_pool_span *along[PE_POOL_AXES]; /* for each output (forward) or input (backward) along an axis */
    int64_t inputs, outputs; /* elements of an image's x and y */
};

/* Checks a call, and reads it. *empty: there is nothing to read. */
pe_status pe_pooling_read(pe_context *, const char *name, const pe_pool_args *, int maximum, struct pe_pooling *,
                          int *empty, pe_error *);

/* elements of a window, about */
double pe_pooling_taps(const struct pe_pooling *);

/* Along an axis: what window `at` has inside; or the windows that may hold element `at`. */
typedef struct pe_pool_span pe_pool_spanner(const struct pe_pooling *, int axis, int64_t at);
pe_pool_spanner pe_pool_inside, pe_pool_over;

/* body(row, at, image) for the rows begin .. end of all images; at: the row's place along the first two axes */
typedef void pe_pool_row(const struct pe_pooling *, int64_t row, const int64_t at[2], int64_t image);
/* Fills p->along for sizes[axis] elements an axis, and runs the rows of all images with them. */
pe_status pe_pooling_run(pe_context *, const char *name, struct pe_pooling *, const int64_t sizes[PE_POOL_AXES],
                         pe_pool_spanner *, pe_pool_row *, double nanoseconds, pe_error *);

#endif
