/* pe_max_pool and pe_avg_pool: rows of outputs. Where channels lie last, a vector runs over the channels of a place;
 * else over the outputs of a row whose windows lie inside, and those at its ends come one by one. */
#include "pooling.h"

#include <string.h>

/* one element of a window, from L2, AVX2, in nanoseconds */
static const double TAP_NS = 0.15;

/* ---- checks ---- */

static pe_status check_one(const char *name, const char *argument, const pe_tensor *t, const pe_tensor *like, int dtype,
                           pe_error *err) {
    pe_status status = pe_check_tensor(t, name, argument, err);
    if (status) return status;
    if (t->dtype != dtype)
        return pe_fail(err, PE_ERR_DTYPE, -1, "%s: %s must be %s, is %s", name, argument, pe_dtype_name(dtype),
                       pe_dtype_name(t->dtype));
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
    if (place && memcmp(place->shape, a->y->shape, sizeof(int64_t) * (size_t)place->ndim))
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

/* ---- windows ---- */

struct job {
    struct pe_pooling p;
    int maximum;
    int64_t inner, inner_end; /* outputs of a row whose windows lie inside along it, one step apart */
};

/* how many elements a window counts along an axis, `taps` of them inside */
static int64_t counted(const struct pe_pooling *p, int axis, int64_t at, int64_t taps) {
    if (!p->include_padding || !p->kernel[axis]) return taps;
    const int64_t start = at * p->step[axis] - p->before[axis];
    return min64(start + p->kernel[axis], p->size[axis] + p->before[axis]) - start;
}

/* n windows side by side, the first one's data at x, into y[to ..] */
static void run_window(const struct job *j, const struct pe_pool_window *w, const float *x, int64_t n, double count,
                       int64_t to) {
    const struct pe_pooling *p = &j->p;
    const ptrdiff_t lane = p->lanes ? 1 : p->step[2];
    if (j->maximum) p->kernels->max(x, lane, (size_t)n, w, p->y + to, p->place ? p->place + to : NULL);
    else p->kernels->mean(x, lane, (size_t)n, w, (float)(p->divisor != 0 ? p->divisor : count), p->y + to);
}

static void run_row(const struct job *j, int64_t row) {
    const struct pe_pooling *p = &j->p;
    const int64_t unit = p->channels, apart[3] = { p->size[1] * p->size[2], p->size[2], 1 };
    int64_t at[3], from[3], to = row * p->places[2] * unit;
    const int64_t image = pe_pooling_row(p->places, row, at);
    struct pe_pool_window w = { .lane_place = p->lanes ? 0 : (int32_t)p->step[2] };
    double lines = 1;
    for (int d = 0; d < 3; d++) {
        w.apart[d] = p->spacing[d] * apart[d] * unit;
        w.apart_place[d] = (int32_t)(p->spacing[d] * apart[d]);
    }
    for (int d = 0; d < 2; d++) {
        w.taps[d] = (size_t)pe_pooling_taps(p, d, at[d], &from[d]);
        lines *= (double)counted(p, d, at[d], (int64_t)w.taps[d]);
    }
    const int64_t start = from[0] * apart[0] + from[1] * apart[1];
    for (int64_t o = 0; o < p->places[2]; o++) {
        w.taps[2] = (size_t)pe_pooling_taps(p, 2, o, &from[2]);
        w.first = (int32_t)(start + from[2]);
        const float *x = p->x + image * p->inputs + (start + from[2]) * unit;
        const double count = lines * (double)counted(p, 2, o, (int64_t)w.taps[2]);
        const int64_t many = o == j->inner && j->inner_end > o ? j->inner_end - o : 1;
        run_window(j, &w, x, many * unit, count, to + o * unit);
        o += many - 1;
    }
}

static void run_rows(int64_t begin, int64_t end, void *arg) {
    for (int64_t row = begin; row < end; row++) run_row(arg, row);
}

static pe_status pool(pe_context *ctx, const char *name, const pe_pool_args *args, int maximum, pe_error *err) {
    struct job j = { .maximum = maximum };
    int empty;
    pe_status status = pe_pooling_read(ctx, name, args, maximum, &j.p, &empty, err);
    if (status || empty) return status;
    const struct pe_pooling *p = &j.p;
    double taps = 1;
    for (int d = 0; d < 3; d++)
        taps *= p->kernel[d] ? (double)p->kernel[d] : 1 + (double)p->size[d] / (double)p->places[d];
    if (!p->lanes && p->kernel[2]) {
        const int64_t last = p->size[2] - 1 + p->before[2] - p->spacing[2] * (p->kernel[2] - 1);
        j.inner = min64(ceiled(p->before[2], p->step[2]), p->places[2]);
        j.inner_end = last < 0 ? 0 : min64(last / p->step[2] + 1, p->places[2]);
    }
    const int64_t rows = p->images * pe_pooling_rows(p->places), row = p->places[2] * p->channels;
    const double work = (double)rows * (double)row * (taps + 4) * TAP_NS;
    pe_parallel_for(ctx, rows, 1 + 4096 / row, pe_threads_for(ctx, work), run_rows, &j);
    return PE_OK;
}

pe_status pe_max_pool(pe_context *ctx, const pe_pool_args *args, pe_error *err) {
    return pool(ctx, "max_pool", args, 1, err);
}

pe_status pe_avg_pool(pe_context *ctx, const pe_pool_args *args, pe_error *err) {
    return pool(ctx, "avg_pool", args, 0, err);
}
