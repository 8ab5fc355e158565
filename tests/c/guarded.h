/* What tests of products share: random numbers, matrices of any type and layout whose memory touches an
 * unreadable page, and the proof that threads took part. */
#ifndef PE_GUARDED_H
#define PE_GUARDED_H

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
static inline int same(float x, float y) { return memcmp(&x, &y, sizeof x) == 0 || (isnan(x) && isnan(y)); }

enum layout { ROWS, COLUMNS, WIDE_ROWS, WIDE_COLUMNS, UPWARDS, BACKWARDS, EVERY_OTHER, LAYOUTS };
static inline enum layout any_layout(void) { return (enum layout)draw(LAYOUTS); }

struct operand {
    pe_tensor t;
    char *map, *low; /* all that is mapped; the first byte of the matrix's span */
    size_t bytes, span;
};
static inline void drop(struct operand *o) { munmap(o->map, o->bytes); }

/* Zeros, of which the last (or first, when at_start is set) byte touches a page without access. */
static inline struct operand make_guarded(int dtype, int64_t rows, int64_t columns, enum layout layout,
                                          int at_start) {
    int64_t step_i = columns, step_j = 1, size = (int64_t)pe_dtype_size(dtype);
    if (layout == COLUMNS) step_i = 1, step_j = rows;
    if (layout == WIDE_ROWS) step_i = columns + 3;
    if (layout == WIDE_COLUMNS) step_i = 1, step_j = rows + 5;
    if (layout == UPWARDS) step_i = -columns;
    if (layout == BACKWARDS) step_i = -columns - 1, step_j = -1;
    if (layout == EVERY_OTHER) step_i = 3 * columns, step_j = 3;
    int64_t reach_i = rows ? (rows - 1) * step_i : 0, reach_j = columns ? (columns - 1) * step_j : 0;
    struct operand o = { .span = (size_t)((llabs(reach_i) + llabs(reach_j) + 1) * size) };
    size_t page = (size_t)sysconf(_SC_PAGESIZE), inside = (o.span + page - 1) / page * page;
    o.bytes = inside + 2 * page;
    o.map = mmap(NULL, o.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(o.map + page, inside, PROT_READ | PROT_WRITE);
    o.low = o.map + page + (at_start ? 0 : inside - o.span);
    char *first = o.low - ((reach_i < 0 ? reach_i : 0) + (reach_j < 0 ? reach_j : 0)) * size;
    o.t = (pe_tensor){ first, dtype, 2, { rows, columns }, { step_i * size, step_j * size } };
    return o;
}

/* Strides for t's shape and type, row-major, channels last (axis 1 fastest) or row-major with gaps; the elements that
 * they span. */
enum format { ROW_MAJOR, CHANNELS_LAST, WITH_GAPS };
static inline int64_t lay_out(pe_tensor *t, enum format format) {
    int64_t step = format == WITH_GAPS ? 2 : 1;
    for (int i = 0; i < t->ndim; i++) { /* the fastest axis first */
        int axis = t->ndim - 1 - i;
        if (format == CHANNELS_LAST) axis = i == 0 ? 1 : i == t->ndim - 1 ? 0 : t->ndim - i;
        t->strides[axis] = step * (int64_t)pe_dtype_size(t->dtype);
        step *= t->shape[axis] > 0 ? t->shape[axis] + (format == WITH_GAPS) : 1;
    }
    return step;
}

/* Between the two, two or more threads must have taken chunks of some call. */
struct sharing {
    int threads; /* to be set again */
    uint64_t calls;
};
static inline struct sharing begin_sharing(pe_context *context) {
    pe_pool_stats stats;
    pe_pool_statistics(context, &stats);
    return (struct sharing){ pe_get_num_threads(context), stats.shared_calls };
}
/* Whether some call since then was shared. Of a few short calls none need be: on a busy machine workers wake late. */
static inline int was_shared(pe_context *context, const struct sharing *before) {
    pe_pool_stats stats;
    pe_pool_statistics(context, &stats);
    return stats.shared_calls > before->calls;
}
static inline void end_sharing(pe_context *context, const struct sharing *before) {
    pe_machine machine;
    pe_machine_info(&machine);
    if (machine.cpus_affinity > 1) CHECK(was_shared(context, before));
    pe_set_num_threads(context, before->threads);
}

#endif
