/* Lanes are channels, which lie last in source and out: rows of places straight from memory to memory. Taps that lie
 * outside the source read a row of zeros. */
#include "depthwise_paths.h"

#include <string.h>

static const double TAP_NS = 0.05, ELEMENT_NS = 0.2, RANGE_NS = 20000;
#define BLOCK 128 /* places of a row at a time */
#define FEW 4     /* so many places are not worth a loop of their own */

struct job {
    const struct dw_task *task;
    const float *w, *zeros; /* w: every tap's channels, dense */
    int64_t blocks;         /* of a row */
    int failed;
};

/* Rows of source that one row of out meets, and the places of one phase of columns. */
struct row {
    const struct job *job;
    const float **x, **w;   /* of each row of taps */
    const float **tap_x, **tap_w; /* of each tap, for places at the edge */
    int64_t rows;
    int64_t low, high;      /* columns of out, of all phases */
    float *out;             /* column 0 */
    float *start;           /* column `low`, dense, or NULL */
};

/* Place q of a phase reads columns q * advance + origin + j * tap of source at the taps first + j * period. */
struct phase {
    int64_t number, first, period, taps, advance, origin, tap;
};

static struct phase phase_of(const struct dw_axis *a, int backward, int64_t number) {
    struct phase p = { .period = 1, .taps = a->taps, .advance = a->step_in, .origin = a->shift, .tap = a->spacing };
    if (!backward) return p;
    p = (struct phase){ .number = number, .advance = 1 };
    while (p.first < a->taps && p.first * a->spacing % a->step != number) p.first++;
    for (p.period = 1; p.period * a->spacing % a->step; p.period++) continue;
    if (p.first < a->taps) p.taps = (a->taps - 1 - p.first) / p.period + 1;
    p.origin = -(p.first * a->spacing / a->step);
    p.tap = -(p.period * a->spacing / a->step);
    return p;
}

static int64_t ceiling(int64_t a, int64_t b) { return -dw_floor(-a, b); }

/* rows of taps that the row (z, i) of out meets; a phase at a time, taps ascending */
static void meet_rows(struct row *r, int64_t image, int64_t z, int64_t i) {
    const struct dw_task *t = r->job->task;
    const int64_t place[2] = { z, i }, width = t->channels * t->axis[2].taps;
    int64_t q[2], number[2];
    struct phase p[2];
    for (int d = 0; d < 2; d++) {
        const struct dw_axis *a = &t->axis[d];
        q[d] = dw_floor(place[d] - a->out_shift, a->step_out);
        number[d] = place[d] - a->out_shift - q[d] * a->step_out;
        p[d] = phase_of(a, t->backward, number[d]);
    }
    r->rows = 0;
    for (int64_t a = 0; a < p[0].taps; a++) {
        int64_t u = q[0] * p[0].advance + p[0].origin + a * p[0].tap;
        for (int64_t b = 0; b < p[1].taps; b++) {
            int64_t v = q[1] * p[1].advance + p[1].origin + b * p[1].tap;
            int inside = u >= 0 && u < t->axis[0].source && v >= 0 && v < t->axis[1].source;
            r->x[r->rows] = inside ? t->source + image * t->source_n + u * t->axis[0].s + v * t->axis[1].s : r->job->zeros;
            r->w[r->rows++] = r->job->w + ((p[0].first + a * p[0].period) * t->axis[1].taps + p[1].first + b * p[1].period) * width;
        }
    }
}

static const float *start_at(const struct row *r, int64_t column) {
    return r->start ? r->start + (column - r->low) * r->job->task->channels : NULL;
}

/* A place with taps outside the source. */
static void run_edge(struct row *r, const struct phase *p, int64_t q) {
    const struct dw_task *t = r->job->task;
    const struct dw_axis *a = &t->axis[2];
    const int64_t column = q * a->step_out + p->number + a->out_shift;
    size_t taps = 0;
    for (int64_t i = 0; i < r->rows; i++) {
        for (int64_t j = 0; j < p->taps; j++) {
            int64_t at = q * p->advance + p->origin + j * p->tap;
            r->tap_x[taps] = at >= 0 && at < a->source ? r->x[i] + at * a->s : r->job->zeros;
            r->tap_w[taps++] = r->w[i] + (p->first + j * p->period) * t->channels;
        }
    }
    t->ctx->kernels->depthwise.place(r->tap_x, r->tap_w, taps, start_at(r, column), t->bias, r->out + column * a->t,
                                     (size_t)t->channels);
}

/* Places low .. high of a phase, all taps inside. */
static void run_inner(struct row *r, const struct phase *p, int64_t low, int64_t high) {
    const struct dw_task *t = r->job->task;
    const struct dw_axis *a = &t->axis[2];
    const int64_t column = low * a->step_out + p->number + a->out_shift;
    for (int64_t i = 0; i < r->rows; i++) {
        r->tap_x[i] = r->x[i] + (low * p->advance + p->origin) * a->s;
        r->tap_w[i] = r->w[i] + p->first * t->channels;
    }
    const struct pe_depthwise_line line = {
        .x = r->tap_x, .w = r->tap_w, .rows = (size_t)r->rows, .taps = (size_t)p->taps, .x_place = p->advance * a->s,
        .x_tap = p->tap * a->s, .w_tap = p->period * t->channels, .y_place = a->step_out * a->t,
        .start = start_at(r, column), .start_place = t->channels, .bias = t->bias,
    };
    t->ctx->kernels->depthwise.line(&line, r->out + column * a->t, (size_t)(high - low), (size_t)t->channels);
}

static void run_phase(struct row *r, int64_t number) {
    const struct dw_task *t = r->job->task;
    const struct dw_axis *a = &t->axis[2];
    const struct phase p = phase_of(a, t->backward, number);
    const int64_t q0 = ceiling(r->low - number - a->out_shift, a->step_out);
    const int64_t q1 = ceiling(r->high - number - a->out_shift, a->step_out);
    const int64_t last = p.origin + max64(p.taps - 1, 0) * p.tap, least = min64(p.origin, last), most = max64(p.origin, last);
    int64_t low = min64(max64(ceiling(-least, p.advance), q0), q1);
    int64_t high = max64(min64(ceiling(a->source - most, p.advance), q1), low);
    if (high - low < FEW) high = low;
    for (int64_t q = q0; q < low; q++) run_edge(r, &p, q);
    if (low < high) run_inner(r, &p, low, high);
    for (int64_t q = high; q < q1; q++) run_edge(r, &p, q);
}

static void finish(struct row *r, const float *residual) {
    const struct dw_task *t = r->job->task;
    const int64_t apart = t->axis[2].t, places = r->high - r->low;
    const ptrdiff_t step[1] = { 1 };
    float *y = r->out + r->low * apart;
    const int64_t length = apart == t->channels ? places * t->channels : t->channels;
    for (int64_t i = 0; t->activation && i * length < places * t->channels; i++) {
        const void *in[1] = { y + i * apart };
        t->activation(y + i * apart, in, step, (size_t)length);
    }
    if (residual)
        t->ctx->kernels->gemm.add(y, apart, residual + r->low * apart, apart, 1, (size_t)places, (size_t)t->channels);
}

static void body(int64_t begin, int64_t end, void *arg) {
    struct job *j = arg;
    const struct dw_task *t = j->task;
    const struct dw_axis *a = t->axis;
    const int64_t taps = a[0].taps * a[1].taps * max64(a[2].taps, 1), share = a[0].out * a[1].out * j->blocks;
    const size_t floats = t->start ? (size_t)(BLOCK * t->channels) : 0;
    const float **lists = pe_alloc(t->ctx, (size_t)taps * 4 * sizeof *lists + floats * sizeof(float) + 64);
    if (!lists) {
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    struct row r = { .job = j, .x = lists, .w = lists + taps, .tap_x = lists + 2 * taps, .tap_w = lists + 3 * taps };
    for (int64_t x = begin; x < end; x++) {
        const int64_t image = x / share, line = x % share / j->blocks, z = line / a[1].out, i = line % a[1].out;
        const int64_t at = image * t->out_n + z * a[0].t + i * a[1].t;
        r.low = x % j->blocks * BLOCK, r.high = min64(r.low + BLOCK, a[2].out);
        r.out = t->out + at;
        meet_rows(&r, image, z, i);
        if (t->start) {
            r.start = (float *)(lists + 4 * taps);
            t->ctx->kernels->gemm.copy(r.start, t->channels, r.out + r.low * a[2].t, a[2].t, 1, (size_t)(r.high - r.low),
                                       (size_t)t->channels);
        }
        for (int64_t p = 0; p < a[2].step_out; p++) run_phase(&r, p);
        finish(&r, t->residual ? t->residual + at : NULL);
    }
    pe_free(t->ctx, lists);
}

#define PACKED 256 /* channels at a time */

static void pack(int64_t begin, int64_t end, void *arg) {
    const struct dw_task *t = ((void **)arg)[0];
    float *to = ((void **)arg)[1];
    const struct dw_axis *a = t->axis;
    const int64_t k0 = a[0].taps, k1 = a[1].taps, k2 = a[2].taps, channels = end - begin;
    const int even = (k1 == 1 || t->w_k[1] == k2 * t->w_k[2]) && (k0 == 1 || t->w_k[0] == k1 * k2 * t->w_k[2]);
    const int64_t rows = even ? 1 : k0 * k1, taps = even ? k0 * k1 * k2 : k2;
    for (int64_t i = 0; i < rows; i++)
        t->ctx->kernels->gemm.copy(to + i * taps * t->channels + begin, t->channels,
                                   t->w + begin * t->w_group + i / k1 * t->w_k[0] + i % k1 * t->w_k[1], t->w_k[2],
                                   t->w_group, (size_t)taps, (size_t)channels);
}

int dw_lines_suit(const struct dw_task *t) {
    const struct dw_axis *a = &t->axis[2];
    return t->repeat == 1 && t->sum == 1 && t->channels >= 4 && t->source_c == 1 && t->out_c == 1 &&
           (a->source == 1 || (a->s >= t->channels && a->s <= 4 * t->channels));
}

pe_status dw_by_lines(struct dw_task *t, pe_error *err) {
    const struct dw_axis *a = t->axis;
    const int64_t taps = a[0].taps * a[1].taps * a[2].taps, packed = parts(taps * t->channels, 16) * 16;
    const int64_t row = a[2].source == 1 ? t->channels : a[2].source * a[2].s;
    if (!t->images || !t->channels || !a[0].out || !a[1].out || !a[2].out) return PE_OK;
    float *memory = pe_alloc(t->ctx, (size_t)(packed + max64(row, t->channels)) * sizeof *memory);
    if (!memory) return pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for a row of zeros");
    memset(memory + packed, 0, (size_t)max64(row, t->channels) * sizeof *memory);
    struct job j = { .task = t, .w = memory, .zeros = memory + packed, .blocks = parts(a[2].out, BLOCK) };
    void *weights[] = { t, memory };
    pe_parallel_for(t->ctx, t->channels, PACKED, 1, pack, weights);
    const int64_t items = t->images * a[0].out * a[1].out * j.blocks;
    const double share = (double)taps / (double)(a[0].step_out * a[1].step_out * a[2].step_out);
    const double ns = (double)(min64(a[2].out, BLOCK) * t->channels) * (share * TAP_NS + ELEMENT_NS);
    const int64_t grain = max64(min64((int64_t)(RANGE_NS / ns), items / 8), 1);
    pe_parallel_for(t->ctx, items, grain, pe_threads_for(t->ctx, ns * (double)items), body, &j);
    pe_free(t->ctx, memory);
    return j.failed ? pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for rows of the image") : PE_OK;
}
