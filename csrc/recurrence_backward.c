/* pe_recurrence_backward: the steps of pe_recurrence in reverse. What comes back to h from the next step is the product
 * of that step's gradients with the weight; then follow the derivatives of the gates. The gradients of weights, biases
 * and input are products over the rows of all steps, which the caller makes. */
#include "recurrence.h"

#include <string.h>

#define ABREAST 4 /* panels that one row meets side by side */

static void copy_rows(const struct pe_sweep *s, float *to, int64_t to_row, const float *from, int64_t from_row,
                      int64_t rows, int64_t n) {
    s->kernels->gemm.copy(to, to_row, from, from_row, 1, (size_t)rows, (size_t)n);
}

/* Rows r .. of the batch and units u .. as the sums see them: `rows` of `width` floats, of which n are units. */
struct part {
    int64_t r, rows, u, n, width;
    int count; /* of panels */
};

static struct part next_part(const struct pe_sweep *s, int64_t r, int64_t rows, int64_t u, int64_t u1) {
    const int64_t panel = s->weight.panel, whole = (u1 - u) / panel;
    const int count = rows == 1 ? (int)max64(min64(whole, ABREAST), 1) : 1;
    return (struct part){r, rows, u, min64(count * panel, u1 - u), count * panel, count};
}

/* The product with the gradients of the step at place x, added to what the GRU sends back at once. */
static void from_later(const struct pe_sweep *s, const struct part *p, int64_t x, float *sums) {
    const int64_t at = pe_sweep_start(s, pe_sweep_time(s, x)) + p->r;
    const int carries = s->mode == PE_GRU;
    if (carries) copy_rows(s, sums, p->width, pe_matrix_row(&s->dh0, p->r) + p->u, s->dh0.row, p->rows, p->n);
    pe_sweep_product(s, pe_matrix_row(&s->dstate, at), s->dstate.row, p->rows, p->u, p->count, sums, carries);
}

/* Sequences that end here begin with the gradients of their last state. */
static void from_end(const struct pe_sweep *s, const struct part *p, float *sums) {
    if (s->dh_n.at) copy_rows(s, sums, p->width, pe_matrix_row(&s->dh_n, p->r) + p->u, s->dh_n.row, p->rows, p->n);
    else memset(sums, 0, (size_t)(p->rows * p->width) * sizeof *sums);
    if (s->mode != PE_LSTM) return;
    for (int64_t i = p->r; i < p->r + p->rows; i++) {
        float *dc = pe_matrix_row(&s->dc0, i) + p->u;
        if (s->dc_n.at) memcpy(dc, pe_matrix_row(&s->dc_n, i) + p->u, (size_t)p->n * sizeof *dc);
        else memset(dc, 0, (size_t)p->n * sizeof *dc);
    }
}

static void run_slopes(const struct pe_sweep *s, const struct part *p, int64_t x, const float *sums) {
    const int64_t start = pe_sweep_start(s, pe_sweep_time(s, x)), before = pe_sweep_rows_at(s, x - 1);
    const int64_t start_before = x > 0 ? pe_sweep_start(s, pe_sweep_time(s, x - 1)) : 0;
    const int lstm = s->mode == PE_LSTM;
    const struct pe_matrix *first = lstm ? &s->c0 : &s->h0, *others = lstm ? &s->kept : &s->y;
    const struct pe_matrix *carry = lstm ? &s->dc0 : &s->dh0;
    for (int64_t i = 0; i < p->rows; i++) {
        const int64_t row = p->r + i, at = start + row;
        struct pe_gate_slopes g = {.n = (size_t)p->n, .sum = sums + i * p->width, .gate_step = (size_t)s->hidden,
                                   .gates = pe_matrix_row(&s->gate, at) + p->u,
                                   .dgates = pe_matrix_row(&s->dgate, at) + p->u,
                                   .dstate = pe_matrix_row(&s->dstate, at) + p->u};
        g.before = (row < before ? pe_matrix_row(others, start_before + row) : pe_matrix_row(first, row)) + p->u;
        if (s->dy.at) g.dy = pe_matrix_row(&s->dy, at) + p->u;
        if (s->kept.at) g.kept = pe_matrix_row(&s->kept, at) + p->u;
        if (carry->at) g.carry = pe_matrix_row(carry, row) + p->u;
        s->kernels->recurrence.slopes[s->mode](&g);
    }
}

/* Behind the first step of each sequence lies its initial state. */
static void step_to_state(const struct pe_sweep *s, int64_t r0, int64_t r1, int64_t u0, int64_t u1, float *sums) {
    for (int64_t x = 0; x < s->steps; x++) {
        const int64_t begun = max64(r0, pe_sweep_rows_at(s, x - 1)), end = min64(r1, pe_sweep_rows_at(s, x));
        for (int64_t r = begun, rows; r < end; r += rows) {
            rows = min64(PE_RECURRENCE_ROWS, end - r);
            struct part p;
            for (int64_t u = u0; u < u1; u += p.n) {
                p = next_part(s, r, rows, u, u1);
                from_later(s, &p, x, sums);
                copy_rows(s, pe_matrix_row(&s->dh0, r) + u, s->dh0.row, sums, p.width, rows, p.n);
            }
        }
    }
}

static void step_back(const struct pe_sweep *s, int64_t move, int64_t r0, int64_t r1, int64_t u0, int64_t u1) {
    float sums[PE_RECURRENCE_SUMS] __attribute__((aligned(64)));
    const int64_t x = s->steps - 1 - move, later = pe_sweep_rows_at(s, x + 1);
    if (x < 0) {
        step_to_state(s, r0, r1, u0, u1, sums);
        return;
    }
    r1 = min64(r1, pe_sweep_rows_at(s, x));
    for (int64_t r = r0, rows; r < r1; r += rows) {
        const int ends = r >= later;
        rows = min64(PE_RECURRENCE_ROWS, (ends ? r1 : min64(r1, later)) - r);
        struct part p;
        for (int64_t u = u0; u < u1; u += p.n) {
            p = next_part(s, r, rows, u, u1);
            if (ends) from_end(s, &p, sums);
            else from_later(s, &p, x + 1, sums);
            run_slopes(s, &p, x, sums);
        }
    }
}

pe_status pe_recurrence_backward(pe_context *ctx, const pe_recurrence_backward_args *args, pe_error *err) {
    struct pe_sweep s;
    void *own = NULL;
    pe_status status = pe_sweep_open_backward(ctx, &s, args, err);
    if (!status && pe_sweep_is_work(&s)) status = pe_sweep_pack(ctx, &s, args->weight, NULL, 1, &own, err);
    if (!status && pe_sweep_is_work(&s)) {
        s.step = step_back;
        s.moves = s.steps + (s.wants_state != 0);
        pe_sweep_run(ctx, &s);
    }
    pe_free(ctx, own);
    pe_sweep_close(ctx, &s);
    return status;
}
