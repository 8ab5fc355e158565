/* The product of two matrices of bfloat16 by dot.c's tiles. Every sum goes over k in one order that the instruction
 * fixes (kernels/half.h), whatever the threads, blocks, packing, batch and the other rows: so do the bits. */
#include "half.h"
#include "dot.h"
#include "sizes.h"

#include <string.h>

struct product {
    pe_context *ctx;
    struct pe_gemm_problem g;
    struct pe_dot_run run;
    int past_caches;
};

/* What an accumulating product starts at; lanes that are dropped later too. */
static void start(const void *who, const struct pe_dot_rows *r) {
    const struct product *p = who;
    const struct pe_gemm_problem *g = &p->g;
    float *tile = (float *)(void *)r->from;
    memset(tile, 0, (size_t)(r->rows * r->from_row) * sizeof *tile);
    p->ctx->kernels->gemm.copy(tile, r->from_row, g->c + r->i * g->c_i + r->j * g->c_j, g->c_i, g->c_j, (size_t)r->rows,
                               (size_t)r->columns);
}

/* act(scale * tile + bias) + residual; lanes that are dropped later take part. */
static void finish(const struct product *p, float *tile, const struct pe_dot_rows *r) {
    const struct pe_gemm_problem *g = &p->g;
    const struct pe_gemm_kernels *kernels = &p->ctx->kernels->gemm;
    size_t floats = (size_t)(r->rows * r->from_row), rows = (size_t)r->rows, columns = (size_t)r->columns;
    if (g->scale) kernels->scale(tile, floats, *g->scale);
    if (g->bias) kernels->add(tile, r->from_row, g->bias + r->j * g->bias_j, 0, g->bias_j, rows, columns);
    if (g->activation) {
        const void *in[1] = { tile };
        const ptrdiff_t step[1] = { 1 };
        g->activation(tile, in, step, floats);
    }
    if (g->residual)
        kernels->add(tile, r->from_row, g->residual + r->i * g->residual_i + r->j * g->residual_j, g->residual_i,
                     g->residual_j, rows, columns);
}

static void write_half(const struct product *p, const float *tile, const struct pe_dot_rows *r) {
    const struct pe_gemm_problem *g = &p->g;
    const struct pe_half_kernels *kernels = &p->ctx->kernels->half;
    uint16_t *to = (uint16_t *)(void *)g->c + r->i * g->c_i + r->j * g->c_j, line[PE_DOT_MAX_COLUMNS];
    size_t rows = (size_t)r->rows, columns = (size_t)r->columns;
    if (g->c_j == 1 && p->past_caches && columns % 32 == 0 && (uintptr_t)to % 64 == 0 && g->c_i % 32 == 0)
        kernels->stream_narrow(to, g->c_i, tile, r->from_row, rows, columns);
    else if (g->c_j == 1) kernels->narrow(to, g->c_i, tile, r->from_row, rows, columns);
    else
        for (int64_t y = 0; y < r->rows; y++) {
            kernels->narrow(line, 0, tile + y * r->from_row, 0, 1, columns);
            for (int64_t x = 0; x < r->columns; x++) to[y * g->c_i + x * g->c_j] = line[x];
        }
}

static void take(const void *who, const struct pe_dot_rows *r) {
    const struct product *p = who;
    const struct pe_gemm_problem *g = &p->g;
    float *tile = (float *)(void *)r->from;
    finish(p, tile, r);
    if (g->c_half) write_half(p, tile, r);
    else if (g->c_j == 1)
        p->ctx->kernels->gemm.copy(g->c + r->i * g->c_i + r->j, g->c_i, tile, r->from_row, 1, (size_t)r->rows,
                                   (size_t)r->columns);
    else
        for (int64_t y = 0; y < r->rows; y++)
            for (int64_t x = 0; x < r->columns; x++)
                g->c[(r->i + y) * g->c_i + (r->j + x) * g->c_j] = tile[y * r->from_row + x];
}

static size_t line_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* One product: what is not ready for the tile is packed first, by all threads. 0: no memory. */
static int run_one(pe_context *ctx, const struct pe_gemm_problem *g) {
    const struct pe_dot_kernels *tile = &ctx->kernels->half.dot;
    struct product p = { .ctx = ctx, .g = *g };
    struct pe_half_rows rows = pe_half_rows_of(ctx, g);
    size_t b_bytes = g->packed ? 0 : (size_t)pe_half_pack_bytes(ctx, g->k, g->n), a_bytes = line_up(rows.bytes);
    uint8_t *memory = pe_alloc(ctx, a_bytes + b_bytes + 64);
    int done = memory != NULL;
    if (done && rows.bytes) {
        int threads = pe_threads_for(ctx, (double)g->m * (double)g->k * 0.1);
        done = pe_half_pack_a(ctx, g, memory, rows.a_row, threads);
        rows.a = memory;
    }
    if (done && !g->packed)
        pe_half_pack_b(ctx, g, (uint16_t *)(void *)(memory + a_bytes),
                       pe_threads_for(ctx, (double)g->n * (double)g->k * 0.1));
    if (done) {
        p.run = (struct pe_dot_run){
            .ctx = ctx, .kernels = tile, .m = g->m, .n = g->n, .groups = parts(g->k, 2), .a = rows.a,
            .a_row = rows.a_row, .panels = g->packed ? g->packed : (const int8_t *)memory + a_bytes,
            .panel_bytes = pe_dot_panel_bytes(tile, parts(g->k, 2)), .start = g->accumulate ? start : NULL,
            .take = take, .who = &p,
        };
        p.past_caches = pe_dot_past_caches(&p.run, (size_t)g->m * (size_t)g->n * 2);
        pe_dot_run(&p.run);
    }
    pe_free(ctx, memory);
    return done;
}

struct batch_run {
    pe_context *ctx;
    const struct pe_gemm_problem *g;
    const struct pe_gemm_batch *batch;
    int failed;
};

static struct pe_gemm_problem product_of(const struct batch_run *b, int64_t x) {
    const struct pe_gemm_batch *batch = b->batch;
    struct pe_gemm_problem g = *b->g;
    for (int d = batch->axes - 1; d >= 0; d--) {
        int64_t at = x % batch->size[d];
        x /= batch->size[d];
        g.a = pe_gemm_at(g.a, at * batch->a[d], 1);
        g.b = pe_gemm_at(g.b, at * batch->b[d], 1);
        g.c = (float *)pe_gemm_at(g.c, at * batch->c[d], g.c_half);
        if (g.residual) g.residual += at * batch->residual[d];
    }
    return g;
}

static void batch_body(int64_t begin, int64_t end, void *arg) {
    struct batch_run *b = arg;
    for (int64_t x = begin; x < end; x++) {
        const struct pe_gemm_problem g = product_of(b, x);
        if (!run_one(b->ctx, &g)) __atomic_store_n(&b->failed, 1, __ATOMIC_RELAXED);
    }
}

pe_status pe_half_run_batch(pe_context *ctx, const struct pe_gemm_problem *problem, const struct pe_gemm_batch *batch,
                            pe_error *err) {
    struct pe_gemm_problem g = *problem;
    struct batch_run b = { .ctx = ctx, .g = &g, .batch = batch };
    if (g.m == 0 || g.n == 0 || batch->count == 0) return PE_OK;
    /* the stride of an axis of one element is never used: let it be the convenient one */
    if (g.m == 1) g.a_i = g.c_i = 1;
    if (g.n == 1) g.b_j = g.c_j = 1;
    if (g.k == 1) g.a_p = g.b_p = 1;
    if (batch->count >= 2 * pe_get_num_threads(ctx)) { /* products are tasks enough, each runs on one thread */
        double all = (double)g.m * (double)g.n * (double)g.k * (double)batch->count / 600;
        pe_parallel_for(ctx, batch->count, 1, pe_threads_for(ctx, all), batch_body, &b);
    } else
        for (int64_t x = 0; x < batch->count; x++) batch_body(x, x + 1, &b);
    if (b.failed)
        return pe_fail(err, PE_ERR_MEMORY, -1, "gemm: no memory to pack (%lld, %lld) and (%lld, %lld)", (long long)g.m,
                       (long long)g.k, (long long)g.k, (long long)g.n);
    return PE_OK;
}
