/* What recurrences ask of their arguments. */
#include "recurrence.h"

static const int gates_of[] = {[PE_RNN_TANH] = 1, [PE_RNN_RELU] = 1, [PE_LSTM] = 4, [PE_GRU] = 3};

/* t as (rows, columns) whose columns lie side by side; where it is not needed it may be NULL. */
static pe_status open_matrix(struct pe_matrix *m, const char *argument, const pe_tensor *t, int needed, int64_t rows,
                             int64_t columns, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    *m = (struct pe_matrix){NULL, 0};
    if (!t && !needed) return PE_OK;
    pe_status status = pe_check_dtype(t, PE_FLOAT32, "recurrence", argument, err);
    if (status) return status;
    if (t->ndim != 2 || t->shape[0] != rows || t->shape[1] != columns)
        return pe_fail(err, PE_ERR_SHAPE, -1, "recurrence: %s has the shape %s, expected (%lld, %lld)", argument,
                       pe_shape_text(t, text), (long long)rows, (long long)columns);
    if (columns > 1 && t->strides[1] != (int64_t)sizeof(float))
        return pe_fail(err, PE_ERR_ARGUMENT, 1, "recurrence: the columns of %s must lie side by side", argument);
    *m = (struct pe_matrix){t->data, t->strides[0] / (int64_t)sizeof(float)};
    return PE_OK;
}

/* A vector, as a matrix of one row. */
static pe_status open_vector(struct pe_matrix *m, const char *argument, const pe_tensor *t, int64_t n, pe_error *err) {
    if (!t) return PE_OK;
    pe_status status = pe_check_dtype(t, PE_FLOAT32, "recurrence", argument, err);
    if (status) return status;
    if (t->ndim != 1)
        return pe_fail(err, PE_ERR_SHAPE, -1, "recurrence: %s must have 1 axis, has %d", argument, (int)t->ndim);
    const pe_tensor row = {t->data, PE_FLOAT32, 2, {1, t->shape[0]}, {0, t->strides[0]}};
    return open_matrix(m, argument, &row, 1, 1, n, err);
}

/* The rows of the steps add up, and no step has more than the one before. */
static pe_status open_sizes(pe_context *ctx, struct pe_sweep *s, const int64_t *sizes, pe_error *err) {
    int64_t total = 0;
    if (!sizes) {
        if (__builtin_mul_overflow(s->steps, s->batch, &total) || total != s->rows)
            return pe_fail(err, PE_ERR_SHAPE, 0, "recurrence: %lld steps of %lld rows, but gates has %lld rows",
                           (long long)s->steps, (long long)s->batch, (long long)s->rows);
        return PE_OK;
    }
    if (s->steps > s->rows) /* each has a row at least */
        return pe_fail(err, PE_ERR_SHAPE, 0, "recurrence: %lld steps, but gates has %lld rows", (long long)s->steps,
                       (long long)s->rows);
    s->sizes = sizes;
    s->starts = pe_alloc(ctx, (size_t)s->steps * sizeof *s->starts);
    if (!s->starts) return pe_fail(err, PE_ERR_MEMORY, -1, "recurrence: no memory for %lld steps", (long long)s->steps);
    for (int64_t t = 0; t < s->steps; t++) {
        const int64_t most = t ? sizes[t - 1] : s->batch;
        if (sizes[t] < 1 || sizes[t] > most || (t == 0 && sizes[0] != s->batch))
            return pe_fail(err, PE_ERR_SHAPE, 0, "recurrence: %lld rows in step %lld of a batch of %lld, after %lld",
                           (long long)sizes[t], (long long)t, (long long)s->batch, (long long)most);
        s->starts[t] = total;
        total += sizes[t]; /* at most steps * batch: both are sizes of tensors */
        if (total > s->rows) break;
    }
    return total == s->rows ? PE_OK : pe_fail(err, PE_ERR_SHAPE, 0, "recurrence: sizes do not add up to the %lld rows "
                                                                     "of gates", (long long)s->rows);
}

/* What both ways have: mode, sizes, input, weights, the state at the start, y. */
static pe_status open_both(pe_context *ctx, struct pe_sweep *s, const pe_recurrence_args *a, pe_error *err) {
    *s = (struct pe_sweep){.kernels = ctx->kernels, .mode = a->mode, .backwards = a->backwards != 0, .steps = a->steps};
    if (a->mode < PE_RNN_TANH || a->mode > PE_GRU)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "recurrence: there is no mode %d", a->mode);
    if (a->steps < 1) return pe_fail(err, PE_ERR_ARGUMENT, -1, "recurrence: %lld steps", (long long)a->steps);
    pe_status status = pe_check_dtype(a->x, PE_FLOAT32, "recurrence", "x", err);
    if (!status) status = pe_check_dtype(a->h0, PE_FLOAT32, "recurrence", "h0", err);
    if (status) return status;
    if (a->h0->ndim != 2 || a->x->ndim != 2)
        return pe_fail(err, PE_ERR_SHAPE, -1, "recurrence: x and h0 must have 2 axes, have %d and %d", (int)a->x->ndim,
                       (int)a->h0->ndim);
    s->gates = gates_of[a->mode];
    s->rows = a->x->shape[0], s->inputs = a->x->shape[1];
    s->batch = a->h0->shape[0], s->hidden = a->h0->shape[1];
    if (s->hidden > INT64_MAX / 64) return pe_fail(err, PE_ERR_SHAPE, 1, "recurrence: h0 is too large");
    const int64_t columns = s->gates * s->hidden;
    const int lstm = a->mode == PE_LSTM;
    status = open_matrix(&s->x, "x", a->x, 1, s->rows, s->inputs, err);
    if (!status) status = open_matrix(&s->w_ih, "w_ih", a->w_ih, 1, columns, s->inputs, err);
    if (!status) status = open_matrix(&s->w_hh, "w_hh", a->w_hh, 1, columns, s->hidden, err);
    if (!status) status = open_matrix(&s->h0, "h0", a->h0, 1, s->batch, s->hidden, err);
    if (!status) status = open_matrix(&s->c0, "c0", a->c0, lstm, s->batch, s->hidden, err);
    if (!status) status = open_matrix(&s->y, "y", a->y, 1, s->rows, s->hidden, err);
    return status ? status : open_sizes(ctx, s, a->sizes, err);
}

pe_status pe_sweep_open(pe_context *ctx, struct pe_sweep *s, const pe_recurrence_args *a, pe_error *err) {
    *s = (struct pe_sweep){0};
    if (!a) return pe_fail(err, PE_ERR_ARGUMENT, -1, "recurrence: no arguments");
    pe_status status = open_both(ctx, s, a, err);
    if (status) return status;
    const int64_t columns = s->gates * s->hidden;
    status = open_vector(&s->b_ih, "b_ih", a->b_ih, columns, err);
    if (!status) status = open_vector(&s->b_hh, "b_hh", a->b_hh, columns, err);
    if (!status) status = open_matrix(&s->h_n, "h_n", a->h_n, 1, s->batch, s->hidden, err);
    if (!status) status = open_matrix(&s->c_n, "c_n", a->c_n, a->mode == PE_LSTM, s->batch, s->hidden, err);
    if (!status) status = open_matrix(&s->gate, "gates", a->gates, a->kept != NULL, s->rows, columns, err);
    if (!status) status = open_matrix(&s->kept, "kept", a->kept, a->gates != NULL, s->rows, s->hidden, err);
    return status;
}

pe_status pe_sweep_open_backward(pe_context *ctx, struct pe_sweep *s, const pe_recurrence_backward_args *a,
                                 pe_error *err) {
    *s = (struct pe_sweep){0};
    if (!a) return pe_fail(err, PE_ERR_ARGUMENT, -1, "recurrence: no arguments");
    const pe_recurrence_args both = {.mode = a->mode, .backwards = a->backwards, .steps = a->steps, .sizes = a->sizes,
                                     .x = a->x, .w_ih = a->w_ih, .w_hh = a->w_hh, .h0 = a->h0, .c0 = a->c0, .y = a->y};
    pe_status status = open_both(ctx, s, &both, err);
    if (status) return status;
    const int lstm = a->mode == PE_LSTM, gru = a->mode == PE_GRU;
    const int64_t rows = s->rows, batch = s->batch, hidden = s->hidden, columns = s->gates * hidden;
    const struct {
        struct pe_matrix *to;
        const char *name;
        const pe_tensor *t;
        int needed;
        int64_t rows, columns;
    } each[] = {
        {&s->gate, "gates", a->gates, 1, rows, columns},
        {&s->kept, "kept", a->kept, lstm || gru, rows, hidden},
        {&s->dy, "dy", a->dy, 0, rows, hidden},
        {&s->dh_n, "dh_n", a->dh_n, 0, batch, hidden},
        {&s->dc_n, "dc_n", a->dc_n, 0, batch, hidden},
        {&s->dx, "dx", a->dx, 0, rows, s->inputs},
        {&s->dw_ih, "dw_ih", a->dw_ih, 0, columns, s->inputs},
        {&s->dw_hh, "dw_hh", a->dw_hh, 0, columns, hidden},
        {&s->dh0, "dh0", a->dh0, gru || a->wants_state, batch, hidden},
        {&s->dc0, "dc0", a->dc0, lstm, batch, hidden},
    };
    for (size_t i = 0; !status && i < sizeof each / sizeof *each; i++)
        status = open_matrix(each[i].to, each[i].name, each[i].t, each[i].needed, each[i].rows, each[i].columns, err);
    if (!status) status = open_vector(&s->db_ih, "db_ih", a->db_ih, columns, err);
    if (!status) status = open_vector(&s->db_hh, "db_hh", a->db_hh, columns, err);
    s->wants_state = a->wants_state;
    return status;
}

void pe_sweep_close(pe_context *ctx, struct pe_sweep *s) { pe_free(ctx, s->starts); }
