/* The elementwise loops: out[i] = op(in0[i], in1[i], ...), one loop an operation. */
#ifndef PE_KERNELS_ELEMENTWISE_H
#define PE_KERNELS_ELEMENTWISE_H

#include <stddef.h>

/* for i = 0 .. n-1:  out[i] = op(in[0][i * step[0]], in[1][i * step[1]], ...)
 * step is 1 (contiguous) or 0 (one element for all); any alignment. out may be exactly
 * one of the inputs of step 1 and overlaps no other. Nothing past element n-1 is touched.
 * float32 operands are floats, bool operands bytes of 0 or not 0 (written: 0 or 1). */
typedef void pe_loop(void *out, const void *const *in, const ptrdiff_t *step, size_t n);

#define UNARY(type, name, work, slope, keep, f, df, d2) \
    PE_OP_##name, PE_OP_##name##_backward, PE_OP_##name##_backward_kept,
#define UNARY_PIECEWISE(type, name, work, keep, f, df) PE_OP_##name, PE_OP_##name##_backward,
#define UNARY_BY(type, name, work, f, op, takes) PE_OP_##name,
#define BINARY(type, name, work, slope, f, da, db, haa, hab, hbb)                  \
    PE_OP_##name, PE_OP_##name##_backward_a, PE_OP_##name##_backward_b,            \
        PE_OP_##name##_backward_aa, PE_OP_##name##_backward_ab, PE_OP_##name##_backward_bb,
#define BINARY_LINEAR(type, name, work, slope, f, op_a, takes_a, db, hab, hbb) \
    PE_OP_##name, PE_OP_##name##_backward_b, PE_OP_##name##_backward_ab, PE_OP_##name##_backward_bb,
#define BINARY_PIECEWISE(type, name, work, f, da, db) \
    PE_OP_##name, PE_OP_##name##_backward_a, PE_OP_##name##_backward_b,
#define BINARY_BY(type, name, work, f, op_a, takes_a, op_b, takes_b) PE_OP_##name,
#define COMPARE(type, name, relation) PE_OP_##name,
#define TEST(type, name, property) PE_OP_##name,
#define LOGICAL(name, f) PE_OP_##name,
#define LOGICAL_NOT(name, f) PE_OP_##name,
#define CHOICE(type, name) PE_OP_##name, PE_OP_##name##_backward_a, PE_OP_##name##_backward_b,
enum pe_elementwise_op {
#include "elementwise.def"
    PE_OP_COUNT
};

struct pe_elementwise_kernels {
    pe_loop *const *loop; /* PE_OP_COUNT of them */
};

#endif
