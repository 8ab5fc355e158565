/* pe_gemm: runs the plan's tasks over the pool. Every path runs each chain over k in order, so the
 * bits of c depend on a, b and the bias alone: not on threads, blocks, strides or the batch. */
#include "gemm_plan.h"

#include <string.h>

#define SMALL_SCRATCH 4096 /* floats: products up to about 32^3 pack on the stack */

struct run {
    pe_context *ctx;
    const struct pe_gemm_kernels *kernels;
    pe_loop *activation; /* or NULL */
    struct pe_gemm_problem g;
    struct pe_gemm_plan plan;
    int threads;
    float *packed_a, *packed_b;
    /* the block at work: rows i0.., columns j0.., steps p0.. */
    int64_t i0, i1, j0, j1, p0, p1;
    int64_t packs_a; /* panels of a to pack in this block */
};

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t parts(int64_t n, int64_t size) { return n / size + (n % size != 0); }

static void for_ranges(const struct run *r, int64_t count, int64_t grain, pe_range_body *body) {
    if (r->threads == 1 || count <= grain) body(0, count, (void *)r);
    else pe_parallel_for(r->ctx, count, grain, r->threads, body, (void *)r);
}

/* bias and activation over a finished tile or row; lanes that are dropped later take part. */
static void finish(const struct run *r, float *tile, int64_t i, int64_t j, int64_t rows, int64_t columns,
                   size_t floats) {
    const struct pe_gemm_problem *g = &r->g;
    if (g->bias)
        r->kernels->add_bias(tile, g->bias + i * g->bias_i + j * g->bias_j, g->bias_i, g->bias_j,
                             (size_t)rows, (size_t)columns);
    if (r->activation) {
        const void *in[1] = { tile };
        const ptrdiff_t step[1] = { 1 };
        r->activation(tile, in, step, floats);
    }
}

/* rows x columns of c from row i, column j, for the steps p0 .. p1, with a and b where t says. The tile
 * writes c itself when it may; else a copy of c's part on the stack, cut and turned on its way back. */
static void run_tile(const struct run *r, struct pe_gemm_tile *t, int64_t i, int64_t j, int64_t rows,
                     int64_t columns, int64_t p0, int64_t p1) {
    const struct pe_gemm_kernels *kernels = r->kernels;
    const struct pe_gemm_problem *g = &r->g;
    int nr = kernels->nr, lanes = nr / 2, last = p1 == g->k;
    float *c = g->c + i * g->c_i + j * g->c_j;
    t->k = (size_t)(p1 - p0);
    t->vectors = columns > lanes ? 2 : 1;
    t->from_c = p0 > 0 || g->accumulate;
    if (g->c_j == 1 && columns == t->vectors * lanes && !(last && (g->bias || r->activation))) {
        t->c = c;
        t->c_row = g->c_i;
        kernels->tile[rows - 1](t);
        return;
    }
    float buffer[PE_GEMM_MAX_ROWS * PE_GEMM_MAX_COLUMNS] __attribute__((aligned(64)));
    if (t->from_c) {
        if (columns < nr) memset(buffer, 0, sizeof buffer);
        kernels->copy(buffer, nr, c, g->c_i, g->c_j, (size_t)rows, (size_t)columns);
    } else if (t->vectors == 1) {
        memset(buffer, 0, sizeof buffer);
    }
    t->c = buffer;
    t->c_row = nr;
    kernels->tile[rows - 1](t);
    if (last) finish(r, buffer, i, j, rows, columns, (size_t)(rows * nr));
    if (g->c_i == 1 && g->c_j != 1) kernels->copy(c, g->c_j, buffer, 1, nr, (size_t)columns, (size_t)rows);
    else if (g->c_j == 1) kernels->copy(c, g->c_i, buffer, nr, 1, (size_t)rows, (size_t)columns);
    else
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < columns; x++) c[y * g->c_i + x * g->c_j] = buffer[y * nr + x];
}

static void row_body(int64_t begin, int64_t end, void *arg) {
    const struct run *r = arg;
    const struct pe_gemm_problem *g = &r->g;
    float *y = g->c + begin;
    r->kernels->row(y, (size_t)(end - begin), g->a, g->a_p, g->b + begin, g->b_p, (size_t)g->k,
                    g->accumulate);
    finish(r, y, 0, begin, 1, end - begin, (size_t)(end - begin));
}

static void strips_body(int64_t begin, int64_t end, void *arg) {
    const struct run *r = arg;
    const struct pe_gemm_problem *g = &r->g;
    int64_t nr = r->kernels->nr;
    float panel[(PE_GEMM_STRIP_DEPTH + 1) * PE_GEMM_MAX_COLUMNS] __attribute__((aligned(64)));
    for (int64_t j = begin; j < end; j += nr) {
        int64_t columns = min64(nr, end - j), p0 = 0;
        do {
            int64_t p1 = min64(p0 + PE_GEMM_STRIP_DEPTH, g->k);
            r->kernels->pack(panel, (size_t)nr, g->b + p0 * g->b_p + j * g->b_j, g->b_p, g->b_j,
                             (size_t)(p1 - p0), (size_t)columns);
            struct pe_gemm_tile t = { .a = g->a + p0 * g->a_p, .a_row = g->a_i, .a_k = g->a_p, .b = panel,
                                      .b_k = nr };
            run_tile(r, &t, 0, j, g->m, columns, p0, p1);
            p0 = p1;
        } while (p0 < g->k);
    }
}

/* Panels of a first, then panels of b, of the block at work. */
static void pack_body(int64_t begin, int64_t end, void *arg) {
    const struct run *r = arg;
    const struct pe_gemm_problem *g = &r->g;
    int64_t mr = r->kernels->mr, nr = r->kernels->nr, kc = r->p1 - r->p0;
    int64_t skipped = r->plan.first_packed > r->j0 / nr ? r->plan.first_packed - r->j0 / nr : 0;
    for (int64_t x = begin; x < end; x++) {
        if (x < r->packs_a) {
            int64_t i = r->i0 + x * mr;
            r->kernels->pack(r->packed_a + x * mr * kc, (size_t)mr, g->a + i * g->a_i + r->p0 * g->a_p,
                             g->a_p, g->a_i, (size_t)kc, (size_t)min64(mr, r->i1 - i));
        } else {
            int64_t panel = x - r->packs_a, j = r->j0 + (panel + skipped) * nr;
            r->kernels->pack(r->packed_b + panel * nr * kc, (size_t)nr, g->b + r->p0 * g->b_p + j * g->b_j,
                             g->b_p, g->b_j, (size_t)kc, (size_t)min64(nr, r->j1 - j));
        }
    }
}

/* One task: task_m rows by task_n columns of the block at work. A panel of b stays in L1 while the
 * panels of a pass by; when there are few panels of b, each panel of a (read in place) meets them in turn. */
static void task_body(int64_t begin, int64_t end, void *arg) {
    const struct run *r = arg;
    const struct pe_gemm_problem *g = &r->g;
    int64_t mr = r->kernels->mr, nr = r->kernels->nr, kc = r->p1 - r->p0;
    int64_t across = parts(r->j1 - r->j0, r->plan.task_n);
    int64_t skipped = r->plan.first_packed > r->j0 / nr ? r->plan.first_packed - r->j0 / nr : 0;
    for (int64_t task = begin; task < end; task++) {
        int64_t i0 = r->i0 + task / across * r->plan.task_m, j0 = r->j0 + task % across * r->plan.task_n;
        int64_t i1 = min64(i0 + r->plan.task_m, r->i1), j1 = min64(j0 + r->plan.task_n, r->j1);
        for (int64_t j = j0; j < j1; j += nr) {
            int64_t panel = (j - r->j0) / nr;
            for (int64_t i = i0; i < i1; i += mr) {
                struct pe_gemm_tile t;
                if (r->plan.pack_a) {
                    t.a = r->packed_a + (i - r->i0) * kc;
                    t.a_row = 1;
                    t.a_k = mr;
                } else {
                    t.a = g->a + i * g->a_i + r->p0 * g->a_p;
                    t.a_row = g->a_i;
                    t.a_k = g->a_p;
                }
                int packed = panel >= skipped;
                t.b = packed ? r->packed_b + (panel - skipped) * nr * kc : g->b + r->p0 * g->b_p + j * g->b_j;
                t.b_k = packed ? nr : g->b_p;
                run_tile(r, &t, i, j, min64(mr, i1 - i), min64(nr, j1 - j), r->p0, r->p1);
            }
        }
    }
}

static void run_blocks(struct run *r) {
    const struct pe_gemm_problem *g = &r->g;
    const struct pe_gemm_plan *plan = &r->plan;
    int64_t mr = r->kernels->mr, nr = r->kernels->nr;
    for (r->j0 = 0; r->j0 < g->n; r->j0 = r->j1) {
        r->j1 = min64(r->j0 + plan->super_n, g->n);
        r->p0 = 0;
        do {
            r->p1 = min64(r->p0 + plan->kc, g->k);
            int64_t first = plan->first_packed * nr > r->j0 ? plan->first_packed * nr : r->j0;
            int64_t packs_b = r->j1 > first ? parts(r->j1 - first, nr) : 0;
            for (r->i0 = 0; r->i0 < g->m; r->i0 = r->i1) {
                r->i1 = min64(r->i0 + plan->super_m, g->m);
                r->packs_a = plan->pack_a ? parts(r->i1 - r->i0, mr) : 0;
                if (r->packs_a + packs_b > 0) {
                    int64_t grain = 1 + 16384 / ((r->p1 - r->p0 + 1) * nr);
                    for_ranges(r, r->packs_a + packs_b, grain, pack_body);
                }
                for_ranges(r, parts(r->i1 - r->i0, plan->task_m) * parts(r->j1 - r->j0, plan->task_n), 1,
                           task_body);
                packs_b = 0; /* packed by the first block of rows */
            }
            r->p0 = r->p1;
        } while (r->p0 < g->k);
    }
}

/* One product; scratch holds the plan's a_floats and b_floats. */
static void run_product(struct run *r, float *scratch) {
    if (r->plan.path == PE_GEMM_ROW) {
        for_ranges(r, r->g.n, r->plan.task_n, row_body);
    } else if (r->plan.path == PE_GEMM_STRIPS) {
        for_ranges(r, r->g.n, r->plan.task_n, strips_body);
    } else {
        r->packed_b = scratch;
        r->packed_a = scratch + r->plan.b_floats;
        run_blocks(r);
    }
}

struct batch_run {
    const struct run *all;
    const struct pe_gemm_batch *batch;
    size_t floats;
    int failed;
};

static void batch_body(int64_t begin, int64_t end, void *arg) {
    struct batch_run *br = arg;
    float small[SMALL_SCRATCH] __attribute__((aligned(64))), *scratch = small;
    if (br->floats > SMALL_SCRATCH) scratch = pe_alloc(br->all->ctx, br->floats * sizeof(float));
    if (!scratch) {
        __atomic_store_n(&br->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t x = begin; x < end; x++) {
        struct run r = *br->all;
        int64_t rest = x;
        for (int d = br->batch->axes - 1; d >= 0; d--) {
            int64_t at = rest % br->batch->size[d];
            rest /= br->batch->size[d];
            r.g.a += at * (br->all->plan.exchanged ? br->batch->b[d] : br->batch->a[d]);
            r.g.b += at * (br->all->plan.exchanged ? br->batch->a[d] : br->batch->b[d]);
            r.g.c += at * br->batch->c[d];
        }
        run_product(&r, scratch);
    }
    if (scratch != small) pe_free(br->all->ctx, scratch);
}

pe_status pe_gemm(pe_context *ctx, const pe_gemm_args *args, pe_error *err) {
    struct run r = { .ctx = ctx };
    struct pe_gemm_batch batch;
    pe_status status = pe_gemm_check(args, &r.g, &batch, err);
    if (status) return status;
    if (r.g.m == 0 || r.g.n == 0 || batch.count == 0) return PE_OK;

    pe_gemm_make_plan(ctx->kernels, &r.g, &r.plan);
    r.kernels = &ctx->kernels->gemm;
    if (r.g.activation != PE_NO_ACTIVATION) r.activation = ctx->kernels->elementwise.loop[r.g.activation];
    size_t floats = r.plan.a_floats + r.plan.b_floats;
    struct batch_run br = { .all = &r, .batch = &batch, .floats = floats };
    int threads = pe_threads_for(ctx, r.plan.nanoseconds * (double)batch.count);
    /* Many products, or small ones, are shared out whole; few and large ones are cut. */
    if (threads > 1 && batch.count > 1 && (batch.count >= 16 || r.plan.nanoseconds < 5e4)) {
        int64_t grain = 1 + (int64_t)(1e4 / (r.plan.nanoseconds + 1));
        r.threads = 1;
        pe_parallel_for(ctx, batch.count, grain, threads, batch_body, &br);
    } else {
        r.threads = threads;
        batch_body(0, batch.count, &br);
    }
    if (br.failed)
        return pe_fail(err, PE_ERR_MEMORY, -1, "gemm: no memory for %zu bytes of packing", floats * 4);
    return PE_OK;
}
