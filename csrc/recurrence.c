/* pe_recurrence: one direction of a recurrent layer, all steps in one call. The product of the input with its weight is
 * made for a stretch of steps at once, then these steps are taken: the product of the state with the weight, a panel of
 * units at a time, and the gates of these units while the sums are near. */
#include "recurrence.h"

#include <string.h>

static void run_gates(const struct pe_sweep *s, int64_t x, int64_t row, const float *sums, const float *h, int fresh,
                      int64_t u, int64_t n, int last) {
    const int64_t at = pe_sweep_first(s, x) + row;
    float *y = pe_matrix_row(&s->y, at) + u;
    struct pe_gates g = {.n = (size_t)n, .sum = sums, .sum_step = (size_t)s->weight.panel, .y = y, .before = h + u,
                         .gates = pe_matrix_row(&s->gate, at - s->gate_base) + u, .gate_step = (size_t)s->hidden,
                         .bias = s->b_hh.at ? s->b_hh.at + u : NULL, .keep = s->kept.at != NULL};
    g.ahead = last ? g.gates : g.gates + s->gate.row;
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
    const int64_t start = pe_sweep_first(s, x - 1);
    r1 = min64(r1, pe_sweep_rows_at(s, x));
    for (int64_t r = r0, rows; r < r1; r += rows) {
        const int fresh = r >= before; /* a sequence that begins here */
        const struct pe_matrix *from = fresh ? &s->h0 : &s->y;
        const float *h = pe_matrix_row(from, fresh ? r : start + r);
        rows = min64(PE_RECURRENCE_ROWS, (fresh ? r1 : min64(r1, before)) - r);
        for (int64_t u = u0; u < u1; u += s->weight.panel) {
            pe_sweep_product(s, h, from->row, rows, u, s->gates, sums, 0);
            for (int64_t i = 0; i < rows; i++)
                run_gates(s, x, r + i, sums + i * row_sums, h + i * from->row, fresh, u,
                          min64(s->weight.panel, u1 - u), i + 1 == rows);
        }
    }
}

/* ---- the whole ---- */

/* gates = x w_ih^T + b_ih of the rows of a stretch */
static pe_status input_product(pe_context *ctx, const struct pe_sweep *s, const struct pe_stretch *w,
                               const void *packed, pe_error *err) {
    const int64_t columns = s->gates * s->hidden;
    const pe_tensor x = pe_matrix_tensor(&s->x, w->first, w->rows, s->inputs);
    const pe_tensor weight = pe_turned(pe_matrix_tensor(&s->w_ih, 0, columns, s->inputs));
    const pe_tensor bias = {s->b_ih.at, PE_FLOAT32, 1, {columns}, {4}};
    const pe_tensor gates = pe_matrix_tensor(&s->gate, w->first - s->gate_base, w->rows, columns);
    return pe_gemm(ctx, &(pe_gemm_args){.a = &x, .b = packed ? NULL : &weight, .packed = packed, .c = &gates,
                                        .bias = s->b_ih.at ? &bias : NULL, .activation = PE_NO_ACTIVATION}, err);
}

/* Where many stretches follow each other, w_ih is packed once for all of them; a refusal costs time alone. */
static void *pack_input(pe_context *ctx, const struct pe_sweep *s) {
    const pe_tensor weight = pe_turned(pe_matrix_tensor(&s->w_ih, 0, s->gates * s->hidden, s->inputs));
    pe_pack_args args = {.b = &weight};
    if (s->rows <= pe_sweep_most_rows(s) || pe_pack_bytes(ctx, &args, &args.bytes, NULL)) return NULL;
    args.packed = pe_alloc(ctx, args.bytes);
    if (args.packed && pe_pack(ctx, &args, NULL)) {
        pe_free(ctx, args.packed);
        return NULL;
    }
    return args.packed;
}

static pe_status run_stretches(pe_context *ctx, struct pe_sweep *s, const void *packed_ih, pe_error *err) {
    const int keeps = s->gate.at != NULL;
    const int64_t columns = s->gates * s->hidden;
    void *own = packed_ih ? NULL : pack_input(ctx, s), *memory = NULL;
    pe_status status = PE_OK;
    if (!keeps) {
        memory = pe_alloc(ctx, (size_t)(pe_sweep_most_rows(s) * columns) * sizeof(float));
        s->gate = (struct pe_matrix){memory, columns};
        if (!memory) status = pe_fail(err, PE_ERR_MEMORY, -1, "recurrence: no memory for the gates");
    }
    for (int64_t x = 0; !status && x < s->steps;) {
        const struct pe_stretch w = pe_sweep_stretch(s, x);
        if (!keeps) s->gate_base = w.first;
        status = input_product(ctx, s, &w, packed_ih ? packed_ih : own, err);
        if (!status) pe_sweep_run(ctx, s, w.x0, w.x1);
        x = w.x1;
    }
    pe_free(ctx, memory);
    pe_free(ctx, own);
    return status;
}

pe_status pe_recurrence(pe_context *ctx, const pe_recurrence_args *args, pe_error *err) {
    struct pe_sweep s;
    void *own = NULL;
    pe_status status = pe_sweep_open(ctx, &s, args, err);
    const int work = !status && pe_sweep_is_work(&s);
    if (work) status = pe_sweep_pack(ctx, &s, args->packed_hh, 0, &own, err);
    if (work && !status) {
        s.step = step_forward;
        status = run_stretches(ctx, &s, args->packed_ih, err);
    }
    pe_free(ctx, own);
    pe_sweep_close(ctx, &s);
    return status;
}
