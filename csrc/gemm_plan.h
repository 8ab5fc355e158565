/* The product between its checks (gemm_check.c), its plan (gemm_plan.c) and its run (gemm.c). */
#ifndef PE_GEMM_PLAN_H
#define PE_GEMM_PLAN_H

#include "internal.h"

/* One matrix product on pointers; strides in elements. c[i,j] at c + i*c_i + j*c_j, and so on;
 * bias at bias + i*bias_i + j*bias_j, where one of the two is 0. */
struct pe_gemm_problem {
    int64_t m, n, k;
    const float *a, *b, *bias;
    float *c;
    int64_t a_i, a_p, b_p, b_j, c_i, c_j, bias_i, bias_j;
    int activation, accumulate;
};

/* The batch: `count` products; axis d adds index * stride to the operands' addresses. */
struct pe_gemm_batch {
    int axes;
    int64_t count;
    int64_t size[PE_MAX_DIMS], a[PE_MAX_DIMS], b[PE_MAX_DIMS], c[PE_MAX_DIMS];
};

enum pe_gemm_path {
    PE_GEMM_ROW,    /* one row, b's rows contiguous: b streams through once */
    PE_GEMM_STRIPS, /* at most one tile of rows: each panel of b is packed in L1 just before its one use */
    PE_GEMM_BLOCKS  /* the general case */
};

#define PE_GEMM_STRIP_DEPTH 128 /* 16 KB of b at a time */

struct pe_gemm_plan {
    enum pe_gemm_path path;
    int exchanged;              /* the problem's a is the caller's b */
    double nanoseconds;         /* estimated, on one thread */
    int64_t kc;                 /* steps of k at a time */
    int64_t super_m, super_n;   /* rows of a and columns of b packed at a time */
    int64_t task_m, task_n;     /* rows and columns of one task: multiples of the tile (ROW: any) */
    int pack_a;
    int64_t first_packed;       /* panels of b before this one are read in place */
    size_t a_floats, b_floats;  /* of packing space */
};

pe_status pe_gemm_check(const pe_gemm_args *args, struct pe_gemm_problem *problem,
                        struct pe_gemm_batch *batch, pe_error *err);

/* May exchange the roles of a and b in the problem (c^T = b^T a^T). */
void pe_gemm_make_plan(const struct pe_kernels *kernels, struct pe_gemm_problem *problem,
                       struct pe_gemm_plan *plan);

#endif
