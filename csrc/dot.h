/* Products in words along k, between what packs their operands (qgemm.c: bytes, half.c: bfloat16) and dot.c's tasks. */
#ifndef PE_DOT_RUN_H
#define PE_DOT_RUN_H

#include "internal.h"

/* Rows i .. i+rows-1 and columns j .. j+columns-1 of the sums, from_row words apart. */
struct pe_dot_rows {
    int32_t *from;
    int64_t from_row, i, rows, j, columns;
};

struct pe_dot_run {
    pe_context *ctx;
    const struct pe_dot_kernels *kernels;
    int64_t m, n, groups;
    const uint8_t *a; /* rows of whole multiples of `deep` groups */
    size_t a_row;     /* bytes */
    const int8_t *panels;
    size_t panel_bytes;
    const int32_t *sums, *zero; /* see kernels/dot.h */
    int32_t *direct;            /* c itself, where tiles may write it, or NULL */
    int64_t direct_row;
    void (*start)(const void *who, const struct pe_dot_rows *); /* fills rows with what the sums start at, or NULL: 0 */
    void (*take)(const void *who, const struct pe_dot_rows *);  /* finished rows, each once, any order */
    const void *who;
    int64_t task_m, task_n;     /* the run's own */
    int past_caches;
};

/* Cuts c into tasks by its shape and runs them over the pool. Any sum is one thread's, group by group in order. */
void pe_dot_run(struct pe_dot_run *);

/* Bytes of a packed row of a (odd in cache lines: the rows of a tile shall not evict each other) and of a panel. */
size_t pe_dot_row_bytes(const struct pe_dot_kernels *, int64_t groups);
size_t pe_dot_panel_bytes(const struct pe_dot_kernels *, int64_t groups);

/* True, from then on, when whole lines of a c of so many bytes are better written past the caches. */
int pe_dot_past_caches(struct pe_dot_run *, size_t bytes);

#endif
