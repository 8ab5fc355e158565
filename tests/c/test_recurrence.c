/* Recurrences against double precision: random modes, sizes, lengths and directions, with operands that touch
 * unreadable pages. Values one by one; gradients by what they say of random small changes of each argument. The same
 * bits on every number of threads, with a pack of the weight and without, for a sequence alone and in a batch; and what
 * is refused.
 *
 * Bounds, with u = 2^-24: a state is off by at most 64 u (H + in + 8), since the weights are so small that what is off
 * in one step fades in the next; a gradient's sum along a direction by 3e-5 of the sum of its absolute terms. */
#include "guarded.h"

enum { CASES = 60, MOST_STEPS = 9 };
enum { X, W_IH, W_HH, B_IH, B_HH, H0, C0, Y, H_N, C_N, GATES, KEPT, DY, DH_N, DC_N, DX, DW_IH, DW_HH, DB_IH, DB_HH, DH0,
       DC0, OPERANDS };
static const int INPUTS = C0 + 1, GATES_OF[] = {1, 1, 4, 3};

struct layer {
    int mode, backwards, gates;
    int64_t steps, batch, in, hidden, rows, sizes[MOST_STEPS], starts[MOST_STEPS];
    struct operand o[OPERANDS];
    pe_tensor t[OPERANDS]; /* as the calls get them: biases are vectors */
};

static float *at(const pe_tensor *t, int64_t i, int64_t j) {
    if (t->ndim == 1) return (float *)((char *)t->data + j * t->strides[0]);
    return (float *)((char *)t->data + i * t->strides[0] + j * t->strides[1]);
}

static void make_operand(struct layer *l, int which, int64_t rows, int64_t columns, float scale, int plain) {
    const int vector = which == B_IH || which == B_HH || which == DB_IH || which == DB_HH;
    struct operand *o = &l->o[which];
    *o = make_guarded(PE_FLOAT32, rows, columns, !vector && !plain && draw(2) ? WIDE_ROWS : ROWS, (int)draw(2));
    l->t[which] = o->t;
    if (vector) {
        l->t[which].ndim = 1;
        l->t[which].shape[0] = columns;
        l->t[which].strides[0] = 4;
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) *at(&o->t, i, j) = scale * draw_float();
}

static struct layer make_layer(int mode, int64_t steps, int64_t batch, int64_t in, int64_t hidden, int ragged,
                               int plain) {
    struct layer l = {.mode = mode, .backwards = (int)draw(2), .gates = GATES_OF[mode], .steps = steps, .batch = batch,
                      .in = in, .hidden = hidden};
    for (int64_t t = 0; t < steps && ragged; t++) {
        l.sizes[t] = t ? l.sizes[t - 1] - (int64_t)draw((uint32_t)l.sizes[t - 1]) / 2 : batch;
        l.starts[t] = l.rows;
        l.rows += l.sizes[t];
    }
    if (!ragged) l.rows = steps * batch;
    const int64_t n = l.gates * hidden, r = l.rows, sizes[OPERANDS][2] = {
        {r, in}, {n, in}, {n, hidden}, {1, n}, {1, n}, {batch, hidden}, {batch, hidden}, {r, hidden}, {batch, hidden},
        {batch, hidden}, {r, n}, {r, hidden}, {r, hidden}, {batch, hidden}, {batch, hidden}, {r, in}, {n, in},
        {n, hidden}, {1, n}, {1, n}, {batch, hidden}, {batch, hidden}};
    for (int i = 0; i < OPERANDS; i++)
        make_operand(&l, i, sizes[i][0], sizes[i][1], i == W_IH || i == W_HH ? 0.6f / sqrtf((float)hidden) : 0.5f,
                     plain);
    return l;
}

static void drop_layer(struct layer *l) {
    for (int i = 0; i < OPERANDS; i++) drop(&l->o[i]);
}

static int64_t size_of(const struct layer *l, int64_t t) { return l->sizes[0] ? l->sizes[t] : l->batch; }
static int64_t start_of(const struct layer *l, int64_t t) { return l->sizes[0] ? l->starts[t] : t * l->batch; }

static pe_status forward(struct layer *l, int keep, const void *packed, pe_error *err) {
    const int lstm = l->mode == PE_LSTM;
    pe_tensor *t = l->t;
    return pe_recurrence(pe_default_context(), &(pe_recurrence_args){
        l->mode, l->backwards, l->steps, l->sizes[0] ? l->sizes : NULL, t + X, t + W_IH, t + W_HH, t + B_IH, t + B_HH,
        t + H0, lstm ? t + C0 : NULL, t + Y, t + H_N, lstm ? t + C_N : NULL, keep ? t + GATES : NULL,
        keep ? t + KEPT : NULL, NULL, packed}, err);
}

static pe_status backward(struct layer *l, pe_error *err) {
    const int lstm = l->mode == PE_LSTM;
    pe_tensor *t = l->t;
    return pe_recurrence_backward(pe_default_context(), &(pe_recurrence_backward_args){
        l->mode, l->backwards, l->steps, l->sizes[0] ? l->sizes : NULL, t + X, t + W_IH, t + W_HH, t + H0,
        lstm ? t + C0 : NULL, t + Y, t + GATES, t + KEPT, t + DY, t + DH_N, lstm ? t + DC_N : NULL, t + DX, t + DW_IH,
        t + DW_HH, t + DB_IH, t + DB_HH, t + DH0, lstm ? t + DC0 : NULL, 1, 0}, err);
}

/* ---- the definition, in double, of arguments moved by `far` along `way` ---- */

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double moved(const struct layer *l, int which, int64_t i, int64_t j, int changed, double far, const float *way) {
    const pe_tensor *t = &l->t[which];
    const int64_t columns = t->ndim == 1 ? t->shape[0] : t->shape[1];
    return *at(t, i, j) + (which == changed ? far * way[i * columns + j] : 0);
}
#define IN(which, i, j) moved(l, which, i, j, changed, far, way)

/* h and c of one row after one more step */
static void one_step(const struct layer *l, int64_t row, double *h, double *c, int changed, double far,
                     const float *way) {
    const int64_t n = l->hidden;
    double *a = malloc((size_t)(2 * l->gates * n) * sizeof *a), *b = a + l->gates * n;
    for (int64_t q = 0; q < l->gates * n; q++) {
        a[q] = IN(B_IH, 0, q), b[q] = IN(B_HH, 0, q);
        for (int64_t p = 0; p < l->in; p++) a[q] += IN(W_IH, q, p) * IN(X, row, p);
        for (int64_t p = 0; p < n; p++) b[q] += IN(W_HH, q, p) * h[p];
    }
    for (int64_t u = 0; u < n; u++) {
        if (l->mode == PE_RNN_TANH) h[u] = tanh(a[u] + b[u]);
        if (l->mode == PE_RNN_RELU) h[u] = fmax(a[u] + b[u], 0);
        if (l->mode == PE_GRU) {
            const double new = tanh(a[2 * n + u] + sigmoid(a[u] + b[u]) * b[2 * n + u]);
            h[u] = new + sigmoid(a[n + u] + b[n + u]) * (h[u] - new);
        }
        if (l->mode != PE_LSTM) continue;
        c[u] = sigmoid(a[n + u] + b[n + u]) * c[u] + sigmoid(a[u] + b[u]) * tanh(a[2 * n + u] + b[2 * n + u]);
        h[u] = sigmoid(a[3 * n + u] + b[3 * n + u]) * tanh(c[u]);
    }
    free(a);
}

/* sum of dy y + dh_n h_n + dc_n c_n; where compare is set the results are checked, too */
static double value(const struct layer *l, int changed, double far, const float *way, int compare) {
    const double room = 64 * (double)(l->hidden + l->in + 8) / 16777216;
    double sum = 0, *h = malloc((size_t)(2 * l->hidden) * sizeof *h), *c = h + l->hidden;
    for (int64_t r = 0; r < l->batch; r++) {
        for (int64_t u = 0; u < l->hidden; u++) h[u] = IN(H0, r, u), c[u] = IN(C0, r, u);
        for (int64_t x = 0; x < l->steps; x++) {
            const int64_t t = l->backwards ? l->steps - 1 - x : x, row = start_of(l, t) + r;
            if (r >= size_of(l, t)) continue;
            one_step(l, row, h, c, changed, far, way);
            for (int64_t u = 0; u < l->hidden; u++) {
                sum += h[u] * *at(&l->t[DY], row, u);
                if (compare) CHECK(fabs(h[u] - *at(&l->t[Y], row, u)) <= room);
            }
        }
        for (int64_t u = 0; u < l->hidden; u++) {
            sum += h[u] * *at(&l->t[DH_N], r, u);
            if (compare) CHECK(fabs(h[u] - *at(&l->t[H_N], r, u)) <= room);
            if (l->mode != PE_LSTM) continue;
            sum += c[u] * *at(&l->t[DC_N], r, u);
            if (compare) CHECK(fabs(c[u] - *at(&l->t[C_N], r, u)) <= 2 * room);
        }
    }
    free(h);
    return sum;
}

static void against_double(struct layer *l) {
    static const int gradient[] = {DX, DW_IH, DW_HH, DB_IH, DB_HH, DH0, DC0};
    CHECK(!forward(l, 1, NULL, NULL));
    CHECK(!backward(l, NULL));
    value(l, -1, 0, NULL, 1);
    for (int which = 0; which < INPUTS; which++) {
        if (l->mode == PE_RNN_RELU || (which == C0 && l->mode != PE_LSTM)) continue; /* relu has kinks */
        const pe_tensor *t = &l->t[which], *d = &l->t[gradient[which]];
        const int64_t rows = t->ndim == 1 ? 1 : t->shape[0], columns = t->shape[t->ndim - 1];
        float *way = malloc((size_t)(rows * columns) * sizeof *way);
        double along = 0, all = 0;
        for (int64_t i = 0; i < rows * columns; i++) {
            way[i] = draw_float();
            const double part = *at(d, i / columns, i % columns) * way[i];
            along += part, all += fabs(part);
        }
        const double slope = (value(l, which, 1e-4, way, 0) - value(l, which, -1e-4, way, 0)) / 2e-4;
        CHECK(fabs(along - slope) <= 3e-5 * all + 1e-6);
        free(way);
    }
}

/* ---- the same bits ---- */

static size_t bytes_of(const pe_tensor *t) { return (size_t)pe_numel(t) * sizeof(float); }

/* Everything that is written, on one thread and on several; then a pack and no derivative. */
static void threads(int mode, int64_t steps, int64_t batch, int64_t hidden) {
    pe_context *ctx = pe_default_context();
    struct layer l = make_layer(mode, steps, batch, 40, hidden, 0, 1);
    const struct sharing before = begin_sharing(ctx);
    char *first[OPERANDS] = {0};
    for (int turn = 0, count = 1; count <= 4 && turn < 300; turn++, count += count < 4 || was_shared(ctx, &before)) {
        pe_set_num_threads(ctx, count);
        CHECK(!forward(&l, 1, NULL, NULL));
        CHECK(!backward(&l, NULL));
        for (int i = Y; i < OPERANDS; i++) {
            const size_t size = bytes_of(&l.t[i]);
            if (!first[i]) first[i] = memcpy(malloc(size), l.t[i].data, size);
            else CHECK(!memcmp(first[i], l.t[i].data, size));
        }
    }
    size_t bytes = 0;
    CHECK(!pe_recurrence_pack_bytes(ctx, &l.t[W_HH], l.gates, &bytes, NULL));
    void *packed = pe_alloc(ctx, bytes);
    CHECK(!pe_recurrence_pack(ctx, &l.t[W_HH], l.gates, packed, NULL));
    memset(l.t[Y].data, 0, bytes_of(&l.t[Y]));
    CHECK(!forward(&l, 0, packed, NULL));
    CHECK(!memcmp(first[Y], l.t[Y].data, bytes_of(&l.t[Y])) && !memcmp(first[H_N], l.t[H_N].data, bytes_of(&l.t[H_N])));
    pe_free(ctx, packed);
    end_sharing(ctx, &before);
    for (int i = 0; i < OPERANDS; i++) free(first[i]);
    drop_layer(&l);
}

static void alone_and_in_a_batch(int mode) {
    struct layer many = make_layer(mode, 5, 40, 7, 70, 0, 1), one = make_layer(mode, 5, 1, 7, 70, 0, 1);
    one.backwards = many.backwards;
    for (int i = W_IH; i <= B_HH; i++) memcpy(one.t[i].data, many.t[i].data, bytes_of(&one.t[i]));
    CHECK(!forward(&many, 0, NULL, NULL));
    for (int64_t r = 0; r < 40; r += 13) {
        for (int64_t t = 0; t < 5; t++) memcpy(at(&one.t[X], t, 0), at(&many.t[X], t * 40 + r, 0), 7 * sizeof(float));
        for (int i = H0; i <= C0; i++) memcpy(one.t[i].data, at(&many.t[i], r, 0), 70 * sizeof(float));
        CHECK(!forward(&one, 0, NULL, NULL));
        for (int64_t t = 0; t < 5; t++) CHECK(!memcmp(at(&one.t[Y], t, 0), at(&many.t[Y], t * 40 + r, 0), 70 * 4));
    }
    drop_layer(&many);
    drop_layer(&one);
}

static void refusals(void) {
    pe_error err;
    pe_context *ctx = pe_default_context();
    struct layer l = make_layer(PE_LSTM, 3, 4, 5, 6, 1, 1);
    CHECK(pe_recurrence(ctx, NULL, &err) == PE_ERR_ARGUMENT);
    CHECK(pe_recurrence_backward(ctx, NULL, &err) == PE_ERR_ARGUMENT);
    l.mode = 4;
    CHECK(forward(&l, 1, NULL, &err) == PE_ERR_ARGUMENT && strstr(err.message, "mode 4"));
    l.mode = PE_LSTM;
    l.sizes[1] = 5;
    CHECK(forward(&l, 1, NULL, &err) == PE_ERR_SHAPE && strstr(err.message, "5 rows in step 1"));
    l.sizes[1] = 0;
    CHECK(backward(&l, &err) == PE_ERR_SHAPE);
    l.sizes[0] = 0; /* all alike */
    l.steps = 0;
    CHECK(forward(&l, 1, NULL, &err) == PE_ERR_ARGUMENT);
    l.steps = INT64_MAX;
    CHECK(forward(&l, 1, NULL, &err) == PE_ERR_SHAPE);
    drop_layer(&l);
    l = make_layer(PE_GRU, 3, 4, 5, 6, 0, 1);
    _Alignas(64) char no_pack[64] = {0};
    CHECK(forward(&l, 1, no_pack, &err) == PE_ERR_ARGUMENT && strstr(err.message, "packed"));
    for (int i = 0; i <= DH0; i++) {
        if (i == C0 || i == C_N || i == DC_N) continue;
        l.t[i].shape[l.t[i].ndim - 1]--;
        CHECK((i >= DY || i == GATES ? backward(&l, &err) : forward(&l, 1, NULL, &err)) == PE_ERR_SHAPE);
        l.t[i].shape[l.t[i].ndim - 1]++;
        l.t[i].dtype = PE_INT32;
        CHECK((i >= DY || i == GATES ? backward(&l, &err) : forward(&l, 1, NULL, &err)) == PE_ERR_DTYPE);
        l.t[i].dtype = PE_FLOAT32;
    }
    l.t[Y].strides[1] = 8;
    CHECK(forward(&l, 1, NULL, &err) == PE_ERR_ARGUMENT && strstr(err.message, "side by side"));
    l.t[Y].strides[1] = 4;
    CHECK(!forward(&l, 1, NULL, &err) && !backward(&l, &err));
    drop_layer(&l);
}

int main(void) {
    static const int64_t hidden[] = {1, 2, 5, 8, 15, 16, 17, 31, 33, 64, 65, 70, 130};
    for (int i = 0; i < CASES; i++) {
        const int64_t n = hidden[draw(sizeof hidden / sizeof *hidden)], steps = 1 + draw(n > 64 ? 3 : MOST_STEPS);
        struct layer l = make_layer((int)draw(4), steps, 1 + draw(n > 32 ? 7 : 30), 1 + draw(20), n, (int)draw(2), 0);
        against_double(&l);
        drop_layer(&l);
    }
    threads(PE_LSTM, 50, 1, 200);
    threads(PE_GRU, 30, 3, 260);
    threads(PE_RNN_TANH, 30, 50, 130);
    threads(PE_LSTM, 40, 33, 96);
    for (int mode = 0; mode < 4; mode++) alone_and_in_a_batch(mode);
    refusals();
    return check_report();
}
