/* What the files of floor 2 share: the context, the error, and how a call asks for work. */
#ifndef PE_INTERNAL_H
#define PE_INTERNAL_H

#include "pyengine.h"
#include "kernels/table.h"

struct pe_context {
    const struct pe_kernels *kernels; /* of the level in use */
    struct pe_pool *pool;
    struct pe_allocator *allocator;
};

/* cpu.c */
const struct pe_machine *pe_machine_cached(void);
/* dispatch.c: the table of the level in use (PYENGINE_ISA lowers it), chosen once */
const struct pe_kernels *pe_choose_kernels(void);

/* error.c: fills err (which may be NULL) and returns code, so that a check reads
 *   if (a->ndim < 2)
 *       return pe_fail(err, PE_ERR_SHAPE, -1, "gemm: a must have 2 or more axes, has %d", a->ndim); */
pe_status pe_fail(pe_error *err, pe_status code, int axis, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* "(2, 3)" into buffer; returns buffer */
#define PE_SHAPE_TEXT 96
const char *pe_shape_text(const pe_tensor *t, char buffer[PE_SHAPE_TEXT]);

/* tensor.c: what every call asks of its arguments */
int64_t pe_numel(const pe_tensor *t); /* -1: impossible (negative size, too many axes, over int64) */
int pe_same_shape(const pe_tensor *a, const pe_tensor *b);
int pe_is_contiguous(const pe_tensor *t); /* row-major, no gaps; axes of size 1 do not matter */
int pe_is_channels_last(const pe_tensor *t); /* no gaps, axis 1 fastest, the others in their order; two axes or more */

/* Refuses what no call can use: NULL, unknown type, ndim or sizes out of range, a size in bytes
 * over int64, missing data, strides that are no multiples of the element size. */
pe_status pe_check_tensor(const pe_tensor *t, const char *operation, const char *argument, pe_error *err);
/* ... and every type but one */
pe_status pe_check_dtype(const pe_tensor *t, int dtype, const char *operation, const char *argument, pe_error *err);

/* elementwise.c: the loop of an activation that a call does at its store, NULL for PE_NO_ACTIVATION; refuses all but
 * operations of one float32 that give one. */
pe_status pe_activation_loop(pe_context *ctx, int op, const char *operation, pe_loop **loop, pe_error *err);

/* pool.c: the cost model. A call of `nanoseconds` of work on one thread deserves this many
 * threads (1 .. the context's number); give it to pe_parallel_for as max_threads. Every kernel
 * runs inside pe_parallel_for, also on one thread: it sets the floating-point state. */
int pe_threads_for(pe_context *ctx, double nanoseconds);

#endif
