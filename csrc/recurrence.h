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
    int64_t steps, batch, hidden, rows; /* rows: of all steps */
    const int64_t *sizes;  /* rows of each step, never more than in the step before; NULL: batch */
    int64_t *starts;       /* where sizes is given: the first row of each step */
    struct pe_matrix gate, bias, h0, c0, y, h_n, c_n, kept;
    struct pe_matrix dy, dh_n, dc_n, dgate, dstate, dh0, dc0; /* of the derivative */
    int wants_state;       /* ... dh0 is asked for */
    int64_t moves;         /* calls of step: one a step, and what comes behind them */
    int blocks;            /* of units, where threads share them */
    /* moves rows r0 .. r1 - 1 of the batch on by one step, its hidden units u0 .. u1 - 1 */
    void (*step)(const struct pe_sweep *, int64_t step, int64_t r0, int64_t r1, int64_t u0, int64_t u1);
};

static inline int64_t pe_sweep_start(const struct pe_sweep *s, int64_t t) {
    return s->sizes ? s->starts[t] : t * s->batch;
}
static inline int pe_sweep_is_work(const struct pe_sweep *s) { return s->rows > 0 && s->hidden > 0; }
/* The step of the data that comes at place x of the recurrence. */
static inline int64_t pe_sweep_time(const struct pe_sweep *s, int64_t x) { return s->backwards ? s->steps - 1 - x : x; }
/* The rows at place x; before the first and behind the last there are none. */
static inline int64_t pe_sweep_rows_at(const struct pe_sweep *s, int64_t x) {
    return x < 0 || x >= s->steps ? 0 : s->sizes ? s->sizes[pe_sweep_time(s, x)] : s->batch;
}

/* recurrence_check.c. A sweep that was opened is closed, also after an error. */
pe_status pe_sweep_open(pe_context *, struct pe_sweep *, const pe_recurrence_args *, pe_error *);
pe_status pe_sweep_open_backward(pe_context *, struct pe_sweep *, const pe_recurrence_backward_args *, pe_error *);
void pe_sweep_close(pe_context *, struct pe_sweep *);

/* recurrence_pack.c: a weight for forward is the caller's pack or one in *own, for backward one in *own. */
pe_status pe_sweep_pack(pe_context *, struct pe_sweep *, const pe_tensor *weight, const void *packed, int backward,
                        void **own, pe_error *);

/* recurrence.c: all steps, by threads that share rows, or units. */
void pe_sweep_run(pe_context *, struct pe_sweep *);

/* sums[i * (sets nr) + q nr + j] = chain over p of fma(a[i,p], w[p, column j of panel q], .), i < rows, starting at +0
 * or, where from_sums is set, at sums; nr columns of the panel that begins at column u, q < count: panels of
 * consecutive sets or, of one set, consecutive panels. */
void pe_sweep_product(const struct pe_sweep *, const float *a, int64_t a_row, int64_t rows, int64_t u, int count,
                      float *sums, int from_sums);

#endif
