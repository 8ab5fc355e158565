/* Which way a product goes, by its shape and strides alone; the thread count never enters.
 * Costs are counted in FMA instructions, of which a Zen 4 core starts one each cycle. */
#include "gemm_plan.h"

/* Moving one element into a packed panel or out of a tile, per element, as a share of the time of one
 * FMA instruction (measured on Zen 4 with 16 lanes; a rough guide is enough, both sides of the
 * choices below are right). */
#define COST_TRANSPOSED 0.35
#define COST_COPIED 0.12
#define COST_SCATTERED 1.2

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t parts(int64_t n, int64_t size) { return n / size + (n % size != 0); }
/* the size of equal parts, none above `most`, in whole `unit`s */
static int64_t equal_part(int64_t n, int64_t most, int64_t unit) {
    int64_t units = max64(parts(n, unit), 1);
    return parts(units, parts(units, max64(most / unit, 1))) * unit;
}

/* The stride of an axis of one element is never used: let it be the convenient one. */
static void settle_strides(struct pe_gemm_problem *g) {
    if (g->m == 1) g->a_i = g->c_i = 1;
    if (g->n == 1) g->b_j = g->c_j = 1;
    if (g->k == 1) g->a_p = g->b_p = 1;
}

static struct pe_gemm_problem exchanged(const struct pe_gemm_problem *g) {
    struct pe_gemm_problem t = *g;
    t.m = g->n, t.n = g->m;
    t.a = g->b, t.a_i = g->b_j, t.a_p = g->b_p;
    t.b = g->a, t.b_p = g->a_p, t.b_j = g->a_i;
    t.c_i = g->c_j, t.c_j = g->c_i;
    t.bias_i = g->bias_j, t.bias_j = g->bias_i;
    return t;
}

/* a's elements are splat one by one, so a is read in place along either axis; packing it pays once
 * its reading is repeated often enough: rows that are a power of two apart evict each other from L1. */
static int wants_packed_a(const struct pe_gemm_problem *g) {
    return (g->a_i != 1 && g->a_p != 1) || (g->n > 192 && g->m > 1);
}
/* b's rows are read as vectors: in place when contiguous and used by few rows of tiles. */
static int wants_packed_b(const struct pe_gemm_problem *g, int mr) { return g->b_j != 1 || g->m > 2 * mr; }

static double cost(const struct pe_gemm_problem *g, int lanes, int mr) {
    double m = (double)g->m, n = (double)g->n, k = (double)g->k, fma = m * (double)parts(g->n, lanes) * k;
    double per_a = g->a_i == 1 ? COST_COPIED : g->a_p == 1 ? COST_TRANSPOSED : COST_SCATTERED;
    double per_b = g->b_j == 1 ? COST_COPIED : g->b_p == 1 ? COST_TRANSPOSED : COST_SCATTERED;
    double per_c = g->c_j == 1 ? 0 : g->c_i == 1 ? COST_TRANSPOSED : COST_SCATTERED;
    return fma + per_c * m * n + (wants_packed_a(g) ? per_a * m * k : 0) +
           (wants_packed_b(g, mr) ? per_b * k * n : 0);
}

/* Steps of k at a time. What a task keeps in L2 is kc * (8 panels of a + 2 of b): three quarters of
 * it. Long blocks are right: c is read and written once a block, and the panels stream from L2
 * (7 bytes a cycle are needed, 32 are there). */
static int64_t block_depth(int64_t k, int mr, int nr) {
    size_t l2 = pe_machine_cached()->l2;
    l2 = l2 < (256 << 10) ? (256 << 10) : l2 > (4 << 20) ? (4 << 20) : l2;
    int64_t most = (int64_t)(l2 / 4 * 3 / sizeof(float)) / (8 * mr + 2 * nr);
    return equal_part(k, min64(most, 1024), 8);
}

/* Packed operands stay in a quarter of L3 each (hypervisors report from nothing to a whole machine's). */
static int64_t super_size(int64_t kc, int64_t unit) {
    size_t l3 = pe_machine_cached()->l3;
    l3 = l3 < (8 << 20) ? (8 << 20) : l3 > (64 << 20) ? (64 << 20) : l3;
    return max64((int64_t)(l3 / 4 / sizeof(float)) / max64(kc, 64) / unit, 16) * unit;
}

/* A task is worth about 8 us, and there are about 48 of them if the product is large: enough to
 * even out cores that start late. Rows grow first, up to the 8 panels of a that L2 holds. */
static void cut_tasks(const struct pe_gemm_problem *g, struct pe_gemm_plan *plan, int mr, int nr) {
    double tile = (double)mr * nr * (double)plan->kc, all = (double)g->m * (double)g->n * (double)plan->kc;
    double goal = all / 48 > 5e5 ? all / 48 : 5e5;
    int64_t rows = min64(parts(g->m, mr), 8), columns = parts(g->n, nr);
    if (columns <= 4) { /* narrow: a panel of a meets all of b at once */
        plan->task_n = columns * nr;
        rows = min64(rows, max64((int64_t)(goal / (tile * (double)columns)), 1));
        plan->task_m = equal_part(g->m, rows * mr, mr);
        return;
    }
    rows = min64(rows, max64((int64_t)(goal / tile), 1));
    plan->task_m = equal_part(g->m, rows * mr, mr);
    columns = min64(columns, max64((int64_t)(goal / (tile * (double)(plan->task_m / mr))), 1));
    plan->task_n = equal_part(g->n, columns * nr, nr);
}

static void plan_blocks(const struct pe_gemm_problem *g, struct pe_gemm_plan *plan, int mr, int nr,
                        int lanes) {
    int64_t panels = parts(g->n, nr), ragged = g->n % lanes != 0;
    plan->kc = block_depth(g->k, mr, nr);
    plan->pack_a = wants_packed_a(g);
    plan->first_packed = wants_packed_b(g, mr) ? 0 : panels - ragged; /* a cut panel is packed and padded */
    plan->super_m = min64(super_size(plan->kc, mr), parts(g->m, mr) * mr);
    plan->super_n = min64(super_size(plan->kc, nr), panels * nr);
    if (plan->pack_a) plan->a_floats = (size_t)(plan->super_m * plan->kc);
    if (plan->first_packed < panels)
        plan->b_floats = (size_t)(min64(plan->super_n, (panels - plan->first_packed) * nr) * plan->kc);
    cut_tasks(g, plan, mr, nr);
}

void pe_gemm_make_plan(const struct pe_kernels *kernels, struct pe_gemm_problem *g,
                       struct pe_gemm_plan *plan) {
    int mr = kernels->gemm.mr, nr = kernels->gemm.nr, lanes = kernels->vector_floats;
    settle_strides(g);
    struct pe_gemm_problem other = exchanged(g);
    double cycles = cost(g, lanes, mr), cycles_other = cost(&other, lanes, mr);
    int exchange = cycles_other < cycles;
    if (exchange) *g = other;
    *plan = (struct pe_gemm_plan){ .path = PE_GEMM_BLOCKS, .exchanged = exchange,
                                   .nanoseconds = (exchange ? cycles_other : cycles) * 0.28 };
    if (g->m == 1 && g->b_j == 1 && g->c_j == 1) {
        plan->path = PE_GEMM_ROW;
        plan->task_n = equal_part(g->n, max64(256, 65536 / max64(g->k, 1)), 64);
    } else if (g->m <= mr && g->b_j != 1 && (g->a_i == 1 || g->a_p == 1)) {
        plan->path = PE_GEMM_STRIPS;
        plan->kc = min64(g->k, PE_GEMM_STRIP_DEPTH);
        plan->task_n = equal_part(g->n, max64(nr, 65536 / max64(g->k, 1)), nr);
    } else {
        plan_blocks(g, plan, mr, nr, lanes);
    }
}
