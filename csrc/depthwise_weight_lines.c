/* The gradient to the weight where a channel meets one channel of y, and lanes are channels, which lie last in x and y
 * or are copied so, some images at a time. A few channels of some rows of y go over copies of the rows of x that they
 * meet, with zeros where x ends: a ring in L1.
 *
 * What a unit is (a block of columns of some rows of y), which units' sums are chained, and which part of the work they
 * belong to, is decided by shape alone, and parts are added in double in their order: neither layout nor threads
 * decide about the result. */
#include "conv_paths.h"
#include "depthwise_paths.h"

#include <string.h>

#define FEWEST_CHANNELS 8
#define COLUMNS 32       /* of y at most at a time */
#define PLACES 64        /* of y at most at a time, where they are more rows than one */
#define RING_FLOATS 6144 /* of L1 */
#define CHUNK 32         /* channels of the ring at least, if there is a choice */
#define MOST_CHUNK 64
#define UNIT_ROWS 8      /* of y, about */
#define CHAIN 16         /* sums of so many times are added in float */
#define LOT 128          /* channels of a task, about */
#define MOST_TASKS 32    /* that are worth having */
static const double TAP_NS = 0.03, ELEMENT_NS = 0.3;

struct job {
    pe_context *ctx;
    const struct pe_conv_problem *q; /* the images of this time */
    int64_t channels, taps;          /* taps of all axes */
    int64_t columns, rows, band;     /* of y: of a unit, at a time, of a unit */
    int64_t reach;                   /* rows of x that a row of y meets */
    struct dw_ring ring;             /* without memory: each thread has its own */
    int64_t lot, lots;               /* channels */
    int64_t blocks, bands, units;    /* of an image */
    int64_t images, groups, parts;   /* images whose units are chained; groups of these in all images of this time */
    int64_t first;                   /* the number of their first group */
    double *sums;                    /* of each part, tap, channel */
    int failed;
};

/* A unit on its way, for a chunk of channels. */
struct walk {
    const struct job *job;
    const float **x;
    struct dw_ring ring;
    float *sums;
    int64_t row, end, low, high, z; /* of y */
    int64_t c, channels;
};

/* Row v of plane u of an image. */
static void load_row(const struct walk *k, int64_t image, int64_t u, int64_t v) {
    const struct pe_conv_problem *q = k->job->q;
    const int inside = u >= 0 && u < q->size[0] && v >= 0 && v < q->size[1];
    const float *row = inside ? q->x + image * q->x_n + u * q->x_s[0] + v * q->x_s[1] + k->c : NULL;
    const int64_t width = (k->high - k->low - 1) * q->step[2] + (q->kernel[2] - 1) * q->spacing[2] + 1;
    dw_ring_load(&k->ring, &k->job->ctx->kernels->gemm, dw_ring_row(&k->ring, 0, v), row, q->x_s[2],
                 k->low * q->step[2] - q->before[2], q->size[2], width, k->channels);
}

/* One plane of taps against the unit in one image. */
static void run_plane(struct walk *k, int64_t image, int64_t plane) {
    const struct job *j = k->job;
    const struct pe_conv_problem *q = j->q;
    const int64_t u = k->z * q->step[0] + plane * q->spacing[0] - q->before[0];
    int64_t next = INT64_MIN;
    for (int64_t i = k->row; i < k->end; i += j->rows) {
        const int64_t rows = min64(j->rows, k->end - i), v = i * q->step[1] - q->before[1];
        const int64_t height = (rows - 1) * q->step[1] + j->reach;
        for (int64_t r = 0; r < height; r++) {
            if (v + r >= next) load_row(k, image, u, v + r);
            k->x[r] = dw_ring_row(&k->ring, 0, v + r);
        }
        next = v + height;
        const struct pe_depthwise_sums sums = {
            .x = k->x, .x_step = (size_t)q->step[1], .x_spacing = (size_t)q->spacing[1], .rows = (size_t)rows,
            .places = (size_t)(k->high - k->low), .channels = (size_t)k->channels,
            .tap_rows = (size_t)q->kernel[1], .taps = (size_t)q->kernel[2], .x_place = q->step[2] * j->ring.chunk,
            .x_tap = q->spacing[2] * j->ring.chunk, .y_row = q->y_s[1], .y_place = q->y_s[2], .sums_tap = j->ring.chunk,
        };
        j->ctx->kernels->depthwise.sums(&sums,
                                        q->y + image * q->y_n + k->z * q->y_s[0] + i * q->y_s[1] + k->low * q->y_s[2] +
                                            k->c,
                                        k->sums + plane * q->kernel[1] * q->kernel[2] * j->ring.chunk);
    }
}

/* A group: one unit of some images, or all of them where there is but one. */
static void run_group(struct walk *k, int64_t group, int64_t lot, double *to) {
    const struct job *j = k->job;
    const struct pe_conv_problem *q = j->q;
    const int64_t unit = group % j->units, image = group / j->units * j->images;
    const int64_t end = min64(image + j->images, q->images), last = min64((lot + 1) * j->lot, j->channels);
    k->low = unit % j->blocks * j->columns, k->high = min64(k->low + j->columns, q->places[2]);
    k->row = unit / j->blocks % j->bands * j->band, k->end = min64(k->row + j->band, q->places[1]);
    k->z = unit / (j->blocks * j->bands);
    for (k->c = lot * j->lot; k->c < last; k->c += j->ring.chunk) {
        k->channels = min64(j->ring.chunk, last - k->c);
        memset(k->sums, 0, (size_t)(j->taps * j->ring.chunk) * sizeof *k->sums);
        for (int64_t n = image; n < end; n++)
            for (int64_t p = 0; p < q->kernel[0]; p++) run_plane(k, n, p);
        for (int64_t t = 0; t < j->taps; t++) {
            const float *sum = k->sums + t * j->ring.chunk;
            double *all = to + t * j->channels + k->c;
            for (int64_t c = 0; c < k->channels; c++) all[c] += (double)sum[c];
        }
    }
}

/* Parts times lots of channels. */
static void body(int64_t begin, int64_t end, void *arg) {
    struct job *j = arg;
    const int64_t list = parts(j->ring.height * (int64_t)sizeof(float *), 64) * 64;
    const int64_t ring = dw_ring_floats(&j->ring), sums = j->taps * j->ring.chunk;
    char *memory = pe_alloc(j->ctx, (size_t)list + (size_t)(ring + sums) * sizeof(float));
    if (!memory) {
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    struct walk k = { .job = j, .x = (const float **)memory, .ring = j->ring };
    k.ring.floats = (float *)(memory + list), k.sums = k.ring.floats + ring;
    for (int64_t i = begin; i < end; i++) {
        const int64_t part = i / j->lots, lot = i % j->lots;
        const int64_t first = (part + j->parts - j->first % j->parts) % j->parts;
        for (int64_t g = first; g < j->groups; g += j->parts)
            run_group(&k, g, lot, j->sums + part * j->taps * j->channels);
    }
    pe_free(j->ctx, memory);
}

/* The parts' sums into dw, a tap after another. */
static void write_channels(const struct job *j, float *dw) {
    const struct pe_conv_problem *q = j->q;
    for (int64_t t = 0; t < j->taps; t++) {
        float *to = dw + pe_conv_tap_at(q, t);
        for (int64_t c = 0; c < j->channels; c++) {
            double sum = 0;
            for (int64_t p = 0; p < j->parts; p++) sum += j->sums[(p * j->taps + t) * j->channels + c];
            to[c * q->w_g] = (float)sum;
        }
    }
}

int dw_weight_lines_suit(const struct pe_conv_problem *q) {
    return q->out == 1 && q->groups >= FEWEST_CHANNELS && q->images > 0 && pe_conv_places(q) > 0;
}

/* As many rows at a time as L1 has room for. */
static void cut_blocks(struct job *j) {
    const struct pe_conv_problem *q = j->q;
    const int64_t wide = parts(j->channels, 16) * 16;
    j->columns = parts(q->places[2], parts(q->places[2], COLUMNS));
    j->reach = (q->kernel[1] - 1) * q->spacing[1] + 1;
    j->ring.width = (j->columns - 1) * q->step[2] + (q->kernel[2] - 1) * q->spacing[2] + 1;
    j->rows = max64(min64(q->places[1], PLACES / j->columns), 1);
    while (j->rows > 1 && ((j->rows - 1) * q->step[1] + j->reach) * j->ring.width * min64(CHUNK, wide) > RING_FLOATS)
        j->rows--;
    j->rows = parts(q->places[1], parts(q->places[1], j->rows));
    j->ring.height = (j->rows - 1) * q->step[1] + j->reach;
    j->ring.chunk = RING_FLOATS / (j->ring.width * j->ring.height) / 16 * 16;
    j->ring.chunk = min64(min64(max64(j->ring.chunk, 16), MOST_CHUNK), wide);
    j->band = max64(UNIT_ROWS / j->rows, 1) * j->rows;
    j->bands = parts(q->places[1], j->band), j->blocks = parts(q->places[2], j->columns);
    j->units = q->places[0] * j->bands * j->blocks;
    j->images = j->units > 1 ? 1 : max64(CHAIN / parts(q->places[1], j->rows), 1);
    j->lot = parts(parts(j->channels, parts(j->channels, LOT)), j->ring.chunk) * j->ring.chunk;
    j->lots = parts(j->channels, j->lot);
    j->parts = min64(parts(q->images, j->images) * j->units, parts(MOST_TASKS, j->lots));
}

static void run_images(struct job *j, const struct pe_conv_problem *q) {
    j->q = q;
    j->groups = parts(q->images, j->images) * j->units;
    const double elements = (double)q->images * (double)j->channels * (double)pe_conv_places(q);
    const double ns = elements * ((double)j->taps * TAP_NS + ELEMENT_NS);
    pe_parallel_for(j->ctx, j->parts * j->lots, 1, pe_threads_for(j->ctx, ns), body, j);
    j->first += j->groups;
}

/* Images are copied whole groups at a time. */
static pe_status run_copies(struct job *j, const struct pe_conv_problem *q, pe_error *err) {
    const int64_t x = q->x_c == 1 ? 0 : pe_conv_x_floats(q), y = q->y_c == 1 ? 0 : pe_conv_y_floats(q);
    int64_t most = max64(PE_CONV_COPY_FLOATS / (x + y), 1);
    most = min64(max64(most / j->images, 1) * j->images, q->images);
    float *copy = pe_alloc(j->ctx, (size_t)(most * (x + y)) * sizeof *copy);
    if (!copy) return pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for copies of images");
    for (int64_t n = 0; n < q->images; n += most) {
        struct pe_conv_problem some = *q;
        some.images = min64(most, q->images - n);
        some.x += n * q->x_n, some.y += n * q->y_n;
        if (x) pe_conv_x_channels_last(j->ctx, &some, copy);
        if (y) pe_conv_y_channels_last(j->ctx, &some, copy + most * x);
        run_images(j, &some);
    }
    pe_free(j->ctx, copy);
    return PE_OK;
}

pe_status dw_weight_by_lines(pe_context *ctx, const struct pe_conv_problem *q, float *dw, pe_error *err) {
    struct job j = { .ctx = ctx, .q = q, .channels = q->groups, .taps = pe_conv_taps(q) };
    cut_blocks(&j);
    const size_t bytes = (size_t)(j.parts * j.taps * j.channels) * sizeof *j.sums;
    j.sums = pe_alloc(ctx, bytes);
    if (!j.sums) return pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for %zu bytes of sums", bytes);
    memset(j.sums, 0, bytes);
    pe_status status = PE_OK;
    if (q->x_c == 1 && q->y_c == 1) run_images(&j, q);
    else status = run_copies(&j, q, err);
    j.q = q;
    if (!status && j.failed) status = pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for rows of the image");
    if (!status) write_channels(&j, dw);
    pe_free(ctx, j.sums);
    return status;
}
