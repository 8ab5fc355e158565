/* The gradient by the weight: dw[(tap, channel), o] = the chain over images and places of windows times y. The outputs
 * are shared by the threads; where they are few the images are cut into parts, by shape alone, whose sums are added in
 * order. */
#include "conv_paths.h"
#include "depthwise.h"
#include "gemm_plan.h"
#include "sizes.h"
#include "winograd.h"

#include <string.h>

#define FEW_OUTPUTS 65536    /* of all groups: they stay in L2 while images pass */
#define MOST_PARTS 8
#define PART_FLOATS 131072   /* of images at a time in a part: they are read once from afar, then from L2 */
#define LONG_IMAGE 256    /* places: a product for each image does not cost more than copying it */

static int64_t rows_of(const struct pe_conv_problem *q) { return pe_conv_taps(q) * q->in; }
static int64_t outputs_of(const struct pe_conv_problem *q) { return q->groups * rows_of(q) * q->out; }

/* The stride from place to place where all images and places lie evenly in y, or 0. */
static int64_t even_stride(const struct pe_conv_problem *q) {
    const int64_t size[] = { q->images, q->places[0], q->places[1], q->places[2] };
    const int64_t stride[] = { q->y_n, q->y_s[0], q->y_s[1], q->y_s[2] };
    int64_t count;
    return even_step(size, stride, 4, &count);
}

/* dw as the rows of a product: in the weight's own layout, or dense at `to`, (group, row, out). */
static void aim(const struct pe_conv_problem *q, struct pe_gemm_problem *g, struct pe_gemm_grid *grid, float *to) {
    g->c = to ? to : (float *)q->w;
    g->c_i = to ? q->out : q->w_i;
    g->c_j = to ? 1 : q->w_o;
    if (to || rows_of(q) == q->in) return;
    *grid = (struct pe_gemm_grid){ .axes = 4, .size = { q->kernel[0], q->kernel[1], q->kernel[2], q->in },
                                   .c = { q->w_k[0], q->w_k[1], q->w_k[2], q->w_i } };
    g->grid = grid;
}

/* The images of q, which lie as the product wants them. */
static pe_status run_even(pe_context *ctx, const struct pe_conv_problem *q, float *to, int64_t y_step, int accumulate,
                          pe_error *err) {
    struct pe_gemm_batch batch = { .count = 1 };
    struct pe_gemm_grid grid;
    int64_t places, x_s, y_s;
    struct pe_gemm_problem g = { .m = rows_of(q), .n = q->out, .k = q->images * pe_conv_places(q), .a = q->x, .b = q->y,
                                 .b_p = y_step, .b_j = q->y_c, .accumulate = accumulate };
    if (pe_conv_is_pointwise(q, &places, &x_s, &y_s) && (q->images == 1 || q->x_n == x_s * places)) {
        g.a_i = q->x_c, g.a_p = x_s;
    } else {
        g.windows = q, g.windows_down = 1;
    }
    aim(q, &g, &grid, to);
    g.one_thread = to != NULL;
    if (q->groups > 1) {
        batch.axes = 1, batch.count = batch.size[0] = q->groups;
        batch.a[0] = q->in * q->x_c, batch.b[0] = q->out * q->y_c, batch.c[0] = to ? rows_of(q) * q->out : q->w_g;
    }
    return pe_gemm_run_batch(ctx, &g, &batch, err);
}

/* Images first .. first + count - 1: one by one, all at once, or copied with their channels last. */
static pe_status run_images(pe_context *ctx, const struct pe_conv_problem *q, int64_t first, int64_t count, float *to,
                            int accumulate, pe_error *err) {
    int copy_x = pe_conv_wants_channels_last(q), copy_y, alone;
    struct pe_conv_problem part = *q;
    part.images = 1;
    alone = !copy_x && pe_conv_places(q) >= LONG_IMAGE && even_stride(&part) != 0;
    part.images = count;
    copy_y = !alone && !even_stride(&part);
    int64_t floats = (copy_x ? pe_conv_x_floats(q) : 0) + (copy_y ? pe_conv_y_floats(q) : 0);
    int64_t most = alone && !even_stride(&part) ? 1 : count;
    if (floats) most = max64(min64(PE_CONV_COPY_FLOATS / floats, count), 1);
    if (to) most = min64(most, max64(PART_FLOATS / max64(pe_conv_x_floats(q) + pe_conv_y_floats(q), 1), 1));
    float *copy = floats ? pe_alloc(ctx, (size_t)(most * floats) * sizeof *copy) : NULL;
    if (floats && !copy) return pe_fail(err, PE_ERR_MEMORY, -1, "conv_weight: no memory for copies of images");
    pe_status status = PE_OK;
    for (int64_t n = first; n < first + count && !status; n += most) {
        part = *q;
        part.images = min64(most, first + count - n);
        part.x += n * q->x_n, part.y += n * q->y_n;
        if (copy_x) pe_conv_x_channels_last(ctx, &part, copy);
        if (copy_y) pe_conv_y_channels_last(ctx, &part, copy + (copy_x ? most * pe_conv_x_floats(q) : 0));
        status = run_even(ctx, &part, to, even_stride(&part), accumulate || n > first, err);
    }
    if (copy) pe_free(ctx, copy);
    return status;
}

/* ---- few outputs: parts of the images ------------------------------------------------ */

#define COLUMNS 64

struct cut {
    pe_context *ctx;
    const struct pe_conv_problem *q;
    int64_t parts;
    float *sums; /* (parts, outputs) */
    int failed;
};

static void part_body(int64_t begin, int64_t end, void *arg) {
    struct cut *cut = arg;
    const struct pe_conv_problem *q = cut->q;
    for (int64_t x = begin; x < end; x++) {
        int64_t first = q->images * x / cut->parts, past = q->images * (x + 1) / cut->parts;
        if (run_images(cut->ctx, q, first, past - first, cut->sums + x * outputs_of(q), 0, NULL))
            __atomic_store_n(&cut->failed, 1, __ATOMIC_RELAXED);
    }
}

/* Rows [begin, end) of all groups' (tap, channel): their sums over the parts, to where dw lies. */
static void add_body(int64_t begin, int64_t end, void *arg) {
    const struct cut *cut = arg;
    const struct pe_conv_problem *q = cut->q;
    float sum[COLUMNS];
    for (int64_t row = begin; row < end; row++) {
        int64_t group = row / rows_of(q), i = row % rows_of(q);
        int64_t at = group * q->w_g + i % q->in * q->w_i + pe_conv_tap_at(q, i / q->in);
        for (int64_t o = 0; o < q->out; o += COLUMNS) {
            int64_t count = min64(COLUMNS, q->out - o);
            float *to = (float *)q->w + at + o * q->w_o;
            for (int64_t x = 0; x < count; x++) sum[x] = q->accumulate ? to[x * q->w_o] : 0;
            for (int64_t part = 0; part < cut->parts; part++) {
                const float *from = cut->sums + part * outputs_of(q) + row * q->out + o;
                for (int64_t x = 0; x < count; x++) sum[x] += from[x];
            }
            for (int64_t x = 0; x < count; x++) to[x * q->w_o] = sum[x];
        }
    }
}

static pe_status run_parts(pe_context *ctx, const struct pe_conv_problem *q, pe_error *err) {
    struct cut cut = { .ctx = ctx, .q = q, .parts = min64(q->images, MOST_PARTS) };
    size_t bytes = (size_t)(cut.parts * outputs_of(q)) * sizeof(float);
    cut.sums = pe_alloc(ctx, bytes);
    if (!cut.sums) return pe_fail(err, PE_ERR_MEMORY, -1, "conv_weight: no memory for %zu bytes of sums", bytes);
    double fmas = (double)outputs_of(q) * (double)q->images * (double)pe_conv_places(q) / 8;
    pe_parallel_for(ctx, cut.parts, 1, pe_threads_for(ctx, fmas * 0.2), part_body, &cut);
    if (!cut.failed)
        pe_parallel_for(ctx, q->groups * rows_of(q), 1 + 4096 / q->out,
                        pe_threads_for(ctx, (double)outputs_of(q) * (double)cut.parts * 0.3), add_body, &cut);
    pe_free(ctx, cut.sums);
    return cut.failed ? pe_fail(err, PE_ERR_MEMORY, -1, "conv_weight: no memory for copies of images") : PE_OK;
}

pe_status pe_conv_weight(pe_context *ctx, const pe_conv_args *args, pe_error *err) {
    struct pe_conv_problem q;
    pe_status status = pe_conv_check(ctx, "conv_weight", args, args ? args->w : NULL, &q, err);
    if (status) return status;
    if (args->bias || args->residual || args->activation != PE_NO_ACTIVATION)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "conv_weight: takes no bias, residual or activation");
    if (outputs_of(&q) == 0) return PE_OK;
    if (pe_depthwise_suits(&q) && !q.accumulate) return pe_depthwise_weight(ctx, &q, (float *)q.w, err);
    if (pe_winograd_weight_suits(&q)) return pe_winograd_weight(ctx, &q, err);
    if (outputs_of(&q) <= FEW_OUTPUTS && q.images > 1 && pe_conv_places(&q) > 0)
        return run_parts(ctx, &q, err);
    if (q.images == 0 || pe_conv_places(&q) == 0) { /* the empty sum */
        q.images = 1, q.places[0] = 0;
        return run_even(ctx, &q, NULL, 1, q.accumulate, err);
    }
    return run_images(ctx, &q, 0, q.images, NULL, q.accumulate, err);
}
