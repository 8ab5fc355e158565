/* pe_attention: online softmax over blocks of keys (Milakov & Gimelshein 2018; Dao et al. 2022). Tasks are blocks of
 * the queries of a head. */
#include "attention.h"
#include "sizes.h"

#include <math.h>
#include <string.h>

#define QUERIES 64        /* of a task */
#define FMA_NS 0.016      /* of one fused multiply-add of the products on AVX2, with its share of the rest */
#define LN_2 0.69314718055994531

struct run {
    pe_context *ctx;
    struct pe_attention_problem p;
    struct pe_attention_unit unit; /* what all units have in common */
    int64_t lanes;                 /* of a panel, at most */
    int64_t units, blocks;         /* blocks of QUERIES rows a unit */
    int64_t panel_floats, sum_floats;
    int failed;
};

static void find_units(struct run *r) {
    const struct pe_attention_problem *p = &r->p;
    int64_t together = pe_attention_together(p, r->lanes);
    r->unit.rows = p->queries * together;
    r->units = p->batch * (p->heads / together);
    r->blocks = parts(r->unit.rows, QUERIES);
}

static struct pe_attention_unit find_unit(const struct run *r, int64_t x) {
    int64_t together = r->unit.rows / r->p.queries, a_batch = r->p.heads / together;
    return (struct pe_attention_unit){ .b = x / a_batch, .head = x % a_batch * together, .rows = r->unit.rows };
}

/* o / sum to out, and the logarithm of the sum of exponentials; zeros and +infinity where no key was seen. */
static void finish(const struct pe_attention_panel *panel, float *o, float *max, float *sum) {
    const struct pe_attention_problem *p = panel->p;
    int64_t lanes = (int64_t)panel->lanes;
    for (int64_t x = 0; x < panel->rows && p->lse; x++) {
        int64_t r = panel->row + x, head = panel->unit.head + r / p->queries;
        p->lse[(panel->unit.b * p->heads + head) * p->queries + r % p->queries] =
            sum[x] == 0 ? INFINITY : (float)((max[x] + log2((double)sum[x])) * LN_2);
    }
    for (int64_t x = 0; x < lanes; x++) sum[x] = sum[x] == 0 ? 0 : 1 / sum[x];
    panel->kernels->attention.rescale(o, (size_t)p->width, panel->lanes, sum);
    pe_attention_unpack(panel, p->out, p->out_b, p->out_h, p->out_i, o, p->width);
}

static void run_panel(const struct run *r, struct pe_attention_unit unit, int64_t row, int64_t rows, float *memory) {
    const struct pe_attention_problem *p = &r->p;
    struct pe_attention_panel panel;
    pe_attention_open(&panel, p, r->ctx->kernels, unit, row, rows, memory);
    float *o = memory + r->panel_floats, *max = o + p->width * (int64_t)panel.lanes, *sum = max + panel.lanes,
          *factor = sum + panel.lanes;
    int64_t kv_head = unit.head / p->group;
    const float *k = p->k + unit.b * p->k_b + kv_head * p->k_h, *v = p->v + unit.b * p->v_b + kv_head * p->v_h;
    memset(o, 0, (size_t)p->width * panel.lanes * sizeof *o);
    for (size_t x = 0; x < panel.lanes; x++) max[x] = -INFINITY, sum[x] = 0;
    int fresh = 1;
    for (int64_t j = panel.first / PE_ATTENTION_KEYS * PE_ATTENTION_KEYS; j < panel.last; j += PE_ATTENTION_KEYS) {
        int64_t keys = min64(PE_ATTENTION_KEYS, p->keys - j);
        if (!pe_attention_begin(&panel, j, keys)) continue;
        pe_attention_scores(&panel, panel.s, k + j * p->k_j, p->k_j, panel.q, p->depth, j, keys);
        struct pe_attention_block block = pe_attention_block(&panel, j, keys);
        int moved = panel.kernels->attention.soften(&block, max, sum, factor);
        if (moved && !fresh) panel.kernels->attention.rescale(o, (size_t)p->width, panel.lanes, factor);
        pe_attention_gather(&panel, o, p->width, v + j * p->v_j, p->v_j, panel.s, j, keys);
        fresh = 0;
    }
    finish(&panel, o, max, sum);
}

/* Task x: the last blocks of queries first, as causal ones have most to do. */
static void tasks_body(int64_t begin, int64_t end, void *arg) {
    struct run *r = arg;
    float *memory = pe_alloc(r->ctx, (size_t)(r->panel_floats + r->sum_floats) * sizeof *memory);
    if (!memory) {
        __atomic_store_n(&r->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t x = begin; x < end; x++) {
        struct pe_attention_unit unit = find_unit(r, x / r->blocks);
        int64_t row = (r->blocks - 1 - x % r->blocks) * QUERIES, stop = min64(row + QUERIES, unit.rows);
        for (; row < stop; row += r->lanes) run_panel(r, unit, row, min64(r->lanes, stop - row), memory);
    }
    pe_free(r->ctx, memory);
}

pe_status pe_attention(pe_context *ctx, const pe_attention_args *args, pe_error *err) {
    struct run r = { .ctx = ctx };
    pe_status status = pe_attention_check(args, &r.p, err);
    const struct pe_attention_problem *p = &r.p;
    if (status || p->batch * p->heads * p->queries == 0 || p->width == 0) return status;
    r.lanes = pe_attention_lanes(p, ctx->kernels, p->depth + p->width);
    r.panel_floats = pe_attention_panel_floats(p, r.lanes);
    r.sum_floats = (p->width + 3) * r.lanes;
    find_units(&r);
    int threads = pe_threads_for(ctx, FMA_NS * pe_attention_fmas(p));
    pe_parallel_for(ctx, r.units * r.blocks, 1, threads, tasks_body, &r);
    if (r.failed) return pe_fail(err, PE_ERR_MEMORY, -1, "attention: no memory for the panel of a task");
    return PE_OK;
}
