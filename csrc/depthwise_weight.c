/* The gradient to the weight: a block of x, sorted into phases, against the block of the gradient to y that lies
 * over it with zeros between its rows. Each tap is a dot product of two runs of memory. Blocks are cut by shape
 * alone, and their sums are added in double in a fixed order, so that neither layout nor threads decide about the
 * result. */
#include "depthwise_paths.h"

#include <math.h>
#include <string.h>

#define LANES 16
#define MOST_ITEMS 64       /* parts of the work that are worth having, where there are few channels */
#define FEW_FLOATS 4096
static const double TAP_NS = 0.08, ELEMENT_NS = 1, RANGE_NS = 20000;

struct job {
    pe_context *ctx;
    const struct pe_conv_problem *q;
    struct dw_axis axis[PE_CONV_AXES];
    int64_t channels, taps, n[PE_CONV_AXES], blocks[PE_CONV_AXES], steps; /* steps: images times blocks */
    int64_t abreast, lots, parts, box_floats, over_floats;
    int turned;
    double *sums;           /* of each part, channel, tap */
    float *dw;
    int failed;
};

/* A thread's own memory and the block that it is set up for. */
struct bench {
    const struct job *job;
    struct dw_box box;
    int64_t number, z, over; /* over: floats of the gradient's block, whole lanes */
    ptrdiff_t *offset;
    float *cells, *g;
};

static void set_block(struct bench *b, int64_t number) {
    const struct job *j = b->job;
    const struct dw_axis *a = j->axis;
    const int64_t q[PE_CONV_AXES] = { 0, number / j->blocks[2] % j->blocks[1] * j->n[1],
                                     number % j->blocks[2] * j->n[2] };
    b->number = number, b->z = number / (j->blocks[1] * j->blocks[2]);
    b->box = dw_box_at(a, q, j->n, a[0].taps);
    b->over = parts((b->box.n[1] - 1) * b->box.cells[2] + b->box.n[2], LANES) * LANES;
    for (int64_t t = 0; t < j->taps; t++) {
        const int64_t plane = t / (a[1].taps * a[2].taps), y = t / a[2].taps % a[1].taps * a[1].spacing;
        const int64_t x = t % a[2].taps * a[2].spacing;
        const int64_t phase = (plane * a[1].step + y % a[1].step) * a[2].step + x % a[2].step;
        b->offset[t] = phase * b->box.phase + y / a[1].step * b->box.cells[2] + x / a[2].step;
    }
    memset(b->cells, 0, (size_t)(b->box.channel * j->abreast + LANES) * sizeof *b->cells);
    memset(b->g, 0, (size_t)(b->over * j->abreast) * sizeof *b->g);
}

static void load(struct bench *b, int64_t image, int64_t c, int64_t channels) {
    const struct job *j = b->job;
    const struct pe_conv_problem *q = j->q;
    const struct dw_axis *a = j->axis;
    const struct pe_gemm_kernels *kernels = &j->ctx->kernels->gemm;
    const int64_t plane = a[1].step * a[2].step * b->box.phase, pitch = b->box.cells[2];
    for (int64_t i = 0, some; i < channels; i += some) {
        some = j->turned && q->out == 1 ? channels : 1;
        for (int64_t p = 0; p < a[0].taps; p++) {
            const int64_t at = b->z * a[0].step + p * a[0].spacing + a[0].shift;
            const float *from = q->x + image * q->x_n + (c + i) / q->out * q->x_c + at * q->x_s[0];
            float *to = b->cells + i * b->box.channel + p * plane;
            if (at >= 0 && at < a[0].source) dw_box_load(j->ctx, a, &b->box, from, q->x_c, some, to);
            else
                for (int64_t k = 0; k < some; k++) memset(to + k * b->box.channel, 0, (size_t)plane * sizeof *to);
        }
    }
    const float *g = q->y + image * q->y_n + c * q->y_c + b->z * q->y_s[0] + b->box.q[1] * q->y_s[1] +
                     b->box.q[2] * q->y_s[2];
    for (int64_t i = 0; !j->turned && i < channels; i++)
        kernels->copy(b->g + i * b->over, pitch, g + i * q->y_c, q->y_s[1], q->y_s[2], (size_t)b->box.n[1],
                      (size_t)b->box.n[2]);
    for (int64_t i = 0; j->turned && i < b->box.n[1]; i++)
        kernels->copy(b->g + i * pitch, b->over, g + i * q->y_s[1], q->y_c, q->y_s[2], (size_t)channels,
                      (size_t)b->box.n[2]);
}

static void body(int64_t begin, int64_t end, void *arg) {
    struct job *j = arg;
    const int64_t offsets = parts(j->taps * (int64_t)sizeof(ptrdiff_t), 64) * 64;
    const int64_t cells = parts(j->box_floats * j->abreast + LANES, LANES) * LANES;
    char *memory = pe_alloc(j->ctx, (size_t)offsets + (size_t)(cells + j->over_floats * j->abreast) * sizeof(float));
    if (!memory) {
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    struct bench b = { .job = j, .number = -1, .offset = (ptrdiff_t *)memory, .cells = (float *)(memory + offsets) };
    b.g = b.cells + cells;
    for (int64_t i = begin; i < end; i++) {
        const int64_t part = i / j->lots, c = i % j->lots * j->abreast, channels = min64(j->abreast, j->channels - c);
        for (int64_t s = part * j->steps / j->parts; s < (part + 1) * j->steps / j->parts; s++) {
            if (s / j->q->images != b.number) set_block(&b, s / j->q->images);
            load(&b, s % j->q->images, c, channels);
            for (int64_t k = 0; k < channels; k++)
                j->ctx->kernels->depthwise.dots(b.cells + k * b.box.channel, b.g + k * b.over, (size_t)b.over, b.offset,
                                                (size_t)j->taps, j->sums + (part * j->channels + c + k) * j->taps);
        }
    }
    pe_free(j->ctx, memory);
}

/* One element by its definition; ends at the first NaN, which it keeps. */
static double element(const struct job *j, int64_t c, const int64_t tap[PE_CONV_AXES]) {
    const struct pe_conv_problem *q = j->q;
    const int64_t all = q->images * q->places[0] * q->places[1] * q->places[2];
    double sum = 0;
    for (int64_t i = 0; i < all && !isnan(sum); i++) {
        int64_t rest = i, inside = 1, g = c * q->y_c, x = c / q->out * q->x_c;
        for (int d = PE_CONV_AXES - 1; d >= 0; d--) {
            const int64_t p = rest % q->places[d], u = p * q->step[d] + tap[d] * q->spacing[d] - q->before[d];
            rest /= q->places[d];
            g += p * q->y_s[d], x += u * q->x_s[d];
            inside &= u >= 0 && u < q->size[d];
        }
        sum += (double)q->y[rest * q->y_n + g] * (inside ? (double)q->x[rest * q->x_n + x] : 0.0);
    }
    return sum;
}

/* The parts' sums into dw. Between rows of the gradient zeros meet what lies there in x, infinities and NaN too: what
 * came out finite is right, the rest is asked again. */
static void write_channels(int64_t begin, int64_t end, void *arg) {
    const struct job *j = arg;
    const struct pe_conv_problem *q = j->q;
    for (int64_t c = begin; c < end; c++) {
        float *dw = j->dw + c / q->out * q->w_g + c % q->out * q->w_o;
        for (int64_t t = 0; t < j->taps; t++) {
            const int64_t tap[] = { t / (q->kernel[1] * q->kernel[2]), t / q->kernel[2] % q->kernel[1],
                                   t % q->kernel[2] };
            double sum = 0;
            for (int64_t p = 0; p < j->parts; p++) sum += j->sums[(p * j->channels + c) * j->taps + t];
            if (!isfinite((float)sum)) sum = element(j, c, tap);
            dw[tap[0] * q->w_k[0] + tap[1] * q->w_k[1] + tap[2] * q->w_k[2]] = (float)sum;
        }
    }
}

static void cut_blocks(struct job *j) {
    const struct pe_conv_problem *q = j->q;
    const struct dw_axis *a = j->axis;
    const int64_t apart = a[0].taps * a[1].step * a[2].step;
    j->n[0] = 1, j->n[2] = max64(min64(a[2].count, PE_DW_COLUMNS), 1);
    const int64_t row = (j->n[2] + a[2].reach) * apart;
    j->n[1] = max64(min64(a[1].count, PE_DW_FLOATS / row - a[1].reach), 1);
    j->n[1] = max64(parts(a[1].count, parts(a[1].count, j->n[1])), 1);
    j->box_floats = row * (j->n[1] + a[1].reach);
    j->over_floats = parts((j->n[2] + a[2].reach) * j->n[1], LANES) * LANES;
    j->blocks[0] = a[0].out, j->blocks[1] = parts(a[1].count, j->n[1]), j->blocks[2] = parts(a[2].count, j->n[2]);
    j->steps = q->images * j->blocks[0] * j->blocks[1] * j->blocks[2];
    j->parts = max64(min64(j->steps, parts(MOST_ITEMS, j->channels)), 1);
    j->turned = q->x_s[2] != 1 || q->y_s[2] != 1;
    int64_t most = j->turned ? PE_DW_ABREAST : min64(FEW_FLOATS / j->box_floats, PE_DW_ABREAST);
    j->abreast = min64(j->channels, max64(most, 1));
    j->lots = parts(j->channels, j->abreast);
}

pe_status pe_depthwise_weight(pe_context *ctx, const struct pe_conv_problem *q, float *dw, pe_error *err) {
    struct job j = { .ctx = ctx, .q = q, .dw = dw, .channels = q->groups * q->out,
                     .taps = q->kernel[0] * q->kernel[1] * q->kernel[2] };
    if (j.channels == 0 || j.taps == 0) return PE_OK;
    if (dw_weight_lines_suit(q)) return dw_weight_by_lines(ctx, q, dw, err);
    dw_axes(q, 0, j.axis);
    cut_blocks(&j);
    const size_t bytes = (size_t)(j.parts * j.channels * j.taps) * sizeof *j.sums;
    j.sums = pe_alloc(ctx, bytes);
    if (!j.sums) return pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for %zu bytes of sums", bytes);
    memset(j.sums, 0, bytes);
    const int64_t items = j.lots * j.parts;
    const double ns = (double)(j.abreast * j.n[1] * j.n[2] * j.steps / j.parts) *
                      ((double)j.taps * TAP_NS + ELEMENT_NS);
    const int64_t grain = max64(min64((int64_t)(RANGE_NS / (ns + 1)), items / 8), 1);
    pe_parallel_for(ctx, items, grain, pe_threads_for(ctx, ns * (double)items), body, &j);
    int threads = pe_threads_for(ctx, (double)(j.channels * j.taps));
    if (!j.failed) pe_parallel_for(ctx, j.channels, 16, threads, write_channels, &j);
    pe_free(ctx, j.sums);
    return j.failed ? pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for blocks of the image") : PE_OK;
}
