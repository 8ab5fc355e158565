/* pe_recurrence: one direction of a recurrent layer, all steps in one call. A step is the product of the state with
 * the weight, a panel of units at a time, and the gates of these units while the sums are near. Threads share the rows
 * of the batch, or in lockstep the units: the chain of an element over k is the same either way. */
#include "recurrence.h"
#include "lockstep.h"

#include <string.h>

#define FMA_NS 0.2    /* as gemm_plan.c has it */
#define BYTE_NS 0.02  /* of the weight, from L2 */
#define ROWS_A_THREAD 8 /* fewer: then each thread rather reads its part of the weight than all of it */
#define SHARED_STEP_NS 1000.0 /* a step in lockstep costs 0.3 us */
#define L1_BLOCK 6144 /* floats of a panel that wait in L1 for the next rows */

void pe_sweep_product(const struct pe_sweep *s, const float *a, int64_t a_row, int64_t rows, int64_t u, int count,
                      float *sums, int from_sums) {
    const struct pe_panels *w = &s->weight;
    const struct pe_gemm_kernels *kernels = &s->kernels->gemm;
    const int64_t lanes = s->kernels->vector_floats, vectors = min64(w->panel / lanes, parts(w->n - u, lanes));
    const int64_t between = w->set ? w->set : w->panel * w->k, most = kernels->rows[vectors - 1];
    struct pe_gemm_tile t = {.k = (size_t)w->k, .a = a, .a_row = a_row, .a_k = 1, .b = w->at + u * w->k,
                             .b_k = vectors * lanes, .b_panel = between, .c = sums, .c_row = count * w->panel,
                             .from_c = from_sums, .next_c = sums};
    if (rows == 1 && count > 1 && vectors == kernels->vectors) {
        kernels->abreast[count - 1](&t);
        return;
    }
    const int64_t depth = rows <= most ? max64(w->k, 1) : max64(L1_BLOCK / w->panel, 48);
    const int64_t high = parts(rows, parts(rows, most));
    for (int q = 0; q < count; q++)
        for (int64_t p = 0; p < w->k; p += depth) {
            t.k = (size_t)min64(depth, w->k - p);
            t.b = w->at + u * w->k + q * between + p * t.b_k;
            t.from_c = from_sums || p > 0;
            for (int64_t i = 0; i < rows; i += high) {
                t.a = a + i * a_row + p;
                t.c = sums + i * t.c_row + q * w->panel;
                t.next_c = t.c;
                kernels->tile[vectors - 1][min64(high, rows - i) - 1](&t);
            }
        }
}

/* ---- forward ---- */

static void run_gates(const struct pe_sweep *s, int64_t x, int64_t row, const float *sums, const float *h, int fresh,
                      int64_t u, int64_t n) {
    const int64_t at = pe_sweep_start(s, pe_sweep_time(s, x)) + row;
    float *y = pe_matrix_row(&s->y, at) + u;
    struct pe_gates g = {.n = (size_t)n, .sum = sums, .sum_step = (size_t)s->weight.panel, .y = y, .before = h + u,
                         .gates = pe_matrix_row(&s->gate, at) + u, .gate_step = (size_t)s->hidden,
                         .bias = s->bias.at ? s->bias.at + u : NULL, .keep = s->kept.at != NULL};
    if (g.keep) g.kept = pe_matrix_row(&s->kept, at) + u;
    if (s->mode == PE_LSTM) {
        g.c = pe_matrix_row(&s->c_n, row) + u;
        g.before = fresh ? pe_matrix_row(&s->c0, row) + u : g.c;
    }
    s->kernels->recurrence.gates[s->mode](&g);
    if (row >= pe_sweep_rows_at(s, x + 1)) memcpy(pe_matrix_row(&s->h_n, row) + u, y, (size_t)n * sizeof *y);
}

static void step_forward(const struct pe_sweep *s, int64_t x, int64_t r0, int64_t r1, int64_t u0, int64_t u1) {
    float sums[PE_RECURRENCE_SUMS] __attribute__((aligned(64)));
    const int64_t before = pe_sweep_rows_at(s, x - 1), row_sums = s->gates * s->weight.panel;
    const int64_t start = x > 0 ? pe_sweep_start(s, pe_sweep_time(s, x - 1)) : 0;
    r1 = min64(r1, pe_sweep_rows_at(s, x));
    for (int64_t r = r0, rows; r < r1; r += rows) {
        const int fresh = r >= before; /* a sequence that begins here */
        const struct pe_matrix *from = fresh ? &s->h0 : &s->y;
        const float *h = pe_matrix_row(from, fresh ? r : start + r);
        rows = min64(PE_RECURRENCE_ROWS, (fresh ? r1 : min64(r1, before)) - r);
        for (int64_t u = u0; u < u1; u += s->weight.panel) {
            pe_sweep_product(s, h, from->row, rows, u, s->gates, sums, 0);
            for (int64_t i = 0; i < rows; i++)
                run_gates(s, x, r + i, sums + i * row_sums, h + i * from->row, fresh, u, min64(s->weight.panel, u1 - u));
        }
    }
}

/* ---- who does what ---- */

static void rows_body(int64_t begin, int64_t end, void *arg) {
    const struct pe_sweep *s = arg;
    for (int64_t x = 0; x < s->moves; x++) s->step(s, x, begin, end, 0, s->hidden);
}

static void units_body(int64_t x, int block, void *arg) {
    const struct pe_sweep *s = arg;
    const int64_t panels = parts(s->hidden, s->weight.panel);
    s->step(s, x, 0, s->batch, panels * block / s->blocks * s->weight.panel,
            min64(panels * (block + 1) / s->blocks * s->weight.panel, s->hidden));
}

void pe_sweep_run(pe_context *ctx, struct pe_sweep *s) {
    const int64_t panels = parts(s->hidden, s->weight.panel);
    const double weight = (double)s->gates * (double)s->hidden * (double)s->hidden, steps = (double)s->steps;
    const double fmas = (double)s->rows * weight / s->kernels->vector_floats, bytes = steps * weight * sizeof(float);
    const double nanoseconds = fmas * FMA_NS + bytes * BYTE_NS;
    const int threads = pe_threads_for(ctx, nanoseconds);
    if (threads > 1 && panels > 1 && s->batch < ROWS_A_THREAD * threads && s->moves < INT32_MAX &&
        nanoseconds / steps >= SHARED_STEP_NS) {
        s->blocks = (int)min64(min64(panels, 2 * threads), PE_LOCKSTEP_BLOCKS);
        pe_lockstep(ctx, s->moves, s->blocks, threads, units_body, s);
        return;
    }
    const int64_t tasks = parts(parts(s->batch, PE_RECURRENCE_ROWS), threads) * threads;
    pe_parallel_for(ctx, s->batch, parts(s->batch, tasks), threads, rows_body, s);
}

pe_status pe_recurrence(pe_context *ctx, const pe_recurrence_args *args, pe_error *err) {
    struct pe_sweep s;
    void *own = NULL;
    pe_status status = pe_sweep_open(ctx, &s, args, err);
    if (!status && pe_sweep_is_work(&s)) status = pe_sweep_pack(ctx, &s, args->weight, args->packed, 0, &own, err);
    if (!status && pe_sweep_is_work(&s)) {
        s.step = step_forward;
        s.moves = s.steps;
        pe_sweep_run(ctx, &s);
    }
    pe_free(ctx, own);
    pe_sweep_close(ctx, &s);
    return status;
}
