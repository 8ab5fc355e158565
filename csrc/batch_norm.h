/* Batch normalization as its two files see it: checks and memory (batch_norm.c), passes (batch_norm_pass.c). */
#ifndef PE_BATCH_NORM_H
#define PE_BATCH_NORM_H

#include "internal.h"

struct pe_channels {
    const struct pe_batch_norm_kernels *kernels;
    int columns;                      /* channels lie last; then an image is all rows and length is their number */
    int64_t images, channels, length; /* elements of a channel of an image */
    int64_t parts;                    /* of a channel */
    const float *x, *g;               /* g: where gradients are asked for */
    const float *weight, *bias;
    float *mean, *rstd, *running_mean, *running_var;
    float *first, *second;            /* (parts, channels): sums of each part */
    const float *center;              /* mean, or zeros where x takes no part in dx */
    float *scale, *slope, *shift;     /* what y or dx is made of */
    float *y;                         /* or dx; may be NULL */
    float *dweight, *dbias;
    float eps, momentum;
    int training, sums;               /* sums: over x, or over x and g */
};

/* Sums where they are asked for, what follows from them for each channel, then y or dx. */
void pe_channels_run(pe_context *, struct pe_channels *);

/* how many parts a channel of `count` elements is summed in */
int64_t pe_channel_parts(int64_t count);

#endif
