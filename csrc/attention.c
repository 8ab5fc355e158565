/* pe_attention: online softmax over blocks of keys (Milakov & Gimelshein 2018; Dao et al. 2022). Tasks are blocks of
 * the queries of a head; where one block holds all queries of a head, parts of the keys, which are merged in order. */
#include "attention.h"
#include "sizes.h"

#include <math.h>
#include <string.h>

#define QUERIES 64   /* of a task */
#define FMA_NS 0.016 /* of one fused multiply-add of the products on AVX2, with its share of the rest */
#define BYTE_NS 0.04 /* of keys and values from memory, of one thread */
#define LN_2 0.69314718055994531

struct run {
    pe_context *ctx;
    struct pe_attention_problem p;
    int64_t rows, units;           /* of a unit, and how many */
    int64_t lanes;                 /* of a panel, at most */
    int64_t parts, blocks;         /* parts of the keys, where they are cut; they, or blocks of QUERIES rows a unit */
    int64_t panel_floats, floats;  /* of a panel's memory, of a task's */
    float *records;                /* (units, parts, rows, width + 2), where keys are cut into parts */
    int few;                       /* units are attention_decode.c's */
    int failed;
};

static struct pe_attention_unit find_unit(const struct run *r, int64_t x) {
    int64_t together = r->rows / r->p.queries, a_batch = r->p.heads / together;
    return (struct pe_attention_unit){ .b = x / a_batch, .head = x % a_batch * together, .rows = r->rows };
}

/* The logarithm of the sum of exponentials of the unit's row; max is one of base 2. */
static void note_lse(const struct pe_attention_problem *p, const struct pe_attention_unit *unit, int64_t row,
                     double max, float sum) {
    if (!p->lse) return;
    int64_t head = unit->head + row / p->queries;
    p->lse[(unit->b * p->heads + head) * p->queries + row % p->queries] =
        sum == 0 ? INFINITY : (float)((max + log2((double)sum)) * LN_2);
}

/* o / sum to out; zeros where no key was seen. */
static void finish(const struct pe_attention_panel *panel, float *o, const float *max, float *sum) {
    const struct pe_attention_problem *p = panel->p;
    for (int64_t x = 0; x < panel->rows; x++)
        note_lse(p, &panel->unit, panel->row + x, (double)max[x], sum[x]);
    for (size_t x = 0; x < panel->lanes; x++) sum[x] = sum[x] == 0 ? 0 : 1 / sum[x];
    panel->kernels->attention.rescale(o, (size_t)p->width, panel->lanes, sum);
    pe_attention_unpack(panel, p->out, p->out_b, p->out_h, p->out_i, o, p->width);
}

/* The panel's rows as records of attention_decode.c. */
static void keep(const struct pe_attention_panel *panel, const float *o, const float *max, const float *sum,
                 float *records) {
    int64_t record = panel->p->width + 2;
    float *to = records + panel->row * record;
    panel->kernels->gemm.copy(to + 2, record, o, 1, (ptrdiff_t)panel->lanes, (size_t)panel->rows,
                              (size_t)panel->p->width);
    for (int64_t x = 0; x < panel->rows; x++) to[x * record] = (float)(max[x] * LN_2), to[x * record + 1] = sum[x];
}

/* Rows of a unit against the keys first .. last-1, to out, or to records where there are any. */
static void run_panel(const struct run *r, struct pe_attention_unit unit, int64_t row, int64_t rows, int64_t first,
                      int64_t last, float *memory, float *records) {
    const struct pe_attention_problem *p = &r->p;
    struct pe_attention_panel panel;
    pe_attention_open(&panel, p, r->ctx->kernels, unit, row, rows, memory);
    float *o = memory + r->panel_floats, *max = o + p->width * (int64_t)panel.lanes, *sum = max + panel.lanes,
          *factor = sum + panel.lanes;
    int64_t kv_head = unit.head / p->group;
    const float *k = p->k + unit.b * p->k_b + kv_head * p->k_h, *v = p->v + unit.b * p->v_b + kv_head * p->v_h;
    memset(o, 0, (size_t)p->width * panel.lanes * sizeof *o);
    for (size_t x = 0; x < panel.lanes; x++) max[x] = -INFINITY, sum[x] = 0;
    first = max64(first, panel.first / PE_ATTENTION_KEYS * PE_ATTENTION_KEYS), last = min64(last, panel.last);
    int fresh = 1;
    for (int64_t j = first; j < last; j += PE_ATTENTION_KEYS) {
        int64_t keys = min64(PE_ATTENTION_KEYS, p->keys - j);
        if (!pe_attention_begin(&panel, j, keys)) continue;
        pe_attention_scores(&panel, panel.s, k + j * p->k_j, p->k_j, panel.q, p->depth, j, keys);
        struct pe_attention_block block = pe_attention_block(&panel, j, keys);
        int moved = panel.kernels->attention.soften(&block, max, sum, factor);
        if (moved && !fresh) panel.kernels->attention.rescale(o, (size_t)p->width, panel.lanes, factor);
        pe_attention_gather(&panel, o, p->width, v + j * p->v_j, p->v_j, panel.s, j, keys);
        fresh = 0;
    }
    if (records) keep(&panel, o, max, sum, records);
    else finish(&panel, o, max, sum);
}

/* Block x of a unit: the last blocks of queries first, as causal ones have most to do. */
static void run_block(const struct run *r, struct pe_attention_unit unit, int64_t x, float *memory) {
    int64_t row = (r->blocks - 1 - x) * QUERIES, stop = min64(row + QUERIES, unit.rows);
    for (; row < stop; row += r->lanes)
        run_panel(r, unit, row, min64(r->lanes, stop - row), 0, r->p.keys, memory, NULL);
}

static void run_part(const struct run *r, struct pe_attention_unit unit, int64_t part, float *memory, float *records) {
    int64_t first = part * PE_ATTENTION_PART, last = min64(first + PE_ATTENTION_PART, r->p.keys);
    if (r->few) pe_attention_decode(&r->p, r->ctx->kernels, unit, first, last, memory, records);
    else
        for (int64_t row = 0; row < unit.rows; row += r->lanes)
            run_panel(r, unit, row, min64(r->lanes, unit.rows - row), first, last, memory, records);
}

static void tasks_body(int64_t begin, int64_t end, void *arg) {
    struct run *r = arg;
    float *memory = pe_alloc(r->ctx, (size_t)r->floats * sizeof *memory);
    if (!memory) {
        __atomic_store_n(&r->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t x = begin; x < end; x++) {
        struct pe_attention_unit unit = find_unit(r, x / r->blocks);
        if (r->records) run_part(r, unit, x % r->blocks, memory, r->records + x * r->rows * (r->p.width + 2));
        else run_block(r, unit, x % r->blocks, memory);
    }
    pe_free(r->ctx, memory);
}

static void merge_body(int64_t begin, int64_t end, void *arg) {
    const struct run *r = arg;
    const struct pe_attention_problem *p = &r->p;
    int64_t record = p->width + 2;
    for (int64_t x = begin; x < end; x++) {
        struct pe_attention_unit unit = find_unit(r, x);
        for (int64_t row = 0; row < r->rows; row++) {
            float max, sum, *out = p->out + unit.b * p->out_b + (unit.head + row / p->queries) * p->out_h +
                                   row % p->queries * p->out_i;
            r->ctx->kernels->attention.merge(out, (size_t)p->width,
                                             r->records + (x * r->blocks * r->rows + row) * record, r->rows * record,
                                             (size_t)r->blocks, &max, &sum);
            note_lse(p, &unit, row, max / LN_2, sum);
        }
    }
}

/* How the work is cut, by the shape alone. */
static void plan(struct run *r) {
    const struct pe_attention_problem *p = &r->p;
    r->lanes = pe_attention_lanes(p, r->ctx->kernels, p->depth + p->width);
    int64_t together = pe_attention_together(p, r->lanes);
    r->rows = p->queries * together;
    r->units = p->batch * (p->heads / together);
    int64_t seen = p->causal ? max64(min64(p->keys, p->start + p->queries), 0) : p->keys; /* by some row */
    r->few = p->queries * p->group <= PE_ATTENTION_FEW && seen > PE_ATTENTION_KEYS;
    r->blocks = parts(r->rows, QUERIES);
    r->parts = r->few || (r->blocks == 1 && seen > PE_ATTENTION_PART) ? parts(seen, PE_ATTENTION_PART) : 0;
    r->panel_floats = pe_attention_panel_floats(p, r->lanes);
    r->floats = r->few ? PE_ATTENTION_FEW * PE_ATTENTION_PART : r->panel_floats + (p->width + 3) * r->lanes;
}

pe_status pe_attention(pe_context *ctx, const pe_attention_args *args, pe_error *err) {
    struct run r = { .ctx = ctx };
    pe_status status = pe_attention_check(args, &r.p, err);
    const struct pe_attention_problem *p = &r.p;
    if (status || p->batch * p->heads * p->queries == 0 || p->width == 0) return status;
    plan(&r);
    if (r.parts) {
        r.blocks = r.parts;
        r.records = pe_alloc(ctx, (size_t)(r.units * r.blocks * r.rows * (p->width + 2)) * sizeof *r.records);
        if (!r.records) return pe_fail(err, PE_ERR_MEMORY, -1, "attention: no memory for parts of the keys");
    }
    double bytes = 4.0 * (double)(p->batch * p->heads / p->group) * (double)p->keys * (double)(p->depth + p->width);
    int threads = pe_threads_for(ctx, r.few ? BYTE_NS * bytes : FMA_NS * pe_attention_fmas(p));
    pe_parallel_for(ctx, r.units * r.blocks, 1, threads, tasks_body, &r);
    if (r.records && !r.failed)
        pe_parallel_for(ctx, r.units, 1, pe_threads_for(ctx, (double)(r.units * r.blocks * r.rows * p->width) * 0.2),
                        merge_body, &r);
    pe_free(ctx, r.records);
    if (r.failed) return pe_fail(err, PE_ERR_MEMORY, -1, "attention: no memory for the panel of a task");
    return PE_OK;
}
