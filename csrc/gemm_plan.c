/* Which way a product goes, by its shape and strides alone; the thread count enters only where tasks should be few.
 * Costs are counted in FMA instructions. */
#include "gemm_plan.h"
#include "sizes.h"

#define FMA_NS 0.2 /* of one, between Ice Lake's 0.18 (two a cycle at 2.7 GHz) and Zen 4's 0.28 */

/* Bytes a nanosecond that one thread reads, from memory or a far cache and from its own: what few rows wait for. */
#define FAR_BYTES 20.0
#define NEAR_BYTES 60.0

/* Moving one element, in FMA instructions (of 16 lanes): a rough guide is enough, both sides of the
 * choices below are right. */
#define COST_COPIED 0.12     /* along contiguous memory */
#define COST_TRANSPOSED 0.35
#define COST_SCATTERED 1.2

/* A task is worth 1.6 us at least (a claim costs 0.1 us). A few a thread even out cores of different speeds; each one
 * more copies rows and packs panels that another has, too: one thread with 24 instead of one lost 5 to 25 % from 256^3
 * to 1024^3, most where k is long (Emerald Rapids); two threads with 8 instead of 4 lost 17 % at 128 x 3072 x 768
 * (Zen 4). */
#define TASK_FMAS 8000.0
#define TASKS_A_THREAD 2 /* where each copies or packs again what another does, too */
#define TASKS_OF_FEW_ROWS 12
#define LEAST_ROWS 24
#define COLUMNS_A_CUT 512
#define WIDE_ROWS 128 /* columns of a stored matrix that are read at a time: so many in a row come in whole lines */
#define WIDE_DEPTH 128
#define DEEPEST 384 /* steps of k at a time */
#define PASSED_ROWS 160 /* that a matrix which streams by meets at most, and the steps of k at a time then */
#define PASSED_DEPTH 640
#define MANY_BLOCKS 6

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
    t.a = g->b, t.a_i = g->b_j, t.a_p = g->b_p, t.a_half = g->b_half;
    t.b = g->a, t.b_p = g->a_p, t.b_j = g->a_i, t.b_half = g->a_half;
    t.c_i = g->c_j, t.c_j = g->c_i;
    t.bias_i = g->bias_j, t.bias_j = g->bias_i;
    t.residual_i = g->residual_j, t.residual_j = g->residual_i;
    return t;
}

/* a's elements are splat one by one, so a is read in place along either axis. Copying pays once its reading
 * is repeated often enough and its rows lie far apart: each is a page of its own, and rows a power of two
 * apart evict each other from the caches. */
static int wants_copied_a(const struct pe_gemm_problem *g) {
    if (g->windows) return 1;
    if (g->a_half || (g->a_i != 1 && g->a_p != 1)) return 1;
    int64_t apart = g->a_p == 1 ? g->a_i : g->a_p;
    if (g->m <= PE_GEMM_FEW_ROWS) return 0;
    if (g->a_p != 1) return g->n >= 128 && (apart < 0 ? -apart : apart) > 64; /* a line of a for each step of k */
    return g->n > 256 && (apart < 0 ? -apart : apart) > 512;
}
/* b's rows are read as vectors: in place when contiguous and near each other or used by few tiles. */
static int wants_packed_b(const struct pe_gemm_problem *g, int lanes) {
    int64_t apart = g->b_p < 0 ? -g->b_p : g->b_p;
    return g->b_j != 1 || g->n % lanes != 0 || (g->m > 48 && apart > 128);
}

static double cost(const struct pe_gemm_problem *g, int lanes) {
    double m = (double)g->m, n = (double)g->n, k = (double)g->k, fma = m * (double)parts(g->n, lanes) * k;
    double per_a = g->a_i == 1 || g->a_p == 1 ? COST_COPIED : COST_SCATTERED;
    double per_b = g->b_j == 1 ? COST_COPIED : g->b_p == 1 ? COST_TRANSPOSED : COST_SCATTERED;
    double per_c = g->c_j == 1 ? 0 : g->c_i == 1 ? COST_TRANSPOSED : COST_SCATTERED;
    return fma + per_c * m * n + (wants_copied_a(g) ? per_a * m * k : 0) +
           (!g->packed && wants_packed_b(g, lanes) ? per_b * k * n : 0);
}

static size_t l2_bytes(void) {
    size_t l2 = pe_machine_cached()->l2;
    return l2 < (256 << 10) ? (256 << 10) : l2 > (2 << 20) ? (2 << 20) : l2;
}

static int comes_from_afar(int64_t rows, int64_t columns) {
    return (double)rows * (double)columns * sizeof(float) > (double)l2_bytes() / 2;
}

/* Small enough for L2, but in a network others have been there since. Asking is cheap where tiles are many (MiniLM on
 * 32 tokens: 7.9 -> 7.0 ms); 8 rows against 384 x 384 in L2 lost a tenth by it. */
static int may_come_from_afar(int64_t rows, int64_t columns) {
    return (double)rows * (double)columns * sizeof(float) > (double)l2_bytes() / 16;
}

static int fits_l2(const struct pe_gemm_problem *g) {
    double m = (double)g->m, n = (double)g->n, k = (double)g->k;
    return (m * k + k * n + m * n) * sizeof(float) <= (double)l2_bytes();
}

/* The rows of a are columns of a matrix that L2 cannot hold: every task that reads some waits for whole lines of it. */
static int reads_far_columns(const struct pe_gemm_problem *g) {
    int down = g->windows ? g->windows_down : g->a_i == 1 && g->a_p != 1 && g->m > 1;
    return down && (double)g->m * (double)g->k * sizeof(float) > (double)l2_bytes();
}

/* Of one thread, for the choice of their number: arithmetic or, with few rows, the reading of b. */
static double nanoseconds(const struct pe_gemm_problem *g, double fmas) {
    double bytes = (double)g->k * (double)g->n * (g->b_half ? 2 : 4);
    double reading = bytes / (bytes > (double)l2_bytes() / 2 ? FAR_BYTES : NEAR_BYTES);
    return fmas * FMA_NS > reading ? fmas * FMA_NS : reading;
}

/* One of many groups, of few rows, whose b comes from afar and is used by no other task: it streams by once, in deep
 * blocks and where its rows are contiguous not even packed (64 rows: packing is a fifth of the time, Zen 5). */
static int streams_far_b(const struct pe_gemm_problem *g) {
    return g->one_thread && !g->windows && g->m <= PASSED_ROWS &&
           comes_from_afar(g->k, g->n);
}

/* A task lays out each panel of b itself, just before it uses it. */
static int makes_own_b(const struct pe_gemm_plan *plan) {
    return plan->b == PE_GEMM_OWN || plan->b == PE_GEMM_WIDENED;
}

/* Steps of k at a time: c is read and written once a block. Few rows use a panel of b a few times in turn, so
 * its block stays in L1 (24 KB); one tile of rows uses it once. */
static int64_t block_depth(const struct pe_gemm_problem *g, const struct pe_gemm_plan *plan, int64_t mr) {
    int64_t most = min64((int64_t)(l2_bytes() / 16 / sizeof(float)) / plan->nr, DEEPEST);
    if (reads_far_columns(g)) most = min64(most, WIDE_DEPTH);
    if (streams_far_b(g)) most = PASSED_DEPTH;
    else if (plan->panels_first && g->m <= PE_GEMM_FEW_ROWS)
        most = g->m > mr || makes_own_b(plan) ? 6144 / plan->nr : parts(g->k, 8) * 8;
    return equal_part(g->k, max64(most, 48), 8);
}

/* Rows of a that stay in L2 while panels of b pass: a sixth of it. A third was 15 % slower on Ice Lake, where
 * the other thread of the core, somebody else's on a shared machine, uses the cache too. */
static int64_t most_rows(int64_t kc) {
    return max64((int64_t)(l2_bytes() / 6 / sizeof(float)) / max64(kc, 1), 24);
}

/* How many tasks there should be: enough to even out the threads, few where each reads much of its own. */
static int64_t wanted_tasks(const struct pe_gemm_problem *g, int lanes, int threads) {
    double worth = (double)g->m * (double)parts(g->n, lanes) * (double)g->k / TASK_FMAS;
    int64_t each = reads_far_columns(g) ? 2 : g->m <= PE_GEMM_FEW_ROWS ? TASKS_OF_FEW_ROWS : TASKS_A_THREAD;
    int64_t most = threads == 1 ? 1 : threads * each;
    return worth > (double)most ? most : max64((int64_t)worth, 1);
}

/* Blocks of rows as high as L2 lets them be, so that b streams by few times; columns are cut until there are
 * tasks enough, then rows once more. */
static void cut_tasks(const struct pe_gemm_problem *g, struct pe_gemm_plan *plan, int lanes, int threads) {
    int64_t panels = parts(g->n, plan->nr * plan->abreast), most = most_rows(plan->kc);
    int64_t goal = wanted_tasks(g, lanes, threads), fewest = reads_far_columns(g) ? WIDE_ROWS : LEAST_ROWS;
    if (g->windows && plan->own_c && plan->kc < g->k) most = min64(most, most_rows(min64(g->n, COLUMNS_A_CUT)));
    int64_t blocks = streams_far_b(g) ? 1 : parts(g->m, most);
    blocks = max64(blocks, reads_far_columns(g) ? min64(goal, parts(g->m, fewest))
                                                : min64(parts(goal, panels), parts(g->m, fewest)));
    plan->rows = equal_part(g->m, parts(g->m, blocks), 1);
    plan->blocks = blocks = parts(g->m, plan->rows);
    int64_t least = g->windows ? parts(g->n, COLUMNS_A_CUT) : 1;
    int64_t cuts = max64(min64(panels, parts(goal, blocks)), least);
    int many = blocks >= MANY_BLOCKS;
    plan->cuts[0] = many ? least : cuts;
    plan->cuts[1] = many && threads > 1 ? max64(min64(panels, 4), least) : plan->cuts[0];
    plan->tasks = blocks / 2 * plan->cuts[0] + (blocks - blocks / 2) * plan->cuts[1];
}

/* Columns of the widest task, in whole panels. */
static int64_t widest_cut(const struct pe_gemm_problem *g, const struct pe_gemm_plan *plan) {
    int64_t unit = plan->nr * plan->abreast;
    return parts(parts(g->n, unit), min64(plan->cuts[0], plan->cuts[1])) * unit;
}

/* One row against a pack: as many panels side by side as leave six tasks. */
static int panels_abreast(const struct pe_gemm_problem *g, const struct pe_gemm_plan *plan,
                          const struct pe_gemm_kernels *kernels, int lanes) {
    int whole = plan->nr == kernels->vectors * lanes;
    if (g->m > 1 || plan->b != PE_GEMM_GIVEN || !plan->panels_first || plan->own_c || !whole)
        return 1;
    return (int)max64(min64(g->n / plan->nr / 6, PE_GEMM_ABREAST), 1);
}

static void plan_tiles(const struct pe_gemm_problem *g, struct pe_gemm_plan *plan,
                       const struct pe_gemm_kernels *kernels, int lanes, int threads) {
    int widest = (int)min64(kernels->vectors, parts(g->n, lanes));
    plan->nr = widest * lanes;
    plan->copy_a = wants_copied_a(g);
    if (!g->packed && wants_packed_b(g, lanes)) /* one block of rows uses a panel once: then its task packs it */
        plan->b = !g->windows && !g->one_thread && g->m > most_rows(min64(g->k, DEEPEST)) ? PE_GEMM_SHARED
                                                                                          : PE_GEMM_OWN;
    if (streams_far_b(g) && g->b_j == 1 && g->n % lanes == 0) plan->b = PE_GEMM_IN_PLACE;
    if (g->packed) plan->b = PE_GEMM_GIVEN;
    if (g->b_half) plan->b = PE_GEMM_WIDENED;
    plan->own_c = g->c_j != 1 || g->grid;
    plan->copy_a &= !plan->own_c || g->windows || g->a_half || (g->a_i != 1 && g->a_p != 1);
    plan->panels_first = (plan->own_c && !g->windows) || (g->m <= PE_GEMM_FEW_ROWS && !plan->copy_a);
    plan->abreast = panels_abreast(g, plan, kernels, lanes);
    plan->kc = block_depth(g, plan, kernels->rows[widest - 1]);
    cut_tasks(g, plan, lanes, threads);
    plan->fetch_b = comes_from_afar(g->k, g->n) || (g->m >= LEAST_ROWS && may_come_from_afar(g->k, g->n));
    plan->fetch_a = !plan->fetch_b && !plan->copy_a && g->a_p == 1 && g->m > 1 && comes_from_afar(g->m, g->k);
    plan->own_panels = plan->own_c && !plan->panels_first && plan->kc < g->k;
    if (plan->own_c) plan->c_floats = (size_t)(plan->rows * (plan->own_panels ? widest_cut(g, plan) : plan->nr));
    if (plan->copy_a) plan->a_floats = (size_t)(parts(plan->rows, 16) * 16 * plan->kc);
    if (makes_own_b(plan)) plan->b_floats = (size_t)(plan->nr * plan->kc);
    if (plan->b == PE_GEMM_WIDENED && !g->packed) plan->wide_floats = (size_t)(plan->nr * plan->kc);
    if (plan->b == PE_GEMM_SHARED) plan->shared_floats = (size_t)(parts(g->n, lanes) * lanes * g->k);
}

void pe_gemm_make_plan(const struct pe_kernels *kernels, int threads, int64_t products, struct pe_gemm_problem *g,
                       struct pe_gemm_plan *plan) {
    int lanes = kernels->vector_floats;
    settle_strides(g);
    if (products >= threads * TASKS_A_THREAD && fits_l2(g)) g->one_thread = 1;
    if (g->one_thread) threads = 1;
    struct pe_gemm_problem other = exchanged(g);
    double fmas = cost(g, lanes), fmas_other = cost(&other, lanes);
    int exchange = fmas_other < fmas && !streams_far_b(g) && !g->packed && !g->windows && !g->grid;
    if (exchange) *g = other;
    *plan = (struct pe_gemm_plan){ .path = PE_GEMM_TILES, .exchanged = exchange, .tasks = 1,
                                   .nanoseconds = nanoseconds(g, exchange ? fmas_other : fmas) };
    if (g->m == 1 && g->b_j == 1 && g->c_j == 1 && !g->packed && !g->residual && !g->a_half &&
        !g->b_half && !g->windows && !g->grid) {
        plan->path = PE_GEMM_ROW;
        plan->nr = equal_part(g->n, max64(256, 65536 / max64(g->k, 1)), 64);
        plan->tasks = parts(g->n, plan->nr);
    } else {
        plan_tiles(g, plan, &kernels->gemm, lanes, threads);
    }
}
