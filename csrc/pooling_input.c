/* pe_max_pool_input and pe_avg_pool_input: each input gathers from the outputs whose windows may hold it, where a
 * vector runs over channels. Else an image's maxima are added at their places one after the other, and a mean's row of
 * outputs, summed over the rows that meet an input row, is spread along it. Either way an element's addends come in the
 * order of the outputs, a mean's along the last axis, each of them the sum over the other two. */
#include "pooling.h"

#include <string.h>

/* in nanoseconds: one output looked at, and one added at its place */
static const double TAP_NS = 0.15, ADD_NS = 1.5;

enum { PIECE = 256 }; /* outputs of a row that are spread at a time */

struct pe_pool_span pe_pool_over(const struct pe_pooling *p, int axis, int64_t at) {
    const int64_t places = p->places[axis], size = p->size[axis], step = p->step[axis];
    int64_t from, end;
    if (!p->kernel[axis]) {
        from = at * places / size, end = parts((at + 1) * places, size);
    } else {
        const int64_t low = at + p->before[axis] - (p->kernel[axis] - 1) * p->spacing[axis];
        from = low > 0 ? ceiled(low, step) : 0, end = min64(floored(at + p->before[axis], step) + 1, places);
    }
    return (struct pe_pool_span){ end > from ? from : 0, max64(end - from, 0), 1 };
}

/* the outputs over a row of inputs; *first: the number of the first row of them */
static struct pe_pool_window windows_over(const struct pe_pooling *p, const int64_t at[2], int64_t *first) {
    const int64_t unit = p->channels;
    *first = p->along[0][at[0]].from * p->places[1] + p->along[1][at[1]].from;
    return (struct pe_pool_window){ .taps = { (size_t)p->along[0][at[0]].taps, (size_t)p->along[1][at[1]].taps },
                                    .apart = { p->places[1] * p->places[2] * unit, p->places[2] * unit, unit },
                                    .unit = unit };
}

static void gather_row(const struct pe_pooling *p, int64_t row, const int64_t at[2], int64_t image) {
    int64_t first;
    const struct pe_pool_window w = windows_over(p, at, &first);
    const int64_t from = image * p->outputs + first * p->places[2] * p->channels;
    const size_t n = (size_t)p->channels, count = (size_t)p->size[2];
    float *dx = p->x + row * p->size[2] * p->channels;
    const int64_t number = (at[0] * p->size[1] + at[1]) * p->size[2];
    if (!p->place) p->kernels->mean(p->y + from, 1, n, &w, p->along[2], count, p->divisor != 0 ? p->divisor : 1, dx);
    else p->kernels->max_input(p->y + from, p->place + from, n, &w, p->along[2], count, (int32_t)number, dx);
}

static void scatter_images(int64_t begin, int64_t end, void *arg) {
    const struct pe_pooling *p = arg;
    for (int64_t image = begin; image < end; image++) {
        const float *g = p->y + image * p->outputs;
        const int32_t *place = p->place + image * p->outputs;
        float *dx = p->x + image * p->inputs;
        memset(dx, 0, (size_t)p->inputs * sizeof *dx);
        for (int64_t i = 0; i < p->outputs; i++)
            if (place[i] >= 0 && place[i] < p->inputs) dx[place[i]] += g[i];
    }
}

/* dx[o step + k - before] += sums[o - from] for the `count` outputs from `from` on, in their order: so k descends. */
static void spread_even(const struct pe_pooling *p, const float *restrict sums, int64_t from, int64_t count,
                        float *restrict dx) {
    const int64_t step = p->step[2];
    for (int64_t k = p->kernel[2] - 1; k >= 0; k--) {
        const int64_t off = k - p->before[2];
        const int64_t low = max64(off < 0 ? ceiled(-off, step) : 0, from);
        const int64_t high = off < p->size[2] ? min64(ceiled(p->size[2] - off, step), from + count) : low;
        if (step == 1)
            for (int64_t o = low; o < high; o++) dx[o + off] += sums[o - from];
        else
            for (int64_t o = low; o < high; o++) dx[o * step + off] += sums[o - from];
    }
}

/* the same for parts of any size */
static void spread_parts(const struct pe_pooling *p, const float *sums, int64_t from, int64_t count, float *dx) {
    for (int64_t o = 0; o < count; o++) {
        const struct pe_pool_span part = pe_pool_inside(p, 2, from + o);
        for (int64_t i = 0; i < part.taps; i++) dx[part.from + i] += sums[o];
    }
}

static void spread_row(const struct pe_pooling *p, int64_t row, const int64_t at[2], int64_t image) {
    static const struct pe_pool_span one = { 0, 1, 1 };
    float sums[PIECE];
    int64_t first;
    const struct pe_pool_window w = windows_over(p, at, &first);
    const float *g = p->y + image * p->outputs + first * p->places[2];
    float *dx = p->x + row * p->size[2];
    memset(dx, 0, (size_t)p->size[2] * sizeof *dx);
    for (int64_t o = 0; o < p->places[2]; o += PIECE) {
        const int64_t count = min64(p->places[2] - o, PIECE);
        p->kernels->mean(g + o, 1, (size_t)count, &w, &one, 1, 1, sums);
        if (p->kernel[2]) spread_even(p, sums, o, count, dx);
        else spread_parts(p, sums, o, count, dx);
    }
    for (int64_t i = 0; i < p->size[2] && p->divisor != 0; i++) dx[i] /= (float)p->divisor;
}

/* nothing came: zeros */
static void clear_images(int64_t begin, int64_t end, void *arg) {
    const struct pe_pooling *p = arg;
    memset(p->x + begin * p->inputs, 0, (size_t)((end - begin) * p->inputs) * sizeof(float));
}

static pe_status pool_input(pe_context *ctx, const char *name, const pe_pool_args *args, int maximum, pe_error *err) {
    struct pe_pooling p;
    int empty;
    if (maximum && !args->place) return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: place is missing", name);
    pe_status status = pe_pooling_read(ctx, name, args, maximum, &p, &empty, err);
    if (status || pe_numel(args->x) == 0) return status;
    const double inputs = (double)p.images * (double)p.inputs, outputs = (double)p.images * (double)p.outputs;
    if (empty) {
        pe_parallel_for(ctx, p.images, 1, 1, clear_images, &p);
        return PE_OK;
    }
    if (maximum && !p.lanes) {
        pe_parallel_for(ctx, p.images, 1 + 4096 / p.inputs, pe_threads_for(ctx, inputs * TAP_NS + outputs * ADD_NS),
                        scatter_images, &p);
        return PE_OK;
    }
    return pe_pooling_run(ctx, name, &p, p.size, pe_pool_over, p.lanes ? gather_row : spread_row,
                          (inputs * 4 + outputs * pe_pooling_taps(&p)) * TAP_NS, err);
}

pe_status pe_max_pool_input(pe_context *ctx, const pe_pool_args *args, pe_error *err) {
    return pool_input(ctx, "max_pool_input", args, 1, err);
}

pe_status pe_avg_pool_input(pe_context *ctx, const pe_pool_args *args, pe_error *err) {
    return pool_input(ctx, "avg_pool_input", args, 0, err);
}
