/* What winograd.c plans and winograd_task.c runs. */
#ifndef PE_WINOGRAD_PLAN_H
#define PE_WINOGRAD_PLAN_H

#include "winograd_tiles.h"

/* A task is a block of tiles against some panels of output channels. */
struct pe_winograd_run {
    pe_context *ctx;
    const struct pe_kernels *kernels;
    const struct pe_conv_problem *q;
    const float *panels;        /* by pe_conv_pack_panels */
    int64_t lanes, nr;          /* nr: columns of a panel */
    int64_t depth;              /* channels at a time, of V and of the weights */
    struct pe_winograd_cut cut;
    int64_t panel_count, cuts, tasks;
    int64_t group_down, group_across; /* tiles whose results are finished and written together */
    int failed;
};

/* Floats of memory that a task needs for itself. */
size_t pe_winograd_task_floats(const struct pe_winograd_run *);

/* Tasks [begin, end) in this memory. */
void pe_winograd_run_tasks(const struct pe_winograd_run *, int64_t begin, int64_t end, float *memory);

#endif
