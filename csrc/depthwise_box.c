/* A block of an image in a thread's own memory: the cells that a block of places reads, sorted into phases, zeros
 * outside the image. The zeros are there already: a task clears its memory once for all images of a block. */
#include "depthwise_paths.h"

void dw_axes(const struct pe_conv_problem *q, int backward, struct dw_axis axis[PE_CONV_AXES]) {
    for (int d = 0; d < PE_CONV_AXES; d++) {
        struct dw_axis *x = &axis[d];
        int64_t step = q->places[d] > 1 ? q->step[d] : 1;
        int64_t reach = q->kernel[d] > 0 ? (q->kernel[d] - 1) * q->spacing[d] / step : 0;
        *x = (struct dw_axis){ .taps = q->kernel[d], .spacing = q->spacing[d], .step = step, .reach = reach };
        if (backward) {
            int64_t first = floored(q->before[d], step);
            x->step_in = 1, x->step_out = step;
            x->source = q->places[d], x->out = q->size[d], x->s = q->y_s[d], x->t = q->x_s[d];
            x->first = first, x->count = x->out ? floored(x->out - 1 + q->before[d], step) - first + 1 : 0;
            x->shift = -reach, x->out_shift = -q->before[d];
        } else {
            x->step_in = step, x->step_out = 1;
            x->source = q->size[d], x->out = q->places[d], x->s = q->x_s[d], x->t = q->y_s[d];
            x->count = x->out;
            x->shift = -q->before[d];
        }
    }
}

struct dw_box dw_box_at(const struct dw_axis axis[PE_CONV_AXES], const int64_t q[PE_CONV_AXES],
                        const int64_t n[PE_CONV_AXES], int64_t deep) {
    struct dw_box box = { .cells = { deep } };
    for (int d = 0; d < PE_CONV_AXES; d++) {
        box.q[d] = q[d];
        box.n[d] = min64(n[d], axis[d].first + axis[d].count - q[d]);
        if (d > 0) box.cells[d] = box.n[d] + axis[d].reach;
    }
    box.phase = box.cells[1] * box.cells[2];
    box.channel = deep * axis[1].step_in * axis[2].step_in * box.phase;
    return box;
}

struct range { int64_t low, high; };

/* the cells of a phase that lie in source */
static struct range inside(const struct dw_axis *x, int64_t q, int64_t cells, int64_t phase) {
    int64_t start = phase + x->shift;
    struct range r = { ceiled(-start, x->step_in) - q, ceiled(x->source - start, x->step_in) - q };
    r.low = min64(max64(r.low, 0), cells);
    r.high = max64(min64(r.high, cells), r.low);
    return r;
}

/* Both phases of the columns at once. */
static void load_split(pe_context *ctx, const struct dw_axis *x, const struct dw_box *box, const float *from,
                       int64_t from_row, int64_t rows, float *to) {
    int64_t start = box->q[2] * 2 + x->shift;
    int64_t low = max64(-start, 0), high = min64(2 * box->cells[2], x->source - start);
    if (low >= high) return;
    float *even = to + low / 2, *odd = to + box->phase + low / 2;
    if (low % 2) {
        float *first = odd;
        odd = even + 1, even = first;
    }
    ctx->kernels->depthwise.split(even, odd, box->cells[2], from + start + low, from_row, (size_t)rows,
                                  (size_t)(high - low));
}

static void load_columns(pe_context *ctx, const struct dw_axis *x, const struct dw_box *box, const float *from,
                         int64_t from_row, int64_t rows, int64_t from_c, int64_t channels, float *to) {
    const struct pe_gemm_kernels *kernels = &ctx->kernels->gemm;
    if (channels == 1 && x->s == 1 && x->step_in == 2) {
        load_split(ctx, x, box, from, from_row, rows, to);
        return;
    }
    for (int64_t a = 0; a < x->step_in; a++, to += box->phase) {
        struct range in = inside(x, box->q[2], box->cells[2], a);
        if (in.low == in.high) continue;
        const float *first = from + ((box->q[2] + in.low) * x->step_in + a + x->shift) * x->s;
        size_t columns = (size_t)(in.high - in.low);
        if (channels == 1)
            kernels->copy(to + in.low, box->cells[2], first, from_row, x->step_in * x->s, (size_t)rows, columns);
        for (int64_t r = 0; channels > 1 && r < rows; r++)
            kernels->copy(to + in.low + r * box->cells[2], box->channel, first + r * from_row, from_c,
                          x->step_in * x->s, (size_t)channels, columns);
    }
}

void dw_box_load(pe_context *ctx, const struct dw_axis axis[PE_CONV_AXES], const struct dw_box *box,
                 const float *source, int64_t source_c, int64_t channels, float *to) {
    const struct dw_axis *y = &axis[1];
    for (int64_t a = 0; a < y->step_in; a++, to += axis[2].step_in * box->phase) {
        struct range in = inside(y, box->q[1], box->cells[1], a);
        if (in.low == in.high) continue;
        const float *first = source + ((box->q[1] + in.low) * y->step_in + a + y->shift) * y->s;
        load_columns(ctx, &axis[2], box, first, y->step_in * y->s, in.high - in.low, source_c, channels,
                     to + in.low * box->cells[2]);
    }
}
