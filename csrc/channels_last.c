/* Images with their channels last: a dense transposed copy, blocks of a row's places against all channels. */
#include "conv_paths.h"
#include "sizes.h"

#define BLOCK 64 /* places: their channels stay in L1 and L2 while they are turned */
static const double ELEMENT_NS = 0.3;

#define SHORT_ROW 32 /* places */
#define SHORT_ROW_OF_TWOS 16
#define FEW_CHANNELS 8

struct images {
    const float *data;
    int64_t count, channels, n, c; /* strides in elements */
    const int64_t *size, *s;
};

struct job {
    const struct pe_gemm_kernels *kernels;
    const struct images *images;
    int64_t row, rows, blocks; /* places that lie evenly; how many such rows an image has; blocks of a row */
    int merged;                /* axes of space that are one row */
    float *to;
};

static void body(int64_t begin, int64_t end, void *arg) {
    const struct job *job = arg;
    const struct images *m = job->images;
    for (int64_t x = begin; x < end; x++) {
        int64_t at = x % job->blocks * BLOCK, row = x / job->blocks, rest = row % job->rows;
        const float *from = m->data + row / job->rows * m->n + at * m->s[PE_CONV_AXES - 1];
        for (int d = PE_CONV_AXES - 1 - job->merged; d >= 0; d--) {
            from += rest % m->size[d] * m->s[d];
            rest /= m->size[d];
        }
        float *to = job->to + (row * job->row + at) * m->channels;
        job->kernels->copy(to, m->channels, from, m->s[PE_CONV_AXES - 1], m->c, (size_t)min64(BLOCK, job->row - at),
                           (size_t)m->channels);
    }
}

static void copy_images(pe_context *ctx, const struct images *m, float *to) {
    struct job job = { .kernels = &ctx->kernels->gemm, .images = m, .row = m->size[PE_CONV_AXES - 1], .rows = 1,
                       .merged = 1, .to = to };
    int d = PE_CONV_AXES - 2;
    for (; d >= 0 && m->s[d] == m->s[PE_CONV_AXES - 1] * job.row; d--, job.merged++) job.row *= m->size[d];
    for (; d >= 0; d--) job.rows *= m->size[d];
    job.blocks = parts(job.row, BLOCK);
    double elements = (double)m->count * (double)m->channels * (double)job.rows * (double)job.row;
    pe_parallel_for(ctx, m->count * job.rows * job.blocks, 1 + (int64_t)(16384 / (BLOCK * m->channels + 1)),
                    pe_threads_for(ctx, elements * ELEMENT_NS), body, &job);
}

/* the strides of a dense image with its channels last; gives its elements */
static int64_t dense_strides(int64_t channels, const int64_t size[PE_CONV_AXES], int64_t s[PE_CONV_AXES]) {
    int64_t stride = channels;
    for (int d = PE_CONV_AXES - 1; d >= 0; stride *= size[d], d--) s[d] = stride;
    return stride;
}

void pe_conv_x_channels_last(pe_context *ctx, struct pe_conv_problem *q, float *to) {
    const struct images m = { q->x, q->images, q->in * q->groups, q->x_n, q->x_c, q->size, q->x_s };
    copy_images(ctx, &m, to);
    q->x = to, q->x_c = 1, q->x_n = dense_strides(m.channels, q->size, q->x_s);
}

void pe_conv_y_channels_last(pe_context *ctx, struct pe_conv_problem *q, float *to) {
    const struct images m = { q->y, q->images, q->out * q->groups, q->y_n, q->y_c, q->places, q->y_s };
    copy_images(ctx, &m, to);
    q->y = to, q->y_c = 1, q->y_n = dense_strides(m.channels, q->places, q->y_s);
}

int64_t pe_conv_x_floats(const struct pe_conv_problem *q) {
    return q->size[0] * q->size[1] * q->size[2] * q->in * q->groups;
}
int64_t pe_conv_y_floats(const struct pe_conv_problem *q) {
    return q->places[0] * q->places[1] * q->places[2] * q->out * q->groups;
}

int pe_conv_wants_channels_last(const struct pe_conv_problem *q) {
    const int last = PE_CONV_AXES - 1;
    int lines = q->x_s[last] == 1 && ((q->step[last] == 1 && q->places[last] >= SHORT_ROW) ||
                                      (q->step[last] == 2 && q->places[last] >= SHORT_ROW_OF_TWOS));
    return q->x_c != 1 && q->in >= FEW_CHANNELS && !lines && pe_conv_x_floats(q) <= PE_CONV_COPY_FLOATS;
}

pe_status pe_conv_on_copies(pe_context *ctx, const struct pe_conv_problem *q, const float *panels, pe_conv_path *path,
                            pe_error *err) {
    int64_t most = max64(min64(PE_CONV_COPY_FLOATS / pe_conv_x_floats(q), q->images), 1);
    float *copy = pe_alloc(ctx, (size_t)(most * pe_conv_x_floats(q)) * sizeof *copy);
    if (!copy) return path(ctx, q, panels, err); /* slower, with the same bits */
    pe_status status = PE_OK;
    for (int64_t n = 0; n < q->images && !status; n += most) {
        struct pe_conv_problem part = *q;
        part.images = min64(most, q->images - n);
        part.x += n * q->x_n;
        part.y += n * q->y_n;
        if (part.residual) part.residual += n * q->y_n;
        pe_conv_x_channels_last(ctx, &part, copy);
        status = path(ctx, &part, panels, err);
    }
    pe_free(ctx, copy);
    return status;
}
