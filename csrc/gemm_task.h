/* What the tasks of a product share, and the one call that runs a task. */
#ifndef PE_GEMM_TASK_H
#define PE_GEMM_TASK_H

#include "gemm_plan.h"

struct pe_gemm_run {
    pe_context *ctx;
    const struct pe_gemm_kernels *kernels;
    int lanes;
    struct pe_gemm_problem g;
    struct pe_gemm_plan plan;
    int finishes;        /* something follows the chain */
    int in_tile;         /* ... which is a bias and a clamp at most: the tile does it */
    float most;          /* of the clamp */
};

/* gemm.c: g planned, ready for its tasks. Not for empty products. */
void pe_gemm_start(pe_context *ctx, const struct pe_gemm_problem *g, int64_t products, struct pe_gemm_run *run);

/* Floats of memory that a task needs for itself. */
size_t pe_gemm_task_floats(const struct pe_gemm_plan *plan);

/* Task x (below plan.tasks) of the product g, which is run->g moved on in the batch. */
void pe_gemm_run_task(const struct pe_gemm_run *run, const struct pe_gemm_problem *g, int64_t x, float *memory);

/* c[i*c_i + j*c_j] = from[i*width + j], i < rows, j < columns: fast where one of c's strides is 1. */
void pe_gemm_write(const struct pe_gemm_kernels *kernels, float *c, int64_t c_i, int64_t c_j, const float *from,
                   int64_t width, int64_t rows, int64_t columns);

#endif
