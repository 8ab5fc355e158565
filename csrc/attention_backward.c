/* pe_attention_backward: weights are computed again block by block, from the kept logarithm of their sum (Dao 2023).
 * A task takes every `parts`-th panel of queries of the heads that share keys, in order, and walks the blocks of keys:
 * its part of dk and dv grows in place, its dq panel by panel. How many parts there are follows from the shape alone,
 * and they are added up in order. */
#include "attention.h"
#include "sizes.h"

#include <math.h>
#include <string.h>

#define FMA_NS 0.04     /* of one multiply-add of the scores on AVX2, with what follows from it */
#define ENOUGH_TASKS 16 /* to even out their sizes */
#define MOST_PARTS 4    /* each holds a dk and a dv */
#define PART_PANELS 4   /* fewer are not worth one */

struct run {
    pe_context *ctx;
    struct pe_attention_problem p;
    const float *g;
    float *dq, *dk, *dv;
    int64_t g_b, g_h, g_i, dq_b, dq_h, dq_i, dk_b, dk_h, dk_j, dv_b, dv_h, dv_j;
    int64_t lanes, panels;                /* of a panel, of a unit of queries */
    int64_t unit_rows, together;          /* as in attention.c */
    int64_t kv_heads, parts;
    int64_t depth, width;                 /* of q and v, whole vectors */
    int64_t panel_floats, task_floats;
    float *spare;                         /* dk and dv of the parts behind the first */
    int failed;
};

/* One task's memory and place. */
struct task {
    const struct run *r;
    int64_t b, kv_head;
    const float *k, *v;
    float *dk, *dv;
    int64_t dk_j, dv_j;
    float *panel, *ds, *g_lanes, *q_rows, *g_rows, *dq, *lse, *delta, *block;
};

static void clear(float *rows, int64_t step, int64_t count, int64_t n) {
    for (int64_t j = 0; j < count; j++) memset(rows + j * step, 0, (size_t)n * sizeof *rows);
}

static struct task open_task(const struct run *r, int64_t x, float *memory) {
    const struct pe_attention_problem *p = &r->p;
    int64_t unit = x / r->parts, part = x % r->parts;
    struct task t = { .r = r, .b = unit / r->kv_heads, .kv_head = unit % r->kv_heads, .panel = memory };
    t.k = p->k + t.b * p->k_b + t.kv_head * p->k_h;
    t.v = p->v + t.b * p->v_b + t.kv_head * p->v_h;
    t.dk = r->dk + t.b * r->dk_b + t.kv_head * r->dk_h, t.dk_j = r->dk_j;
    t.dv = r->dv + t.b * r->dv_b + t.kv_head * r->dv_h, t.dv_j = r->dv_j;
    if (part) {
        t.dk = r->spare + (unit * (r->parts - 1) + part - 1) * p->keys * (p->depth + p->width);
        t.dv = t.dk + p->keys * p->depth;
        t.dk_j = p->depth, t.dv_j = p->width;
    }
    t.ds = memory + r->panel_floats;
    t.g_lanes = t.ds + PE_ATTENTION_KEYS * r->lanes;
    t.dq = t.g_lanes + p->width * r->lanes;
    t.q_rows = t.dq + p->depth * r->lanes;
    t.g_rows = t.q_rows + r->depth * r->lanes;
    t.lse = t.g_rows + r->width * r->lanes;
    t.delta = t.lse + r->lanes;
    t.block = t.delta + r->lanes;
    clear(t.dk, t.dk_j, p->keys, p->depth);
    clear(t.dv, t.dv_j, p->keys, p->width);
    return t;
}

/* What a panel needs beside its queries: the gradient in both directions, its queries as rows, lse and delta. */
static void open_rows(const struct task *t, const struct pe_attention_panel *panel) {
    const struct run *r = t->r;
    const struct pe_attention_problem *p = &r->p;
    const struct pe_kernels *kernels = panel->kernels;
    pe_attention_pack(panel, t->g_lanes, r->g, r->g_b, r->g_h, r->g_i, p->width);
    memset(t->lse, 0, panel->lanes * sizeof *t->lse), memset(t->delta, 0, panel->lanes * sizeof *t->delta);
    for (int64_t x = 0, run, head, query; x < panel->rows; x += run) {
        run = pe_attention_run(panel, x, &head, &query);
        const float *q = p->q + t->b * p->q_b + head * p->q_h + query * p->q_i;
        const float *g = r->g + t->b * r->g_b + head * r->g_h + query * r->g_i;
        const float *out = p->out + t->b * p->out_b + head * p->out_h + query * p->out_i;
        kernels->gemm.pack(t->q_rows + x * r->depth, (size_t)r->depth, q, p->q_i, 1, (size_t)run, (size_t)p->depth);
        kernels->gemm.pack(t->g_rows + x * r->width, (size_t)r->width, g, r->g_i, 1, (size_t)run, (size_t)p->width);
        kernels->attention.dots(t->delta + x, g, r->g_i, out, p->out_i, (size_t)run, (size_t)p->width);
        const float *lse = p->lse + (t->b * p->heads + head) * p->queries + query;
        for (int64_t y = 0; y < run; y++) t->lse[x + y] = (float)(lse[y] * PE_LOG2_E);
    }
    kernels->gemm.scale(t->q_rows, (size_t)(panel->rows * r->depth), p->scale);
    memset(t->dq, 0, (size_t)p->depth * panel->lanes * sizeof *t->dq);
}

/* c[j] += sum over the panel's rows x of weights[j*lanes + x] rows[x], for the block's keys; c has n columns, rows are
 * `wide` apart. */
static void spread(const struct task *t, const struct pe_attention_panel *panel, float *c, int64_t c_j, int64_t n,
                   const float *weights, const float *rows, int64_t wide, int64_t first, int64_t keys) {
    const struct pe_gemm_kernels *gemm = &panel->kernels->gemm;
    float *to = n == wide ? c : t->block;
    int64_t step = n == wide ? c_j : wide;
    if (n != wide) gemm->pack(to, (size_t)wide, c, c_j, 1, (size_t)keys, (size_t)n);
    pe_attention_spread(panel, to, step, wide, weights, rows, first, keys);
    if (n != wide) gemm->copy(c, c_j, to, step, 1, (size_t)keys, (size_t)n);
}

static void run_panel(const struct task *t, struct pe_attention_unit unit, int64_t row, int64_t rows) {
    const struct run *r = t->r;
    const struct pe_attention_problem *p = &r->p;
    struct pe_attention_panel panel;
    pe_attention_open(&panel, p, r->ctx->kernels, unit, row, rows, t->panel);
    open_rows(t, &panel);
    for (int64_t j = panel.first / PE_ATTENTION_KEYS * PE_ATTENTION_KEYS; j < panel.last; j += PE_ATTENTION_KEYS) {
        int64_t keys = min64(PE_ATTENTION_KEYS, p->keys - j);
        if (!pe_attention_begin(&panel, j, keys)) continue;
        pe_attention_scores(&panel, panel.s, t->k + j * p->k_j, p->k_j, panel.q, p->depth, j, keys);
        pe_attention_scores(&panel, t->ds, t->v + j * p->v_j, p->v_j, t->g_lanes, p->width, j, keys);
        struct pe_attention_block block = pe_attention_block(&panel, j, keys);
        panel.kernels->attention.harden(&block, t->ds, t->lse, t->delta);
        spread(t, &panel, t->dv + j * t->dv_j, t->dv_j, p->width, panel.s, t->g_rows, r->width, j, keys);
        spread(t, &panel, t->dk + j * t->dk_j, t->dk_j, p->depth, t->ds, t->q_rows, r->depth, j, keys);
        pe_attention_gather(&panel, t->dq, p->depth, t->k + j * p->k_j, p->k_j, t->ds, j, keys);
    }
    panel.kernels->gemm.scale(t->dq, (size_t)p->depth * panel.lanes, p->scale);
    pe_attention_unpack(&panel, r->dq, r->dq_b, r->dq_h, r->dq_i, t->dq, p->depth);
}

static void tasks_body(int64_t begin, int64_t end, void *arg) {
    struct run *r = arg;
    float *memory = pe_alloc(r->ctx, (size_t)r->task_floats * sizeof *memory);
    if (!memory) {
        __atomic_store_n(&r->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t x = begin; x < end; x++) {
        struct task t = open_task(r, x, memory);
        for (int64_t y = x % r->parts; y < r->p.group / r->together * r->panels; y += r->parts) {
            struct pe_attention_unit unit = { .b = t.b, .head = t.kv_head * r->p.group + y / r->panels * r->together,
                                              .rows = r->unit_rows };
            int64_t row = y % r->panels * r->lanes;
            run_panel(&t, unit, row, min64(r->lanes, unit.rows - row));
        }
    }
    pe_free(r->ctx, memory);
}

/* dk and dv of the parts behind the first onto those of the first. */
static void merge_body(int64_t begin, int64_t end, void *arg) {
    const struct run *r = arg;
    const struct pe_attention_problem *p = &r->p;
    const struct pe_gemm_kernels *gemm = &r->ctx->kernels->gemm;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t b = unit / r->kv_heads, head = unit % r->kv_heads;
        for (int64_t part = 1; part < r->parts; part++) {
            const float *from = r->spare + (unit * (r->parts - 1) + part - 1) * p->keys * (p->depth + p->width);
            gemm->add(r->dk + b * r->dk_b + head * r->dk_h, r->dk_j, from, p->depth, 1, (size_t)p->keys,
                      (size_t)p->depth);
            gemm->add(r->dv + b * r->dv_b + head * r->dv_h, r->dv_j, from + p->keys * p->depth, p->width, 1,
                      (size_t)p->keys, (size_t)p->width);
        }
    }
}

/* How the work is cut, by the shape alone. */
static void plan(struct run *r) {
    const struct pe_attention_problem *p = &r->p;
    int vl = r->ctx->kernels->vector_floats;
    r->depth = parts(p->depth, vl) * vl, r->width = parts(p->width, vl) * vl;
    r->lanes = pe_attention_lanes(p, r->ctx->kernels, 3 * p->depth + 2 * p->width);
    r->together = pe_attention_together(p, r->lanes);
    r->unit_rows = p->queries * r->together;
    r->panels = parts(r->unit_rows, r->lanes);
    r->kv_heads = p->heads / p->group;
    int64_t wanted = parts(ENOUGH_TASKS, p->batch * r->kv_heads);
    int64_t worth = p->group / r->together * r->panels * r->lanes / (PART_PANELS * 64);
    r->parts = max64(min64(min64(wanted, MOST_PARTS), worth), 1);
    r->panel_floats = pe_attention_panel_floats(p, r->lanes);
    r->task_floats = r->panel_floats + r->lanes * (PE_ATTENTION_KEYS + p->width + p->depth + r->depth + r->width + 2) +
                     PE_ATTENTION_KEYS * max64(r->depth, r->width);
}

static pe_status run_all(struct run *r, pe_error *err) {
    const struct pe_attention_problem *p = &r->p;
    int64_t units = p->batch * r->kv_heads;
    int64_t spare = units * (r->parts - 1) * p->keys * (p->depth + p->width);
    if (spare && !(r->spare = pe_alloc(r->ctx, (size_t)spare * sizeof *r->spare)))
        return pe_fail(err, PE_ERR_MEMORY, -1, "attention_backward: no memory for %lld floats of partial sums",
                       (long long)spare);
    int threads = pe_threads_for(r->ctx, FMA_NS * pe_attention_fmas(p));
    pe_parallel_for(r->ctx, units * r->parts, 1, threads, tasks_body, r);
    if (spare && !r->failed) pe_parallel_for(r->ctx, units, 1, threads, merge_body, r);
    pe_free(r->ctx, r->spare);
    return r->failed ? pe_fail(err, PE_ERR_MEMORY, -1, "attention_backward: no memory for the panel of a task") : PE_OK;
}

pe_status pe_attention_backward(pe_context *ctx, const pe_attention_backward_args *args, pe_error *err) {
    struct run r = { .ctx = ctx };
    pe_status status = pe_attention_check_backward(args, &r.p, err);
    if (status) return status;
    const pe_tensor *g = args->g, *dq = args->dq, *dk = args->dk, *dv = args->dv;
    r.g = g->data, r.g_b = g->strides[0] / 4, r.g_h = g->strides[1] / 4, r.g_i = g->strides[2] / 4;
    r.dq = dq->data, r.dq_b = dq->strides[0] / 4, r.dq_h = dq->strides[1] / 4, r.dq_i = dq->strides[2] / 4;
    r.dk = dk->data, r.dk_b = dk->strides[0] / 4, r.dk_h = dk->strides[1] / 4, r.dk_j = dk->strides[2] / 4;
    r.dv = dv->data, r.dv_b = dv->strides[0] / 4, r.dv_h = dv->strides[1] / 4, r.dv_j = dv->strides[2] / 4;
    if (r.p.batch * r.p.heads == 0) return PE_OK;
    plan(&r);
    return run_all(&r, err);
}
