/* The product between its checks (gemm_check.c), its plan (gemm_plan.c) and its run (gemm.c). */
#ifndef PE_GEMM_PLAN_H
#define PE_GEMM_PLAN_H

#include "conv.h"
#include "internal.h"

/* Rows of c and of the residual that are places in space: the sum over axes of index * stride, the last axis
 * fastest. */
#define PE_GEMM_GRID_AXES 4
struct pe_gemm_grid {
    int axes;
    int64_t size[PE_GEMM_GRID_AXES], c[PE_GEMM_GRID_AXES], residual[PE_GEMM_GRID_AXES];
};

/* One matrix product on pointers; strides in elements. c[i,j] at c + i*c_i + j*c_j, and so on;
 * bias at bias + i*bias_i + j*bias_j, where one of the two is 0. */
struct pe_gemm_problem {
    int64_t m, n, k;
    const void *a, *b;   /* float32, or bfloat16 where a_half, b_half is set */
    const void *packed;  /* panels made by pe_pack, of b's type (then b is not read), or NULL */
    const struct pe_conv_problem *windows; /* a[i,p] as windows.h sees it in the image at a, or NULL */
    int windows_down;                      /* a's rows are the windows' elements and its columns their places */
    int one_thread;                        /* the caller shares out the work: tasks are as large as L2 lets them be */
    const struct pe_gemm_grid *grid;       /* of c's rows, in place of c_i and residual_i, or NULL */
    const float *bias, *residual;
    float *c;              /* or bfloat16, where c_half is set: of pe_half_run_batch alone */
    int a_half, b_half, c_half;
    int64_t a_i, a_p, b_p, b_j, c_i, c_j, bias_i, bias_j, residual_i, residual_j;
    const float *scale;
    pe_loop *activation;                   /* or NULL */
    int accumulate;
};

/* p moved on by so many elements of float32 or, where half is set, bfloat16. */
static inline const void *pe_gemm_at(const void *p, int64_t elements, int half) {
    return (const char *)p + elements * (half ? 2 : 4);
}

/* The batch: `count` products; axis d adds index * stride to the operands' addresses. */
struct pe_gemm_batch {
    int axes;
    int64_t count;
    int64_t size[PE_MAX_DIMS], a[PE_MAX_DIMS], b[PE_MAX_DIMS], c[PE_MAX_DIMS], residual[PE_MAX_DIMS];
    int64_t bias[PE_MAX_DIMS], packed[PE_MAX_DIMS];
};

enum pe_gemm_path {
    PE_GEMM_ROW,  /* one row, b's rows contiguous: b streams through once */
    PE_GEMM_TILES /* the general case */
};

/* How b is read. Packed, it lies in panels of the widest tile's columns, each with all of k and padded to
 * whole vectors: panel from column j at j * k floats, one row of it per step of k. */
enum pe_gemm_b {
    PE_GEMM_IN_PLACE,
    PE_GEMM_OWN,    /* each task packs the panel it is about to use, in its own memory */
    PE_GEMM_SHARED, /* packed whole, by all threads, before the tasks begin */
    PE_GEMM_GIVEN,  /* the caller's, by pe_pack */
    PE_GEMM_WIDENED /* each task widens the panel it is about to use, from the caller's pack or from b */
};

/* Tasks are rectangles of c. Each runs all of k and knows nothing of the others, so nobody waits. The rows
 * are cut into blocks and a block's columns `cuts` times: the first half of the blocks by cuts[0], the
 * others by cuts[1], because small tasks at the end let all threads finish together. */
#define PE_GEMM_FEW_ROWS 32
struct pe_gemm_plan {
    enum pe_gemm_path path;
    enum pe_gemm_b b;
    int exchanged;            /* the problem's a is the caller's b */
    int copy_a;               /* each task copies its block of a; else a is read in place */
    int own_c;                /* a task gathers its rows of a panel of c and turns them over at the end */
    int own_panels;           /* own_c of all panels of the task at once: c waits there from block to block of k */
    int panels_first;         /* a panel of b meets all blocks of k before the next: it streams by once */
    int fetch_b;              /* b comes from afar: ask for the next panel while this one is at work */
    int fetch_a;              /* else the same of an a that is read in place, row by row */
    double nanoseconds;       /* estimated, on one thread */
    int64_t kc;               /* steps of k at a time */
    int64_t nr;               /* columns of a panel of b (ROW: of a task) */
    int abreast;              /* panels that one row meets side by side; 1 for more rows */
    int64_t rows, blocks;     /* rows of a block, and how many blocks */
    int64_t cuts[2];          /* tasks of one block */
    int64_t tasks;            /* of one product of the batch */
    size_t a_floats, b_floats, c_floats; /* of a task's own memory */
    size_t wide_floats;       /* of b's panel widened before it is packed */
    size_t shared_floats;     /* of the packed b */
};

/* gemm.c: the whole batch, by plan, over the pool. */
pe_status pe_gemm_run_batch(pe_context *ctx, const struct pe_gemm_problem *problem, const struct pe_gemm_batch *batch,
                            pe_error *err);

pe_status pe_gemm_check(pe_context *ctx, const pe_gemm_args *args, struct pe_gemm_problem *problem,
                        struct pe_gemm_batch *batch, pe_error *err);

/* of it: one operand of so many axes or more; c that overlaps itself, or another operand */
pe_status pe_gemm_check_operand(const pe_tensor *t, const char *name, int least_axes, int may_be_half, pe_error *err);
pe_status pe_gemm_check_writable(const pe_tensor *c, pe_error *err);
pe_status pe_gemm_check_apart(const pe_tensor *c, const pe_tensor *t, const char *name, pe_error *err);

/* gemm_pack.c: the panels in a pack as a matrix (k, n); a refusal if it is none of this process. */
pe_status pe_gemm_open_pack(pe_context *ctx, const void *packed, pe_tensor *b, pe_error *err);

/* All of the problem's b into panels of nr columns, in b's type, by so many threads. */
void pe_gemm_pack_panels(pe_context *ctx, const struct pe_gemm_problem *problem, int64_t nr, void *to,
                         int threads);

/* May exchange the roles of a and b in the problem (c^T = b^T a^T), and make it a task of its own where there are many
 * `products` alike. `threads` that the pool has decide how finely the work is cut, never a bit of the result. */
void pe_gemm_make_plan(const struct pe_kernels *kernels, int threads, int64_t products,
                       struct pe_gemm_problem *problem, struct pe_gemm_plan *plan);

#endif
