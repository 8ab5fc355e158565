/* Lanes are channels, which lie last in source and out. Windows that slide (3 or 5 taps side by
 * side) read source itself, whole rows of it at a time. For others a block of columns goes down the image for a few
 * channels at a time: the rows of source that meet one row of out stay in L1, in a ring of copies with zeros where they
 * end. Where their taps are few and rows long the copy does not pay: whole rows of out read source itself, and a place
 * whose taps lie partly outside meets zeros there. */
#include "depthwise_paths.h"

#include <string.h>

static const double TAP_NS = 0.05, ELEMENT_NS = 0.3, RANGE_NS = 20000;
#define COLUMNS 64       /* of out at a time */
#define RING_FLOATS 6144 /* of L1 for the ring, where there are 16 channels for it or more */
#define LONG_ROW 16      /* of source */
#define FEW_TAPS 10      /* for each element of source */
#define MOST_ROWS 32     /* a block is so high, or less so that there are several */

struct job {
    const struct dw_task *task;
    const float *w;             /* every tap's channels, dense */
    int64_t rows, columns;      /* of a block of out */
    int64_t bands, blocks;      /* of them down and along the image */
    struct dw_ring ring;        /* for each plane of taps; without memory: each thread has its own */
    int direct;                 /* rows of out read source itself, not the ring */
    int slides, pairs;          /* and the windows slide, two rows of out at a time: kernels/depthwise.h */
    const float *zeros;         /* a row of source */
    int far;                    /* source and out lie behind the second cache: what comes next is asked for early */
    int failed;
};

/* A place q of a phase reads q * advance + origin + j * tap of source at the taps first + j * period. */
struct phase {
    int64_t q, number, first, period, taps, advance, origin, tap;
};

/* A block on its way: memory of its own, and what lies in it. */
struct walk {
    const struct job *job;
    const float **x, **w;      /* the rows that meet one row of out */
    const float **cells;       /* the cells that meet one place at the end of a row, and their weights */
    const float **factors;
    const float *ahead;        /* the rows of source that the next row of out meets first, where memory is far */
    struct dw_ring ring;
    float *start;
    int64_t image, z, low, high; /* low .. high: columns of out, of all phases */
    int64_t c, channels;       /* of this time */
    int64_t first, apart;      /* the column of source where the rows of x start, and from column to column */
    int64_t pair;              /* to the row of out that is written with the one that x's rows are of; 0: none, */
    int64_t down;              /* and so many rows of x down */
};

/* Phase `number` of an axis. */
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

/* The phase that place `at` of out belongs to. */
static struct phase phase_at(const struct dw_axis *a, int backward, int64_t at) {
    const int64_t q = floored(at - a->out_shift, a->step_out);
    struct phase p = phase_of(a, backward, at - a->out_shift - q * a->step_out);
    p.q = q;
    return p;
}

/* what places of an axis read of source at least and at most, whatever their phase */
static int64_t least_of(const struct dw_axis *a, int64_t at) {
    return floored(at - a->out_shift, a->step_out) * a->step_in + a->shift;
}
static int64_t span_of(const struct dw_axis *a) {
    return (a->step_out > 1 || a->step_in < a->step ? a->reach : (a->taps - 1) * a->spacing) + 1;
}

/* Row v of plane u of source, NULL outside. */
static const float *source_row(const struct walk *k, int64_t u, int64_t v) {
    const struct dw_task *t = k->job->task;
    const struct dw_axis *a = t->axis;
    if (u < 0 || u >= a[0].source || v < 0 || v >= a[1].source) return NULL;
    return t->source + k->image * t->source_n + u * a[0].s + v * a[1].s;
}

static void load_row(const struct walk *k, int64_t plane, int64_t u, int64_t v) {
    const struct dw_axis *a = &k->job->task->axis[2];
    const float *row = source_row(k, u, v);
    const float *ahead = k->job->far ? source_row(k, u, v + k->job->task->axis[1].step_in) : NULL;
    if (ahead) dw_ask(ahead + k->c, a->s, k->first, a->source, k->ring.width, k->channels);
    dw_ring_load(&k->ring, &k->job->task->ctx->kernels->gemm, dw_ring_row(&k->ring, plane, v), row ? row + k->c : NULL,
                 a->s, k->first, a->source, k->ring.width, k->channels);
}

/* Row i of out: its rows of source, of which those from *next on are still to be loaded (next NULL: none is), and of
 * the weight. */
static int64_t meet_rows(struct walk *k, int64_t i, int64_t *next) {
    const struct dw_task *t = k->job->task;
    const struct dw_axis *a = t->axis;
    const struct phase p = phase_at(&a[0], t->backward, k->z), r = phase_at(&a[1], t->backward, i);
    const int64_t v = least_of(&a[1], i), end = v + k->ring.height, from = next ? max64(*next, v) : end;
    int64_t rows = 0;
    for (int64_t x = 0; x < p.taps; x++) {
        const int64_t u = p.q * p.advance + p.origin + x * p.tap;
        for (int64_t y = from; y < end; y++) load_row(k, x, u, y);
        for (int64_t y = 0; y < r.taps; y++) {
            const int64_t at = r.q * r.advance + r.origin + y * r.tap;
            k->x[rows] = next ? dw_ring_row(&k->ring, x, at) : source_row(k, u, at);
            if (!k->x[rows]) k->x[rows] = k->job->zeros;
            k->w[rows++] = k->job->w + k->c +
                           ((p.first + x * p.period) * a[1].taps + r.first + y * r.period) * a[2].taps * t->width *
                               t->channels;
        }
    }
    if (next) *next = end;
    return rows;
}

/* Windows that slide, from the last place to the first where their taps go down the row. */
static void run_slide(const struct walk *k, const struct phase *p, int64_t rows, int64_t q, int64_t places,
                      float *out) {
    const struct dw_task *t = k->job->task;
    const struct dw_axis *a = &t->axis[2];
    const int64_t way = p->tap, first = (way < 0 ? q + places - 1 : q) * p->advance + p->origin;
    struct pe_depthwise_line line = {
        .x = k->x, .w = k->w, .rows = (size_t)rows, .taps = (size_t)p->taps, .x_first = first * k->apart,
        .x_place = way * p->advance * k->apart, .x_tap = way * k->apart, .w_first = p->first * t->channels,
        .w_tap = p->period * t->channels, .width = 1, .y_place = way * a->t, .bias = t->bias ? t->bias + k->c : NULL,
        .x_low = way < 0 ? first - a->source + 1 : -first, .x_high = way < 0 ? first + 1 : a->source - first,
        .x_outside = k->job->zeros, .y_pair = k->pair * t->axis[1].t, .down = (size_t)k->down,
    };
    if (k->ahead) {
        const int64_t steps = k->pair ? 2 : 1;
        line.ahead = k->ahead + k->c + line.x_first;
        line.ahead_rows = (size_t)(steps * t->axis[1].step_in), line.ahead_row = t->axis[1].s;
        line.ahead_columns = (size_t)p->advance, line.ahead_column = line.x_tap;
        line.y_ahead = steps * t->axis[1].t;
    }
    t->ctx->kernels->depthwise.line(&line, out + ((way < 0 ? q + places - 1 : q) + a->out_shift) * a->t,
                                    (size_t)places, (size_t)k->channels);
}

/* Places q .. of a phase, whose rows lie in k->x. */
static void run_places(const struct walk *k, const struct phase *p, int64_t rows, int64_t q, int64_t places, float *out,
                       const float *start) {
    const struct dw_task *t = k->job->task;
    const struct dw_axis *a = &t->axis[2];
    if (places <= 0) return;
    struct pe_depthwise_line line = {
        .x = k->x, .w = k->w, .rows = (size_t)rows, .taps = (size_t)p->taps,
        .x_first = (q * p->advance + p->origin - k->first) * k->apart,
        .x_place = p->advance * k->apart, .x_tap = p->tap * k->apart,
        .w_first = p->first * t->width * t->channels, .w_tap = p->period * t->width * t->channels,
        .width = (size_t)t->width, .w_part = t->channels,
        .x_low = PTRDIFF_MIN, .x_high = PTRDIFF_MAX,
        .y_place = a->step_out * a->t, .start = start, .start_place = k->ring.chunk,
        .bias = t->bias ? t->bias + k->c : NULL,
    };
    if (k->ahead) {
        line.ahead = k->ahead + k->c + line.x_first;
        line.ahead_rows = (size_t)t->axis[1].step_in, line.ahead_row = t->axis[1].s;
        line.ahead_columns = (size_t)p->advance, line.ahead_column = a->s;
        line.y_ahead = t->axis[1].t;
    }
    t->ctx->kernels->depthwise.line(&line, out + (q * a->step_out + p->number + a->out_shift) * a->t, (size_t)places,
                                    (size_t)k->channels);
}

/* Place q of a phase, some of whose taps lie outside: cell by cell. */
static void run_end(const struct walk *k, const struct phase *p, int64_t rows, int64_t q, float *out) {
    const struct dw_task *t = k->job->task;
    const struct dw_axis *a = &t->axis[2];
    const int64_t tap = t->width * t->channels;
    int64_t cells = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < p->taps; j++) {
            const int64_t at = q * p->advance + p->origin + j * p->tap;
            k->cells[cells] = at >= 0 && at < a->source ? k->x[r] + at * a->s : k->job->zeros;
            k->factors[cells++] = k->w[r] + (p->first + j * p->period) * tap;
        }
    const struct pe_depthwise_line line = {
        .x = k->cells, .w = k->factors, .rows = (size_t)cells, .taps = 1,
        .width = (size_t)t->width, .w_part = t->channels, .bias = t->bias,
    };
    t->ctx->kernels->depthwise.line(&line, out + (q * a->step_out + p->number + a->out_shift) * a->t, 1,
                                    (size_t)k->channels);
}

/* The places of a phase in columns low .. high. */
static void run_phase(const struct walk *k, int64_t rows, int64_t number, float *out, const float *start) {
    const struct dw_task *t = k->job->task;
    const struct dw_axis *a = &t->axis[2];
    const struct phase p = phase_of(a, t->backward, number);
    const int64_t first = ceiled(k->low - number - a->out_shift, a->step_out);
    const int64_t end = ceiled(k->high - number - a->out_shift, a->step_out);
    if (k->job->slides) {
        if (first < end) run_slide(k, &p, rows, first, end - first, out);
        return;
    }
    if (!k->job->direct) {
        run_places(k, &p, rows, first, end - first, out, start);
        return;
    }
    const int64_t last = p.origin + (p.taps - 1) * p.tap; /* inner .. outer: all their taps lie inside */
    int64_t inner = max64(first, ceiled(-min64(p.origin, last), p.advance));
    const int64_t outer = min64(end, ceiled(a->source - max64(p.origin, last), p.advance));
    inner = min64(inner, end);
    for (int64_t q = first; q < inner; q++) run_end(k, &p, rows, q, out);
    run_places(k, &p, rows, inner, outer - inner, out, NULL);
    for (int64_t q = max64(inner, outer); q < end; q++) run_end(k, &p, rows, q, out);
}

static void finish(const struct walk *k, float *out, const float *residual) {
    const struct dw_task *t = k->job->task;
    const int64_t apart = t->axis[2].t, places = k->high - k->low;
    const int dense = apart == k->channels;
    const ptrdiff_t step[1] = { 1 };
    for (int64_t i = 0; t->activation && i < (dense ? 1 : places); i++) {
        const void *in[1] = { out + i * apart };
        t->activation(out + i * apart, in, step, (size_t)(dense ? places * k->channels : k->channels));
    }
    if (residual) t->ctx->kernels->gemm.add(out, apart, residual, apart, 1, (size_t)places, (size_t)k->channels);
}

static void run_row(struct walk *k, int64_t i, int64_t *next) {
    const struct job *j = k->job;
    const struct dw_task *t = j->task;
    const struct dw_axis *a = t->axis;
    const int64_t at = k->image * t->out_n + k->z * a[0].t + i * a[1].t + k->c, low = k->low * a[2].t;
    const int64_t meet = meet_rows(k, i, next);
    k->ahead = j->far && j->direct ? source_row(k, k->z, least_of(&a[1], i) + j->ring.height) : NULL;
    if (t->start)
        t->ctx->kernels->gemm.copy(k->start, j->ring.chunk, t->start + at + low, a[2].t, 1, (size_t)(k->high - k->low),
                                   (size_t)k->channels);
    for (int64_t p = 0; p < a[2].step_out; p++) run_phase(k, meet, p, t->out + at, t->start ? k->start : NULL);
    finish(k, t->out + at + low, t->residual ? t->residual + at + low : NULL);
}

/* Rows i and i + 1, from source itself: the first of them that the taps come to, and the other one or two rows of x
 * later. */
static void run_pair(struct walk *k, int64_t i) {
    const struct job *j = k->job;
    const struct dw_task *t = j->task;
    const struct dw_axis *a = t->axis;
    const struct phase p = phase_at(&a[0], t->backward, k->z), r = phase_of(&a[1], t->backward, 0);
    const int64_t first = r.tap < 0 ? i + 1 : i;
    const int64_t rows = meet_rows(k, first, NULL);
    float *out = t->out + k->image * t->out_n + k->z * a[0].t;
    k->down = r.advance;
    for (int64_t x = rows; x < rows + r.advance; x++) {
        const int64_t at = phase_at(&a[1], t->backward, first).q * r.advance + r.origin + x * r.tap;
        const float *row = source_row(k, p.q * p.advance + p.origin, at);
        k->x[x] = row ? row : j->zeros;
    }
    k->ahead = j->far ? source_row(k, k->z, least_of(&a[1], i + 1) + j->ring.height) : NULL;
    k->pair = r.tap;
    run_phase(k, rows, 0, out + first * a[1].t, NULL);
    k->pair = 0;
    for (int64_t y = i; y < i + 2; y++)
        finish(k, out + y * a[1].t, t->residual ? t->residual + (out - t->out) + y * a[1].t : NULL);
}

/* Columns low .. high of some rows by way of the ring. */
static void run_block(struct walk *k, int64_t row, int64_t rows, int64_t low, int64_t high) {
    const struct job *j = k->job;
    const struct dw_task *t = j->task;
    k->low = low, k->high = high;
    k->first = least_of(&t->axis[2], low), k->apart = j->ring.chunk;
    for (k->c = 0; k->c < t->channels; k->c += j->ring.chunk) {
        int64_t next = INT64_MIN;
        k->channels = min64(j->ring.chunk, t->channels - k->c);
        for (int64_t i = row; i < row + rows; i++) run_row(k, i, &next);
    }
}

/* Whole rows from source itself. */
static void run_direct(struct walk *k, int64_t row, int64_t rows) {
    const struct dw_task *t = k->job->task;
    k->low = 0, k->high = t->axis[2].out;
    k->first = 0, k->apart = t->axis[2].s;
    k->c = 0, k->channels = t->channels;
    int64_t i = row;
    for (; k->job->pairs && i + 1 < row + rows; i += 2) run_pair(k, i);
    for (; i < row + rows; i++) run_row(k, i, NULL);
}

static void body(int64_t begin, int64_t end, void *arg) {
    struct job *j = arg;
    const struct dw_task *t = j->task;
    const struct dw_axis *a = t->axis;
    const int64_t taps = max64(a[0].taps * a[1].taps * a[2].taps, 1);
    const int64_t ring = max64(a[0].taps, 1) * dw_ring_floats(&j->ring);
    const int64_t share = a[0].out * j->bands * j->blocks, lists = parts(4 * taps * (int64_t)sizeof(float *), 64) * 64;
    const int64_t floats = ring + (t->start ? j->columns * j->ring.chunk : 0);
    char *memory = pe_alloc(t->ctx, (size_t)lists + (size_t)floats * sizeof(float));
    if (!memory) {
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    const float **list = (const float **)memory;
    struct walk k = { .job = j, .x = list, .w = list + taps, .cells = list + 2 * taps, .factors = list + 3 * taps,
                      .ring = j->ring };
    k.ring.floats = (float *)(memory + lists), k.start = k.ring.floats + ring;
    for (int64_t x = begin; x < end; x++) {
        const int64_t row = x / j->blocks % j->bands * j->rows, rows = min64(j->rows, a[1].out - row);
        const int64_t low = x % j->blocks * j->columns;
        k.image = x / share, k.z = x % share / (j->bands * j->blocks);
        if (j->direct) run_direct(&k, row, rows);
        else run_block(&k, row, rows, low, min64(low + j->columns, a[2].out));
    }
    pe_free(t->ctx, memory);
}

int dw_lines_suit(const struct dw_task *t) {
    return t->repeat == 1 && t->sum == 1 && t->channels >= 4 && t->source_c == 1 && t->out_c == 1;
}

/* Whether rows read source itself: where they are long and have few taps for each of its elements. */
static int reads_source(const struct dw_task *t) {
    const struct dw_axis *a = t->axis;
    const int64_t work = a[0].taps * a[1].taps * a[2].taps;
    const int64_t few = FEW_TAPS * a[1].step_in * a[2].step_in * a[1].step_out * a[2].step_out;
    if (t->start || work == 0 || a[2].s < t->channels) return 0;
    return work <= few && a[2].source >= LONG_ROW;
}

/* Whether a vector of source meets all windows that it is in at once. */
static int windows_slide(const struct dw_task *t) {
    const struct dw_axis *a = &t->axis[2];
    const struct phase p = phase_of(a, t->backward, 0);
    if (t->start || t->width > 1 || t->channels < t->ctx->kernels->vector_floats || a->step_out > 1) return 0;
    if (t->axis[0].taps * t->axis[1].taps > PE_DW_SLIDE_ROWS) return 0;
    return (p.taps == 3 || p.taps == 5) && (p.tap == 1 || p.tap == -1) && p.advance <= 2;
}

/* Whether two rows of out meet a vector of source at once. */
static int rows_pair(const struct dw_task *t) {
    const struct phase down = phase_of(&t->axis[1], t->backward, 0), along = phase_of(&t->axis[2], t->backward, 0);
    const int even = t->axis[0].taps == 1 && t->axis[0].step_out == 1 && t->axis[1].step_out == 1;
    const int alike = along.advance == down.advance && down.advance <= min64(down.taps, 2);
    return t->ctx->kernels->depthwise.pairs && windows_slide(t) && even && alike && (down.tap == 1 || down.tap == -1);
}

/* Channels of the ring: as many as L1 has room for, in whole lines. */
static void cut_blocks(struct job *j) {
    const struct dw_task *t = j->task;
    const struct dw_axis *a = t->axis;
    j->slides = windows_slide(t), j->pairs = rows_pair(t);
    j->direct = j->slides || reads_source(t);
    j->far = t->images * (t->source_n + t->out_n) > PE_DW_FAR_FLOATS;
    j->columns = j->direct ? a[2].out : min64(a[2].out, COLUMNS);
    j->blocks = parts(a[2].out, j->columns);
    struct dw_ring *ring = &j->ring;
    ring->height = span_of(&a[1]);
    ring->width = ((j->columns - 1) / a[2].step_out + (a[2].step_out > 1)) * a[2].step_in + span_of(&a[2]);
    ring->chunk = RING_FLOATS / (ring->width * ring->height * max64(a[0].taps, 1)) / 16 * 16;
    ring->chunk = j->direct ? 0 : min64(max64(ring->chunk, 16), t->channels);
    const int64_t alone = t->images * a[0].out * j->blocks; /* two or more blocks for each of many threads */
    j->rows = min64(min64(a[1].out, MOST_ROWS), max64(parts(a[1].out * alone, 16), 4));
    j->bands = parts(a[1].out, j->rows);
}

pe_status dw_by_lines(struct dw_task *t, pe_error *err) {
    const struct dw_axis *a = t->axis;
    const int64_t taps = a[0].taps * a[1].taps * a[2].taps * t->width;
    if (!t->images || !t->channels || !a[0].out || !a[1].out || !a[2].out) return PE_OK;
    struct job j = { .task = t };
    cut_blocks(&j);
    const int64_t floats = parts(taps * t->channels, 16) * 16, row = max64(a[2].source - 1, 0) * a[2].s + t->channels;
    float *w = pe_alloc(t->ctx, (size_t)(floats + row) * sizeof *w);
    if (!w) return pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for %lld weights", (long long)(taps * t->channels));
    j.w = w, j.zeros = w + floats;
    if (j.direct) memset(w + floats, 0, (size_t)row * sizeof *w);
    dw_pack(t, w);
    const int64_t items = t->images * a[0].out * j.bands * j.blocks;
    const double share = (double)taps / (double)(a[0].step_out * a[1].step_out * a[2].step_out);
    const double ns = (double)(j.rows * j.columns * t->channels) * (share * TAP_NS + ELEMENT_NS);
    const int64_t grain = max64(min64((int64_t)(RANGE_NS / ns), items / 8), 1);
    pe_parallel_for(t->ctx, items, grain, pe_threads_for(t->ctx, ns * (double)items), body, &j);
    pe_free(t->ctx, w);
    return j.failed ? pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for rows of the image") : PE_OK;
}
