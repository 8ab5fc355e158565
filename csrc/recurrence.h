/* A recurrent layer in one direction, between its checks (recurrence_check.c) and its sweeps over the steps. */
#ifndef PE_RECURRENCE_H
#define PE_RECURRENCE_H

#include "internal.h"
#include "sizes.h"

/* Rows that pass a panel of the weight together. Their sums stay in L1 and L2. */
#define PE_RECURRENCE_ROWS 24
#define PE_RECURRENCE_GATES 4
#define PE_RECURRENCE_SUMS (PE_RECURRENCE_ROWS * PE_RECURRENCE_GATES * PE_GEMM_MAX_VECTORS * 16)

/* (rows, columns), the columns side by side; at is NULL where an argument is not given */
struct pe_matrix {
    float *at;
    int64_t row;
};
static inline float *pe_matrix_row(const struct pe_matrix *m, int64_t i) { return m->at + i * m->row; }

/* The weight in panels of `panel` columns, each with all of k; `sets` of them side by side: a gate's columns each. */
struct pe_panels {
    const float *at;
    int64_t k, n, panel, set; /* set: floats from set to set */
};

struct pe_sweep {
    const struct pe_kernels *kernels;
    struct pe_panels weight;
    int mode, gates, backwards;
    int64_t steps, batch, hidden, inputs, rows; /* rows: of all steps */
    const int64_t *sizes;  /* rows of each step, never more than in the step before; NULL: batch */
    int64_t *starts;       /* where sizes is given: the first row of each step */
    struct pe_matrix x, w_ih, w_hh, b_ih, b_hh, h0, c0, y, h_n, c_n, gate, kept;
    struct pe_matrix dy, dh_n, dc_n, dx, dw_ih, dw_hh, db_ih, db_hh, dh0, dc0; /* of the derivative */
    int wants_state;       /* ... dh0 is asked for */
    int64_t gate_base;     /* the first row that `gate` holds: 0, or that of the steps at work */
    /* of the derivative of the steps at work, from row dgate_base on; later: dstate of the step behind them */
    struct pe_matrix dgate, dstate, later;
    int64_t dgate_base, work_end; /* the place behind those at work */
    int blocks;            /* of units, where threads share them */
    /* moves rows r0 .. r1 - 1 of the batch on by one step, to place x, their hidden units u0 .. u1 - 1 */
    void (*step)(const struct pe_sweep *, int64_t x, int64_t r0, int64_t r1, int64_t u0, int64_t u1);
};

static inline int64_t pe_sweep_start(const struct pe_sweep *s, int64_t t) {
    return s->sizes ? s->starts[t] : t * s->batch;
}
static inline int pe_sweep_is_work(const struct pe_sweep *s) { return s->rows > 0 && s->hidden > 0; }
/* The step of the data that comes at place x of the recurrence. */
static inline int64_t pe_sweep_time(const struct pe_sweep *s, int64_t x) { return s->backwards ? s->steps - 1 - x : x; }
/* The first row of place x, and how many it has; before the first and behind the last there are none. */
static inline int64_t pe_sweep_first(const struct pe_sweep *s, int64_t x) {
    return x < 0 || x >= s->steps ? 0 : pe_sweep_start(s, pe_sweep_time(s, x));
}
static inline int64_t pe_sweep_rows_at(const struct pe_sweep *s, int64_t x) {
    return x < 0 || x >= s->steps ? 0 : s->sizes ? s->sizes[pe_sweep_time(s, x)] : s->batch;
}

/* Places x0 .. x1 - 1 that are worked on together, so that what lies between products and gates stays in the caches:
 * rows first .. first + rows - 1 of the data. */
struct pe_stretch {
    int64_t x0, x1, first, rows;
};
struct pe_stretch pe_sweep_stretch(const struct pe_sweep *, int64_t x0);        /* from x0 on */
struct pe_stretch pe_sweep_stretch_before(const struct pe_sweep *, int64_t x1); /* up to x1 */
int64_t pe_sweep_most_rows(const struct pe_sweep *); /* of any stretch */

/* recurrence_check.c. A sweep that was opened is closed, also after an error. */
pe_status pe_sweep_open(pe_context *, struct pe_sweep *, const pe_recurrence_args *, pe_error *);
pe_status pe_sweep_open_backward(pe_context *, struct pe_sweep *, const pe_recurrence_backward_args *, pe_error *);
void pe_sweep_close(pe_context *, struct pe_sweep *);
/* rows `first` and on of m as a tensor */
static inline pe_tensor pe_matrix_tensor(const struct pe_matrix *m, int64_t first, int64_t rows, int64_t columns) {
    return (pe_tensor){pe_matrix_row(m, first), PE_FLOAT32, 2, {rows, columns}, {m->row * 4, 4}};
}
static inline pe_tensor pe_turned(pe_tensor t) {
    return (pe_tensor){t.data, t.dtype, 2, {t.shape[1], t.shape[0]}, {t.strides[1], t.strides[0]}};
}

/* recurrence_pack.c: a weight for forward is the caller's pack or one in *own, for backward one in *own. */
pe_status pe_sweep_pack(pe_context *, struct pe_sweep *, const void *packed, int backward, void **own, pe_error *);

/* recurrence_sweep.c: the places x0, x0 + 1 .. x1 - 1, or where x1 < x0, x0 - 1 .. x1, by threads that share rows, or
 * units. */
void pe_sweep_run(pe_context *, struct pe_sweep *, int64_t x0, int64_t x1);

/* sums[i * (count panel) + q panel + j] = chain over p of fma(a[i,p], w[p, column j of panel q], .), i < rows, starting
 * at +0 or, where from_sums is set, at sums: the panel that begins at column u, and those of the following sets or,
 * where there is one set, the following panels; `count` in all. */
void pe_sweep_product(const struct pe_sweep *, const float *a, int64_t a_row, int64_t rows, int64_t u, int count,
                      float *sums, int from_sums);

#endif
