/* Matrices of any element type whose last (or first) byte touches a page without access, filled at random. */
#ifndef PE_TYPED_OPERANDS_H
#define PE_TYPED_OPERANDS_H

#include "../../csrc/internal.h"
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint32_t state = 12345;

static inline uint32_t draw(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)state * below) >> 32);
}
static inline float draw_float(void) { return ((float)draw(1u << 24) - 8388608.0f) / 4194304.0f; }

enum layout { ROWS, COLUMNS, WIDE_ROWS, WIDE_COLUMNS, UPWARDS, BACKWARDS, EVERY_OTHER, LAYOUTS };

struct operand {
    pe_tensor t;
    char *map;
    size_t bytes;
};

static inline void *at(const pe_tensor *t, int64_t i, int64_t j) {
    return (char *)t->data + i * t->strides[0] + j * t->strides[1];
}
static inline int32_t whole_at(const pe_tensor *t, int64_t i, int64_t j) {
    const void *p = at(t, i, j);
    if (t->dtype == PE_INT8) return *(const int8_t *)p;
    if (t->dtype == PE_UINT8) return *(const uint8_t *)p;
    return *(const int32_t *)p;
}
static inline float real_at(const pe_tensor *t, int64_t i, int64_t j) { return *(const float *)at(t, i, j); }

static inline struct operand make_matrix(int dtype, int64_t rows, int64_t columns, enum layout layout) {
    int64_t step_i = columns, step_j = 1, size = (int64_t)pe_dtype_size(dtype);
    if (layout == COLUMNS) step_i = 1, step_j = rows;
    if (layout == WIDE_ROWS) step_i = columns + 3;
    if (layout == WIDE_COLUMNS) step_i = 1, step_j = rows + 5;
    if (layout == UPWARDS) step_i = -columns;
    if (layout == BACKWARDS) step_i = -columns - 1, step_j = -1;
    if (layout == EVERY_OTHER) step_i = 3 * columns, step_j = 3;
    int64_t reach_i = rows ? (rows - 1) * step_i : 0, reach_j = columns ? (columns - 1) * step_j : 0;
    size_t span = (size_t)(llabs(reach_i) + llabs(reach_j) + 1) * (size_t)size;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), inside = (span + page - 1) / page * page;
    struct operand o = { .bytes = inside + 2 * page };
    o.map = mmap(NULL, o.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(o.map + page, inside, PROT_READ | PROT_WRITE);
    char *low = o.map + page + (draw(2) ? 0 : inside - span);
    for (size_t x = 0; x < span; x++) low[x] = (char)draw(256);
    if (dtype == PE_FLOAT32)
        for (size_t x = 0; x < span / 4; x++) ((float *)(void *)low)[x] = draw_float();
    if (reach_i < 0) low -= reach_i * size;
    if (reach_j < 0) low -= reach_j * size;
    o.t = (pe_tensor){ low, dtype, 2, { rows, columns }, { step_i * size, step_j * size } };
    return o;
}
static inline struct operand make_vector(int dtype, int64_t n, int64_t step) {
    struct operand o = make_matrix(dtype, n, step > 0 ? step : -step, ROWS);
    int64_t size = (int64_t)pe_dtype_size(dtype);
    char *first = (char *)o.t.data + (step < 0 && n ? (n - 1) * -step * size : 0);
    o.t = (pe_tensor){ first, dtype, 1, { n }, { step * size } };
    return o;
}
static inline void drop(struct operand *o) { munmap(o->map, o->bytes); }
static inline enum layout any_layout(void) { return (enum layout)draw(LAYOUTS); }
static inline int same(float x, float y) { return memcmp(&x, &y, sizeof x) == 0 || (isnan(x) && isnan(y)); }

#endif
