/* What the sweeps of recurrent layers share, forward and backward: the product of some rows with panels of the weight,
 * who does what, and how many steps are worked on together. Threads share the rows of the batch, or in lockstep the
 * units (docs/decisions/009): the chain of an element over k is the same either way. */
#include "recurrence.h"
#include "lockstep.h"

#define FMA_NS 0.2    /* as gemm_plan.c has it */
#define BYTE_NS 0.02  /* of the weight, from L2 */
#define ROWS_A_THREAD 8 /* fewer: then each thread rather reads its part of the weight than all of it */
#define SHARED_STEP_NS 1000.0 /* a step in lockstep costs 0.3 us */
#define STRETCH (1 << 20) /* floats of gates: 4 MB, which the last cache holds between the product and the steps */
#define L1_BLOCK 6144 /* floats of a panel that wait in L1 for the next rows */

/* Some rows against one panel at a time: what all tiles share, and where the panels lie. */
struct product {
    const struct pe_sweep *s;
    struct pe_gemm_tile tile;
    int64_t vectors, depth, tiles, rows, u, between;
    int count;
};

/* The block of the weight that is read after the steps of k from p on of panel q. */
static const float *next_block(const struct product *w, int q, int64_t p) {
    const struct pe_panels *weight = &w->s->weight;
    if (p + w->depth < weight->k) return w->tile.b + w->depth * w->tile.b_k;
    if (q + 1 < w->count) return weight->at + w->u * weight->k + (q + 1) * w->between;
    return w->u + weight->panel < weight->n ? weight->at + (w->u + weight->panel) * weight->k : weight->at;
}

/* All rows against one block of a panel; while they are at work each tile asks for its share of the next. */
static void run_block(struct product *w, int q, int64_t p, const float *a, float *sums) {
    const struct pe_gemm_kernels *kernels = &w->s->kernels->gemm;
    struct pe_gemm_tile *t = &w->tile;
    const int64_t turns = parts((int64_t)t->k, PE_GEMM_AHEAD), lines = w->depth * t->b_k / 16;
    t->ahead = next_block(w, q, p);
    t->ahead_lines = (int)parts(lines, turns * w->tiles);
    t->ahead_step = t->ahead_lines * 16;
    for (int64_t x = 0, i = 0; x < w->tiles; x++) {
        const int64_t high = w->rows / w->tiles + (x < w->rows % w->tiles);
        t->a = a + i * t->a_row + p;
        t->c = sums + i * t->c_row + q * w->s->weight.panel;
        t->next_c = t->c;
        kernels->tile[w->vectors - 1][high - 1](t);
        t->ahead += turns * t->ahead_step;
        i += high;
    }
}

void pe_sweep_product(const struct pe_sweep *s, const float *a, int64_t a_row, int64_t rows, int64_t u, int count,
                      float *sums, int from_sums) {
    const struct pe_panels *weight = &s->weight;
    const struct pe_gemm_kernels *kernels = &s->kernels->gemm;
    const int64_t lanes = s->kernels->vector_floats;
    const int64_t vectors = min64(weight->panel / lanes, parts(weight->n - u, lanes));
    struct product w = {.s = s, .vectors = vectors, .rows = rows, .u = u, .count = count,
                        .tiles = parts(rows, kernels->rows[vectors - 1]),
                        .between = weight->set ? weight->set : weight->panel * weight->k};
    w.tile = (struct pe_gemm_tile){.k = (size_t)weight->k, .a = a, .a_row = a_row, .a_k = 1,
                                   .b = weight->at + u * weight->k, .b_k = vectors * lanes, .b_panel = w.between,
                                   .c = sums, .c_row = count * weight->panel, .from_c = from_sums, .next_c = sums};
    if (rows == 1 && count > 1 && vectors == kernels->vectors) {
        kernels->abreast[count - 1](&w.tile);
        return;
    }
    w.depth = w.tiles == 1 ? max64(weight->k, 1) : max64(L1_BLOCK / weight->panel, 48);
    for (int q = 0; q < count; q++)
        for (int64_t p = 0; p < weight->k; p += w.depth) {
            w.tile.k = (size_t)min64(w.depth, weight->k - p);
            w.tile.b = weight->at + u * weight->k + q * w.between + p * w.tile.b_k;
            w.tile.from_c = from_sums || p > 0;
            run_block(&w, q, p, a, sums);
        }
}

/* ---- who does what ---- */

struct run {
    const struct pe_sweep *s;
    int64_t x0, count, way; /* place number x0 + way * i for i < count */
};

static void rows_body(int64_t begin, int64_t end, void *arg) {
    const struct run *r = arg;
    for (int64_t i = 0; i < r->count; i++) r->s->step(r->s, r->x0 + r->way * i, begin, end, 0, r->s->hidden);
}

static void units_body(int64_t i, int block, void *arg) {
    const struct run *r = arg;
    const struct pe_sweep *s = r->s;
    const int64_t panels = parts(s->hidden, s->weight.panel);
    s->step(s, r->x0 + r->way * i, 0, s->batch, panels * block / s->blocks * s->weight.panel,
            min64(panels * (block + 1) / s->blocks * s->weight.panel, s->hidden));
}

void pe_sweep_run(pe_context *ctx, struct pe_sweep *s, int64_t x0, int64_t x1) {
    const struct run r = {s, x0, x1 > x0 ? x1 - x0 : x0 - x1 + 1, x1 > x0 ? 1 : -1};
    const int64_t panels = parts(s->hidden, s->weight.panel);
    const double weight = (double)s->gates * (double)s->hidden * (double)s->hidden;
    const double fmas = (double)s->rows / (double)s->steps * weight / s->kernels->vector_floats;
    const double step_ns = fmas * FMA_NS + weight * sizeof(float) * BYTE_NS;
    const int threads = pe_threads_for(ctx, step_ns * (double)r.count);
    if (threads > 1 && panels > 1 && s->batch < ROWS_A_THREAD * threads && r.count < INT32_MAX &&
        step_ns >= SHARED_STEP_NS) {
        /* one block a thread: with more, threads meet in the middle, each in turn, and no cache keeps its part */
        s->blocks = (int)min64(min64(panels, threads), PE_LOCKSTEP_BLOCKS);
        pe_lockstep(ctx, r.count, s->blocks, threads, units_body, (void *)&r);
        return;
    }
    const int64_t tasks = parts(parts(s->batch, PE_RECURRENCE_ROWS), threads) * threads;
    pe_parallel_for(ctx, s->batch, parts(s->batch, tasks), threads, rows_body, (void *)&r);
}

/* ---- steps that are worked on together ---- */

int64_t pe_sweep_most_rows(const struct pe_sweep *s) {
    return min64(s->rows, max64(s->batch, STRETCH / (s->gates * s->hidden)));
}

struct pe_stretch pe_sweep_stretch(const struct pe_sweep *s, int64_t x0) {
    const int64_t most = pe_sweep_most_rows(s);
    struct pe_stretch w = {x0, x0, 0, 0};
    while (w.x1 < s->steps && w.rows + pe_sweep_rows_at(s, w.x1) <= most) w.rows += pe_sweep_rows_at(s, w.x1++);
    w.first = pe_sweep_first(s, s->backwards ? w.x1 - 1 : x0);
    return w;
}

struct pe_stretch pe_sweep_stretch_before(const struct pe_sweep *s, int64_t x1) {
    const int64_t most = pe_sweep_most_rows(s);
    struct pe_stretch w = {x1, x1, 0, 0};
    while (w.x0 > 0 && w.rows + pe_sweep_rows_at(s, w.x0 - 1) <= most) w.rows += pe_sweep_rows_at(s, --w.x0);
    w.first = pe_sweep_first(s, s->backwards ? x1 - 1 : w.x0);
    return w;
}
