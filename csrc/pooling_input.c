/* pe_max_pool_input and pe_avg_pool_input: each input gathers from the outputs whose windows may hold it, where a
 * vector runs over channels. Else an image's maxima are added at their places one after the other, and a mean's row of
 * outputs, summed over the rows that meet an input row, is spread along it. Either way an element's addends come in the
 * order of the outputs, a mean's along the last axis, each of them the sum over the other two. */
#include "pooling.h"

#include <string.h>

/* in nanoseconds: one output looked at, and one added at its place */
static const double TAP_NS = 0.15, ADD_NS = 1.5;

enum { PIECE = 256 }; /* outputs of a row that are spread at a time */

/* outputs along an axis whose windows reach input `at`: how many, from which on */
static int64_t outputs_over(const struct pe_pooling *p, int axis, int64_t at, int64_t *from) {
    const int64_t places = p->places[axis], size = p->size[axis], step = p->step[axis];
    if (!p->kernel[axis]) {
        *from = at * places / size;
        return parts((at + 1) * places, size) - *from;
    }
    const int64_t low = at + p->before[axis] - (p->kernel[axis] - 1) * p->spacing[axis];
    *from = low > 0 ? ceiled(low, step) : 0;
    return max64(min64(floored(at + p->before[axis], step), places - 1) - *from + 1, 0);
}

/* the outputs over a row of inputs; gives the first one's place */
static int64_t outputs_over_row(const struct pe_pooling *p, const int64_t at[2], struct pe_pool_window *w) {
    const int64_t apart[3] = { p->places[1] * p->places[2], p->places[2], 1 };
    int64_t from, first = 0;
    *w = (struct pe_pool_window){ .taps = { 1, 1, 1 } };
    for (int d = 0; d < 3; d++) w->apart[d] = apart[d] * p->channels;
    for (int d = 0; d < 2; d++) {
        w->taps[d] = (size_t)outputs_over(p, d, at[d], &from);
        first += from * apart[d];
    }
    return first;
}

static void gather_rows(int64_t begin, int64_t end, void *arg) {
    const struct pe_pooling *p = arg;
    for (int64_t row = begin; row < end; row++) {
        int64_t at[3], from;
        struct pe_pool_window w;
        const int64_t image = pe_pooling_row(p->size, row, at), first = outputs_over_row(p, at, &w);
        for (at[2] = 0; at[2] < p->size[2]; at[2]++) {
            w.taps[2] = (size_t)outputs_over(p, 2, at[2], &from);
            const int64_t g = image * p->outputs + (first + from) * p->channels;
            float *dx = p->x + (row * p->size[2] + at[2]) * p->channels;
            const int64_t number = (at[0] * p->size[1] + at[1]) * p->size[2] + at[2];
            if (!p->place) p->kernels->mean(p->y + g, 1, (size_t)p->channels, &w, 1.0f, dx);
            else p->kernels->max_input(p->y + g, p->place + g, (size_t)p->channels, &w, (int32_t)number, dx);
        }
    }
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
        int64_t start;
        const int64_t taps = pe_pooling_taps(p, 2, from + o, &start);
        for (int64_t i = 0; i < taps; i++) dx[start + i] += sums[o];
    }
}

static void spread_rows(int64_t begin, int64_t end, void *arg) {
    const struct pe_pooling *p = arg;
    float sums[PIECE];
    for (int64_t row = begin; row < end; row++) {
        int64_t at[3];
        struct pe_pool_window w;
        const int64_t image = pe_pooling_row(p->size, row, at), first = outputs_over_row(p, at, &w);
        const float *g = p->y + image * p->outputs + first;
        float *dx = p->x + row * p->size[2];
        memset(dx, 0, (size_t)p->size[2] * sizeof *dx);
        for (int64_t o = 0; o < p->places[2]; o += PIECE) {
            const int64_t count = min64(p->places[2] - o, PIECE);
            p->kernels->mean(g + o, 1, (size_t)count, &w, 1.0f, sums);
            if (p->kernel[2]) spread_even(p, sums, o, count, dx);
            else spread_parts(p, sums, o, count, dx);
        }
    }
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
    const int64_t rows = p.images * pe_pooling_rows(p.size), row = p.size[2] * p.channels;
    const double inputs = (double)p.images * (double)p.inputs, outputs = (double)p.images * (double)p.outputs;
    double taps = 1;
    for (int d = 0; d < 3; d++)
        taps *= p.kernel[d] ? (double)p.kernel[d] : 1 + (double)p.size[d] / (double)max64(p.places[d], 1);
    if (empty) {
        pe_parallel_for(ctx, p.images, 1, 1, clear_images, &p);
    } else if (maximum && !p.lanes) {
        pe_parallel_for(ctx, p.images, 1 + 4096 / p.inputs, pe_threads_for(ctx, inputs * TAP_NS + outputs * ADD_NS),
                        scatter_images, &p);
    } else {
        const double work = inputs * TAP_NS * 4 + outputs * taps * TAP_NS;
        pe_parallel_for(ctx, rows, 1 + 4096 / row, pe_threads_for(ctx, work), p.lanes ? gather_rows : spread_rows, &p);
    }
    return PE_OK;
}

pe_status pe_max_pool_input(pe_context *ctx, const pe_pool_args *args, pe_error *err) {
    return pool_input(ctx, "max_pool_input", args, 1, err);
}

pe_status pe_avg_pool_input(pe_context *ctx, const pe_pool_args *args, pe_error *err) {
    return pool_input(ctx, "avg_pool_input", args, 0, err);
}
