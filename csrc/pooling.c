/* pe_max_pool and pe_avg_pool: rows of outputs. Where channels lie last, a vector runs over the channels of a place;
 * else over the outputs of a row whose windows lie inside, and those at its ends come one by one. */
#include "pooling.h"

/* one element of a window, from L2, AVX2, in nanoseconds */
static const double TAP_NS = 0.15;

/* ---- checks ---- */

static pe_status check_one(const char *name, const char *argument, const pe_tensor *t, const pe_tensor *like, int dtype,
                           pe_error *err) {
    pe_status status = pe_check_dtype(t, dtype, name, argument, err);
    if (status) return status;
    if (t->ndim < 3 || t->ndim > 5 || t->ndim != like->ndim)
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s must have 3 to 5 axes, as all have, has %d", name, argument,
                       (int)t->ndim);
    for (int axis = 0; axis < 2; axis++)
        if (t->shape[axis] != like->shape[axis])
            return pe_fail(err, PE_ERR_SHAPE, axis, "%s: %s has %lld instead of %lld on axis %d", name, argument,
                           (long long)t->shape[axis], (long long)like->shape[axis], axis);
    return PE_OK;
}

/* Products of what is read here do not overflow later. */
static pe_status read_axis(const char *name, const pe_pool_args *a, int i, int axis, struct pe_pooling *p,
                           pe_error *err) {
    const int64_t kernel = a->kernel[i], step = kernel ? a->step[i] : 1, spacing = kernel ? a->spacing[i] : 1;
    const int64_t before = kernel ? a->before[i] : 0, size = a->x->shape[2 + i], places = a->y->shape[2 + i];
    const int64_t most = (int64_t)1 << 61;
    int64_t reach, last;
    if (kernel < 0 || step < 1 || spacing < 1 || before < 0 || before > most || size > most / 4 ||
        __builtin_mul_overflow(kernel, spacing, &reach) || reach > most ||
        __builtin_mul_overflow(places, kernel ? step : size + 1, &last) || last > most)
        return pe_fail(err, PE_ERR_ARGUMENT, i, "%s: kernel %lld, step %lld, spacing %lld, padding %lld on axis %d",
                       name, (long long)kernel, (long long)step, (long long)spacing, (long long)before, i);
    p->size[axis] = size, p->places[axis] = places, p->kernel[axis] = kernel;
    p->step[axis] = step, p->spacing[axis] = spacing, p->before[axis] = before;
    return PE_OK;
}

pe_status pe_pooling_read(pe_context *ctx, const char *name, const pe_pool_args *a, int maximum, struct pe_pooling *p,
                          int *empty, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    pe_status status = pe_check_tensor(a->x, name, "x", err);
    if (!status) status = check_one(name, "x", a->x, a->x, PE_FLOAT32, err);
    if (!status) status = check_one(name, "y", a->y, a->x, PE_FLOAT32, err);
    if (!status && maximum && a->place) status = check_one(name, "place", a->place, a->y, PE_INT32, err);
    if (status) return status;
    const pe_tensor *place = maximum ? a->place : NULL;
    if (place && !pe_same_shape(place, a->y))
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: place of shape %s must have y's shape", name,
                       pe_shape_text(place, text));
    *p = (struct pe_pooling){ .kernels = &ctx->kernels->pooling, .size = { 1, 1, 1 }, .places = { 1, 1, 1 },
                              .kernel = { 1, 1, 1 }, .step = { 1, 1, 1 }, .spacing = { 1, 1, 1 },
                              .include_padding = a->include_padding, .divisor = a->divisor,
                              .x = a->x->data, .y = a->y->data, .place = place ? place->data : NULL };
    for (int i = 0; i < a->x->ndim - 2; i++) {
        status = read_axis(name, a, i, PE_POOL_AXES - (a->x->ndim - 2) + i, p, err);
        if (status) return status;
    }
    p->inputs = p->size[0] * p->size[1] * p->size[2], p->outputs = p->places[0] * p->places[1] * p->places[2];
    if (place && p->inputs > INT32_MAX)
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: x of shape %s: places do not fit int32", name,
                       pe_shape_text(a->x, text));
    *empty = pe_numel(a->x) == 0 || pe_numel(a->y) == 0;
    const int64_t n = a->x->shape[0], c = a->x->shape[1];
    const int rows = pe_is_contiguous(a->x) && pe_is_contiguous(a->y) && (!place || pe_is_contiguous(place));
    const int last = pe_is_channels_last(a->x) && pe_is_channels_last(a->y) && (!place || pe_is_channels_last(place));
    if (!*empty && !rows && !last)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: x of shape %s and the others must be dense, of one memory format",
                       name, pe_shape_text(a->x, text));
    p->lanes = last && (!rows || c > 1), p->channels = p->lanes ? c : 1, p->images = p->lanes ? n : n * c;
    p->inputs *= p->channels, p->outputs *= p->channels;
    return PE_OK;
}

/* ---- rows ---- */

double pe_pooling_taps(const struct pe_pooling *p) {
    double taps = 1;
    for (int d = 0; d < PE_POOL_AXES; d++)
        taps *= p->kernel[d] ? (double)p->kernel[d] : 1 + (double)p->size[d] / (double)p->places[d];
    return taps;
}

struct pe_pool_span pe_pool_inside(const struct pe_pooling *p, int axis, int64_t at) {
    const int64_t size = p->size[axis], spacing = p->spacing[axis], kernel = p->kernel[axis];
    if (!kernel) {
        const int64_t from = at * size / p->places[axis], taps = parts((at + 1) * size, p->places[axis]) - from;
        return (struct pe_pool_span){ from, taps, p->divisor != 0 ? 1 : (double)taps };
    }
    const int64_t start = at * p->step[axis] - p->before[axis];
    const int64_t low = start < 0 ? ceiled(-start, spacing) : 0;
    const int64_t high = start < size ? min64(kernel, ceiled(size - start, spacing)) : 0, taps = max64(high - low, 0);
    const int64_t from = taps ? start + low * spacing : 0;
    const int64_t padded = min64(start + kernel, size + p->before[axis]) - start;
    return (struct pe_pool_span){ from, taps, p->divisor != 0 ? 1 : (double)(p->include_padding ? padded : taps) };
}

struct rows {
    const struct pe_pooling *p;
    const int64_t *sizes;
    pe_pool_row *body;
};

static void run_rows(int64_t begin, int64_t end, void *arg) {
    const struct rows *r = arg;
    int64_t at[2] = { begin / r->sizes[1] % r->sizes[0], begin % r->sizes[1] };
    int64_t image = begin / r->sizes[1] / r->sizes[0];
    for (int64_t row = begin; row < end; row++) {
        r->body(r->p, row, at, image);
        if (++at[1] < r->sizes[1]) continue;
        at[1] = 0;
        if (++at[0] < r->sizes[0]) continue;
        at[0] = 0;
        image++;
    }
}

pe_status pe_pooling_run(pe_context *ctx, const char *name, struct pe_pooling *p, const int64_t sizes[PE_POOL_AXES],
                         pe_pool_spanner *spanner, pe_pool_row *body, double nanoseconds, pe_error *err) {
    struct pe_pool_span *spans = pe_alloc(ctx, (size_t)(sizes[0] + sizes[1] + sizes[2]) * sizeof *spans), *next = spans;
    if (!spans) return pe_fail(err, PE_ERR_MEMORY, -1, "%s: no memory for the places of windows", name);
    for (int axis = 0; axis < PE_POOL_AXES; axis++) {
        p->along[axis] = next;
        for (int64_t at = 0; at < sizes[axis]; at++) *next++ = spanner(p, axis, at);
    }
    struct rows r = { p, sizes, body };
    const int64_t row = sizes[2] * p->channels;
    const int64_t rows = p->images * sizes[0] * sizes[1];
    pe_parallel_for(ctx, rows, 1 + 4096 / row, pe_threads_for(ctx, nanoseconds), run_rows, &r);
    pe_free(ctx, spans);
    return PE_OK;
}

/* ---- outputs ---- */

/* Where a row's inner windows begin and end, those that lie inside along it: one step apart, so a vector holds them. */
static void inner(const struct pe_pooling *p, int64_t *begin, int64_t *end) {
    *begin = *end = 0;
    if (p->lanes || !p->kernel[2]) return;
    const int64_t last = p->size[2] - 1 + p->before[2] - p->spacing[2] * (p->kernel[2] - 1);
    *begin = min64(ceiled(p->before[2], p->step[2]), p->places[2]);
    *end = last < 0 ? *begin : max64(min64(last / p->step[2] + 1, p->places[2]), *begin);
}

/* windows begin .. end of a row whose data starts at x, one by one */
static void run_windows(const struct pe_pooling *p, const struct pe_pool_window *w, const float *x, int64_t begin,
                        int64_t end, int64_t to, double divisor, int maximum) {
    const struct pe_pool_span *along = p->along[2] + begin;
    const size_t n = (size_t)p->channels, count = (size_t)(end - begin);
    float *y = p->y + to + begin * p->channels;
    if (begin >= end) return;
    if (maximum)
        p->kernels->max(x, 1, 0, n, w, along, count, y, p->place ? p->place + to + begin * p->channels : NULL);
    else
        p->kernels->mean(x, 1, n, w, along, count, divisor, y);
}

/* A row of outputs from rows of inputs at x. */
static void run_row(const struct pe_pooling *p, const struct pe_pool_window *w, const float *x, int64_t to,
                    double divisor, int maximum) {
    int64_t begin, end;
    inner(p, &begin, &end);
    run_windows(p, w, x, 0, begin, to, divisor, maximum);
    if (begin < end && maximum)
        p->kernels->max(x, p->step[2], (int32_t)p->step[2], (size_t)(end - begin), w, p->along[2] + begin, 1,
                        p->y + to + begin, p->place ? p->place + to + begin : NULL);
    else if (begin < end)
        p->kernels->mean(x, p->step[2], (size_t)(end - begin), w, p->along[2] + begin, 1, divisor, p->y + to + begin);
    run_windows(p, w, x, end, p->places[2], to, divisor, maximum);
}

static struct pe_pool_window window_of(const struct pe_pooling *p, const int64_t at[2]) {
    const int64_t apart[3] = { p->size[1] * p->size[2], p->size[2], 1 };
    struct pe_pool_window w = { .unit = p->channels };
    for (int d = 0; d < 3; d++) {
        w.apart[d] = p->spacing[d] * apart[d] * p->channels;
        w.apart_place[d] = (int32_t)(p->spacing[d] * apart[d]);
    }
    for (int d = 0; d < 2; d++) {
        w.taps[d] = (size_t)p->along[d][at[d]].taps;
        w.first += (int32_t)(p->along[d][at[d]].from * apart[d]);
    }
    return w;
}

static const float *row_start(const struct pe_pooling *p, const int64_t at[2], int64_t image) {
    const int64_t row = p->along[0][at[0]].from * p->size[1] + p->along[1][at[1]].from;
    return p->x + image * p->inputs + row * p->size[2] * p->channels;
}

static void max_row(const struct pe_pooling *p, int64_t row, const int64_t at[2], int64_t image) {
    const struct pe_pool_window w = window_of(p, at);
    run_row(p, &w, row_start(p, at, image), row * p->places[2] * p->channels, 0, 1);
}

static void mean_row(const struct pe_pooling *p, int64_t row, const int64_t at[2], int64_t image) {
    const struct pe_pool_window w = window_of(p, at);
    const double lines = p->along[0][at[0]].count * p->along[1][at[1]].count;
    run_row(p, &w, row_start(p, at, image), row * p->places[2] * p->channels, p->divisor != 0 ? p->divisor : lines, 0);
}

static pe_status pool(pe_context *ctx, const char *name, const pe_pool_args *args, int maximum, pe_error *err) {
    struct pe_pooling p;
    int empty;
    pe_status status = pe_pooling_read(ctx, name, args, maximum, &p, &empty, err);
    if (status || empty) return status;
    const double outputs = (double)p.images * (double)p.outputs;
    return pe_pooling_run(ctx, name, &p, p.places, pe_pool_inside, maximum ? max_row : mean_row,
                          outputs * (pe_pooling_taps(&p) + 4) * TAP_NS, err);
}

pe_status pe_max_pool(pe_context *ctx, const pe_pool_args *args, pe_error *err) {
    return pool(ctx, "max_pool", args, 1, err);
}

pe_status pe_avg_pool(pe_context *ctx, const pe_pool_args *args, pe_error *err) {
    return pool(ctx, "avg_pool", args, 0, err);
}
