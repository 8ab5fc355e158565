/* pe_recurrence_backward: the steps of pe_recurrence in reverse. What comes back to h from the next step is the product
 * of that step's gradients with the weight; then follow the derivatives of the gates. After each stretch of steps come
 * the products over their rows: the gradients of weights, biases and input. */
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

/* dstate of place x, row r of the batch */
static const float *state_gradient(const struct pe_sweep *s, int64_t x, int64_t r) {
    return x == s->work_end ? pe_matrix_row(&s->later, r)
                            : pe_matrix_row(&s->dstate, pe_sweep_first(s, x) + r - s->dgate_base);
}

/* The product with the gradients of the step at place x, added to what the GRU sends back at once. */
static void from_later(const struct pe_sweep *s, const struct part *p, int64_t x, float *sums) {
    const int carries = s->mode == PE_GRU;
    if (carries) copy_rows(s, sums, p->width, pe_matrix_row(&s->dh0, p->r) + p->u, s->dh0.row, p->rows, p->n);
    pe_sweep_product(s, state_gradient(s, x, p->r), s->dstate.row, p->rows, p->u, p->count, sums, carries);
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
    const int64_t start = pe_sweep_first(s, x), before = pe_sweep_rows_at(s, x - 1);
    const int64_t start_before = pe_sweep_first(s, x - 1);
    const int lstm = s->mode == PE_LSTM;
    const struct pe_matrix *first = lstm ? &s->c0 : &s->h0, *others = lstm ? &s->kept : &s->y;
    const struct pe_matrix *carry = lstm ? &s->dc0 : &s->dh0;
    for (int64_t i = 0; i < p->rows; i++) {
        const int64_t row = p->r + i, at = start + row;
        struct pe_gate_slopes g = {.n = (size_t)p->n, .sum = sums + i * p->width, .gate_step = (size_t)s->hidden,
                                   .gates = pe_matrix_row(&s->gate, at) + p->u,
                                   .dgates = pe_matrix_row(&s->dgate, at - s->dgate_base) + p->u,
                                   .dstate = pe_matrix_row(&s->dstate, at - s->dgate_base) + p->u};
        g.before = (row < before ? pe_matrix_row(others, start_before + row) : pe_matrix_row(first, row)) + p->u;
        if (s->dy.at) g.dy = pe_matrix_row(&s->dy, at) + p->u;
        if (s->kept.at) g.kept = pe_matrix_row(&s->kept, at) + p->u;
        if (carry->at) g.carry = pe_matrix_row(carry, row) + p->u;
        s->kernels->recurrence.slopes[s->mode](&g);
    }
}

/* Rows whose first step is at place x: behind it lies their initial state. */
static void step_to_state(const struct pe_sweep *s, int64_t x, int64_t r0, int64_t r1, int64_t u0, int64_t u1,
                          float *sums) {
    struct part p;
    for (int64_t r = max64(r0, pe_sweep_rows_at(s, x - 1)), rows; r < r1; r += rows) {
        rows = min64(PE_RECURRENCE_ROWS, r1 - r);
        for (int64_t u = u0; u < u1; u += p.n) {
            p = next_part(s, r, rows, u, u1);
            from_later(s, &p, x, sums);
            copy_rows(s, pe_matrix_row(&s->dh0, r) + u, s->dh0.row, sums, p.width, rows, p.n);
        }
    }
}

static void step_back(const struct pe_sweep *s, int64_t x, int64_t r0, int64_t r1, int64_t u0, int64_t u1) {
    float sums[PE_RECURRENCE_SUMS] __attribute__((aligned(64)));
    const int64_t later = pe_sweep_rows_at(s, x + 1);
    struct part p;
    if (s->wants_state) step_to_state(s, x + 1, r0, min64(r1, later), u0, u1, sums);
    r1 = min64(r1, pe_sweep_rows_at(s, x));
    for (int64_t r = r0, rows; r < r1; r += rows) {
        const int ends = r >= later;
        rows = min64(PE_RECURRENCE_ROWS, (ends ? r1 : min64(r1, later)) - r);
        for (int64_t u = u0; u < u1; u += p.n) {
            p = next_part(s, r, rows, u, u1);
            if (ends) from_end(s, &p, sums);
            else from_later(s, &p, x + 1, sums);
            run_slopes(s, &p, x, sums);
        }
    }
}

/* ---- the products over rows ---- */

/* c = a b, or c += a b */
static pe_status add_product(pe_context *ctx, const pe_tensor *a, const pe_tensor *b, const struct pe_matrix *c,
                             int add, pe_error *err) {
    if (!c->at) return PE_OK;
    const pe_tensor to = pe_matrix_tensor(c, 0, a->shape[0], b->shape[1]);
    const pe_gemm_args args = {.a = a, .b = b, .c = &to, .accumulate = add, .activation = PE_NO_ACTIVATION};
    return pe_gemm(ctx, &args, err);
}

/* What h was before each row's step. */
static void gather_before(const struct pe_sweep *s, const struct pe_stretch *w, const struct pe_matrix *to) {
    for (int64_t x = w->x0; x < w->x1; x++) {
        const int64_t rows = pe_sweep_rows_at(s, x), known = min64(rows, pe_sweep_rows_at(s, x - 1));
        float *at = pe_matrix_row(to, pe_sweep_first(s, x) - w->first);
        copy_rows(s, at, to->row, pe_matrix_row(&s->y, pe_sweep_first(s, x - 1)), s->y.row, known, s->hidden);
        copy_rows(s, at + known * to->row, to->row, pe_matrix_row(&s->h0, known), s->h0.row, rows - known, s->hidden);
    }
}

/* Adds a stretch's rows to the gradients of weights and biases (the first stretch begins them) and writes dx. */
static pe_status row_products(pe_context *ctx, const struct pe_sweep *s, const struct pe_stretch *w,
                              const struct pe_matrix *before, const struct pe_matrix *ones, int add_dx, pe_error *err) {
    const int64_t columns = s->gates * s->hidden;
    const int add = w->x1 < s->steps;
    const pe_tensor dgates = pe_matrix_tensor(&s->dgate, 0, w->rows, columns), turned = pe_turned(dgates);
    const pe_tensor dstate = pe_matrix_tensor(&s->dstate, 0, w->rows, columns), state_turned = pe_turned(dstate);
    const pe_tensor x = pe_matrix_tensor(&s->x, w->first, w->rows, s->inputs);
    const pe_tensor h = pe_matrix_tensor(before, 0, w->rows, s->hidden), one = pe_matrix_tensor(ones, 0, 1, w->rows);
    const pe_tensor w_ih = pe_matrix_tensor(&s->w_ih, 0, columns, s->inputs);
    const struct pe_matrix dx = {s->dx.at ? pe_matrix_row(&s->dx, w->first) : NULL, s->dx.row};
    if (s->dw_hh.at) gather_before(s, w, before);
    pe_status status = add_product(ctx, &turned, &x, &s->dw_ih, add, err);
    if (!status) status = add_product(ctx, &state_turned, &h, &s->dw_hh, add, err);
    if (!status) status = add_product(ctx, &one, &dgates, &s->db_ih, add, err);
    if (!status) status = add_product(ctx, &one, &dstate, &s->db_hh, add, err);
    return status ? status : add_product(ctx, &dgates, &w_ih, &dx, add_dx, err);
}

/* ---- the whole ---- */

/* Memory that the stretches use one after another, cut from one piece: each part (rows, columns). */
static struct pe_matrix cut(float **from, int64_t rows, int64_t columns) {
    const struct pe_matrix m = {*from, columns};
    *from += parts(rows * columns, 16) * 16;
    return m;
}

static pe_status run_stretches(pe_context *ctx, struct pe_sweep *s, int add_dx, pe_error *err) {
    const int64_t columns = s->gates * s->hidden, most = pe_sweep_most_rows(s);
    const int gru = s->mode == PE_GRU;
    const int64_t floats = (most * (gru + 1) + s->batch) * columns + most * (s->hidden + 1) + 5 * 16;
    float *memory = pe_alloc(ctx, (size_t)floats * sizeof *memory), *at = memory;
    if (!memory) return pe_fail(err, PE_ERR_MEMORY, -1, "recurrence: no memory for the gradients of the gates");
    s->dgate = s->dstate = cut(&at, most, columns);
    if (gru) s->dstate = cut(&at, most, columns);
    s->later = cut(&at, s->batch, columns);
    const struct pe_matrix before = cut(&at, most, s->hidden), ones = cut(&at, 1, most);
    for (int64_t i = 0; i < most; i++) ones.at[i] = 1;
    pe_status status = PE_OK;
    for (int64_t x = s->steps; !status && x > 0;) {
        const struct pe_stretch w = pe_sweep_stretch_before(s, x);
        if (x < s->steps)
            copy_rows(s, s->later.at, columns, pe_matrix_row(&s->dstate, pe_sweep_first(s, x) - s->dgate_base), columns,
                      pe_sweep_rows_at(s, x), columns);
        s->dgate_base = w.first;
        s->work_end = w.x1;
        pe_sweep_run(ctx, s, w.x1 - 1, w.x0 == 0 && s->wants_state ? -1 : w.x0);
        status = row_products(ctx, s, &w, &before, &ones, add_dx, err);
        x = w.x0;
    }
    pe_free(ctx, memory);
    return status;
}

pe_status pe_recurrence_backward(pe_context *ctx, const pe_recurrence_backward_args *args, pe_error *err) {
    struct pe_sweep s;
    void *own = NULL;
    pe_status status = pe_sweep_open_backward(ctx, &s, args, err);
    const int work = !status && pe_sweep_is_work(&s);
    if (work) status = pe_sweep_pack(ctx, &s, NULL, 1, &own, err);
    if (work && !status) {
        s.step = step_back;
        status = run_stretches(ctx, &s, args->add_dx, err);
    } else if (!status) { /* sums over no rows */
        const struct pe_stretch none = {s.steps, s.steps, 0, 0};
        status = row_products(ctx, &s, &none, &s.y, &s.y, 1, err);
    }
    pe_free(ctx, own);
    pe_sweep_close(ctx, &s);
    return status;
}
