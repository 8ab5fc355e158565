/* One output and its inputs as one walk over memory: broadcast, simplified, cut into tiles. */
#ifndef PE_BROADCAST_H
#define PE_BROADCAST_H

#include "internal.h"

#define PE_MAX_OPERANDS 5 /* operand 0 is the output */

typedef struct pe_walk {
    int operands;
    int ndim;                 /* at least 1; axis 0 is the innermost */
    int64_t count;            /* elements of the output; 0: nothing to do, the rest is not filled */
    int64_t shape[PE_MAX_DIMS];
    int64_t stride[PE_MAX_OPERANDS][PE_MAX_DIMS]; /* bytes; 0 where broadcast */
    char *data[PE_MAX_OPERANDS];
    int size[PE_MAX_OPERANDS]; /* bytes of an element */
} pe_walk;

/* Checks the tensors against each other and fills w. Axes run by the output's strides, smallest
 * first, so any dense permutation is one flat run; the output's strides are made positive; axes
 * that follow each other without a gap in every operand are merged. */
pe_status pe_walk_begin(pe_walk *w, const char *operation, const pe_tensor *out,
                        const pe_tensor *const *in, int inputs, pe_error *err);

/* A call on a tile: n elements, operand i at data[i] with step[i] elements (1 or 0) between.
 * Operand 0 is the output, its step is 1. */
typedef void pe_tile_body(const void *arg, char *const *data, const ptrdiff_t *step, size_t n);

/* walk.c: runs body over the whole walk, on the pool where `ns` (nanoseconds an element) times
 * the count pays for it. Operands that do not lie as body wants them go through scratch of
 * PE_TILE elements. May reorder w's outer axes. body NULL: out = input 0, bytes as they are. */
#define PE_TILE 1024
void pe_walk_run(pe_context *ctx, pe_walk *w, double ns, pe_tile_body *body, const void *arg);

#endif
