/* Operands of products for tests: matrices of every layout that touch an unreadable page, and the chain
 * that the product promises. */
#ifndef PE_OPERANDS_H
#define PE_OPERANDS_H

#include "../../csrc/internal.h"
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static pe_context *ctx;
static int two_roundings; /* the generic level multiplies, then adds */
static uint32_t state = 12345;

static inline uint32_t draw(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)state * below) >> 32);
}
static inline float draw_float(void) { return ((float)draw(1u << 24) - 8388608.0f) / 4194304.0f; }

/* ---- operands that touch an unreadable page ---- */

enum layout { ROWS, COLUMNS, WIDE_ROWS, WIDE_COLUMNS, UPWARDS, BACKWARDS, EVERY_OTHER, LAYOUTS };

struct operand {
    pe_tensor t;
    char *map;
    size_t bytes;
};

/* A matrix whose last (or first, when at_start is set) byte touches a page without access. */
static inline struct operand make_matrix(int64_t rows, int64_t columns, enum layout layout, int at_start) {
    int64_t step_i = columns, step_j = 1;
    if (layout == COLUMNS) step_i = 1, step_j = rows;
    if (layout == WIDE_ROWS) step_i = columns + 3;
    if (layout == WIDE_COLUMNS) step_i = 1, step_j = rows + 5;
    if (layout == UPWARDS) step_i = -columns;
    if (layout == BACKWARDS) step_i = -columns - 1, step_j = -1;
    if (layout == EVERY_OTHER) step_i = 3 * columns, step_j = 3;
    int64_t reach_i = rows ? (rows - 1) * step_i : 0, reach_j = columns ? (columns - 1) * step_j : 0;
    size_t span = (size_t)(llabs(reach_i) + llabs(reach_j) + 1) * sizeof(float);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), inside = (span + page - 1) / page * page;
    struct operand o = { .bytes = inside + 2 * page };
    o.map = mmap(NULL, o.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(o.map + page, inside, PROT_READ | PROT_WRITE);
    float *low = (float *)(o.map + page + (at_start ? 0 : inside - span));
    for (size_t x = 0; x < span / sizeof(float); x++) low[x] = draw_float();
    if (reach_i < 0) low -= reach_i;
    if (reach_j < 0) low -= reach_j;
    o.t = (pe_tensor){ low, PE_FLOAT32, 2, { rows, columns }, { step_i * 4, step_j * 4 } };
    return o;
}
static inline void drop(struct operand *o) { munmap(o->map, o->bytes); }

static inline float *at(const pe_tensor *t, int64_t i, int64_t j) {
    return (float *)((char *)t->data + i * t->strides[t->ndim - 2] + j * t->strides[t->ndim - 1]);
}
static inline int same(float x, float y) { return memcmp(&x, &y, sizeof x) == 0 || (isnan(x) && isnan(y)); }

static inline enum layout any_layout(void) { return (enum layout)draw(LAYOUTS); }

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
