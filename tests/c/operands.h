/* Operands of products for tests: matrices of every layout that touch an unreadable page, and the chain
 * that the product promises. */
#ifndef PE_OPERANDS_H
#define PE_OPERANDS_H

#include "guarded.h"

static pe_context *ctx;
static int two_roundings; /* the generic level multiplies, then adds */

static inline struct operand make_matrix(int64_t rows, int64_t columns, enum layout layout, int at_start) {
    struct operand o = make_guarded(PE_FLOAT32, rows, columns, layout, at_start);
    for (size_t x = 0; x < o.span / sizeof(float); x++) ((float *)(void *)o.low)[x] = draw_float();
    return o;
}

static inline float *at(const pe_tensor *t, int64_t i, int64_t j) {
    return (float *)((char *)t->data + i * t->strides[t->ndim - 2] + j * t->strides[t->ndim - 1]);
}
/* ---- the definition ---- */

static inline float chain(const pe_tensor *a, const pe_tensor *b, int64_t i, int64_t j, float start) {
    int64_t k = a->shape[a->ndim - 1];
    float s = start;
    for (int64_t p = 0; p < k; p++) {
        if (two_roundings) {
            volatile float product = *at(a, i, p) * *at(b, p, j);
            s = product + s;
        } else {
            s = fmaf(*at(a, i, p), *at(b, p, j), s);
        }
    }
    return s;
}

/* First of all: the context, and how the level in use rounds. */
static inline void prepare(void) {
    pe_machine machine;
    pe_machine_info(&machine);
    two_roundings = strcmp(machine.isa, "generic") == 0;
    ctx = pe_default_context();
}

#endif
