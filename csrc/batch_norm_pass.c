/* The passes of batch normalization. The elements of a channel are numbered image by image, and cut into parts of PART
 * from the first on: where the channels lie last these are rows of memory, else pieces of images (copied side by side
 * where a part takes several). Each part's sums are float32, joined in double in the order of the parts, so the bits
 * depend neither on the memory format nor on threads. (Chan, Golub & LeVeque 1983)
 *
 * Where a whole channel stays in L2, it is read from memory once: its sums and its outputs are one task. */
#include "batch_norm.h"
#include "machine.h"
#include "sizes.h"

#include <math.h>
#include <string.h>

enum { PART = 1024, TASK = 16384 /* elements that are worth a range of their own */ };
/* one element of one pass, from L3, in nanoseconds */
static const double ELEMENT_NS = 0.3;

int64_t pe_channel_parts(int64_t count) { return parts(count, PART); }

static int64_t value_count(const struct pe_channels *j) { return j->images * j->length; }
static int64_t part_size(const struct pe_channels *j, int64_t part) {
    return min64(value_count(j) - part * PART, PART);
}

/* ---- sums ---- */

static void sum_columns(int64_t begin, int64_t end, void *arg) {
    const struct pe_channels *j = arg;
    const int64_t strips = parts(j->channels, PE_CHANNEL_STRIP);
    for (int64_t task = begin; task < end; task++) {
        const int64_t part = task / strips, c = task % strips * PE_CHANNEL_STRIP;
        const int64_t at = part * PART * j->channels + c, to = part * j->channels + c;
        const size_t rows = (size_t)part_size(j, part), n = (size_t)min64(j->channels - c, PE_CHANNEL_STRIP);
        const size_t pitch = (size_t)j->channels;
        if (!j->g)
            j->kernels->moments_columns(j->x + at, pitch, rows, n, j->first + to, j->second + to);
        else
            j->kernels->products_columns(j->x + at, j->g + at, pitch, rows, n, j->mean + c, j->first + to,
                                         j->second + to);
    }
}

/* the elements of a channel from number `from` on, side by side: in place, or copied */
static const float *line(const struct pe_channels *j, const float *data, int64_t c, int64_t from, int64_t count,
                         float *room) {
    int64_t image = from / j->length, at = from % j->length;
    const float *start = data + (image * j->channels + c) * j->length + at;
    if (at + count <= j->length) return start;
    for (int64_t done = 0; done < count; at = 0, image++) {
        const int64_t piece = min64(j->length - at, count - done);
        memcpy(room + done, data + (image * j->channels + c) * j->length + at, (size_t)piece * sizeof(float));
        done += piece;
    }
    return room;
}

static void sum_line(const struct pe_channels *j, int64_t part, int64_t c) {
    float x_room[PART], g_room[PART];
    const int64_t count = part_size(j, part), to = part * j->channels + c;
    const float *x = line(j, j->x, c, part * PART, count, x_room);
    if (!j->g) {
        j->kernels->moments_row(x, (size_t)count, j->first + to, j->second + to);
        return;
    }
    const float *g = line(j, j->g, c, part * PART, count, g_room);
    j->kernels->products_row(x, g, (size_t)count, j->mean[c], j->first + to, j->second + to);
}

static void sum_lines(int64_t begin, int64_t end, void *arg) {
    const struct pe_channels *j = arg;
    for (int64_t task = begin; task < end; task++) sum_line(j, task / j->channels, task % j->channels);
}

/* ---- joining the parts of a channel ---- */

static void move(float *running, double to, float momentum) {
    if (running) *running = (float)((1 - (double)momentum) * (double)*running + (double)momentum * to);
}

static void join_moments(const struct pe_channels *j, int64_t c) {
    const double count = (double)value_count(j);
    double sum = 0, rest = 0;
    for (int64_t p = 0; p < j->parts; p++) sum += (double)j->first[p * j->channels + c] * (double)part_size(j, p);
    const double mean = sum / count;
    for (int64_t p = 0; p < j->parts; p++) {
        const double off = (double)j->first[p * j->channels + c] - mean;
        rest += (double)j->second[p * j->channels + c] + off * off * (double)part_size(j, p);
    }
    j->mean[c] = (float)mean;
    j->rstd[c] = (float)(1 / sqrt(rest / count + (double)j->eps));
    move(j->running_mean ? j->running_mean + c : NULL, mean, j->momentum);
    move(j->running_var ? j->running_var + c : NULL, rest / (count - 1), j->momentum);
}

static void prepare_output(const struct pe_channels *j, int64_t c) {
    if (j->training) {
        join_moments(j, c);
    } else {
        j->mean[c] = j->running_mean[c];
        j->rstd[c] = (float)(1 / sqrt((double)j->running_var[c] + (double)j->eps));
    }
    j->scale[c] = j->rstd[c] * (j->weight ? j->weight[c] : 1);
    j->shift[c] = j->bias ? j->bias[c] : 0;
}

/* the derivatives by the parameters, and what dx is made of: g scale + ((x - mean) slope + shift) */
static void prepare_input(const struct pe_channels *j, int64_t c) {
    const double count = (double)value_count(j);
    double sum = 0, product = 0;
    for (int64_t p = 0; p < j->parts && j->sums; p++) {
        sum += (double)j->first[p * j->channels + c];
        product += (double)j->second[p * j->channels + c];
    }
    const double rstd = (double)j->rstd[c], scale = rstd * (j->weight ? (double)j->weight[c] : 1);
    if (j->dbias) j->dbias[c] = (float)sum;
    if (j->dweight) j->dweight[c] = (float)(product * rstd);
    j->scale[c] = (float)scale;
    j->slope[c] = j->training ? (float)(-scale * rstd * rstd * product / count) : 0;
    j->shift[c] = j->training ? (float)(-scale * sum / count) : 0;
}

static void prepare(int64_t begin, int64_t end, void *arg) {
    const struct pe_channels *j = arg;
    for (int64_t c = begin; c < end; c++) (j->g ? prepare_input : prepare_output)(j, c);
}

/* ---- outputs: `rows` of n elements, from `at` on, of channel c and the ones behind it ---- */

static void write(const struct pe_channels *j, int64_t at, int64_t rows, int64_t n, int64_t c) {
    const float *center = j->center + c, *scale = j->scale + c, *shift = j->shift + c;
    if (!j->g)
        j->kernels->apply(j->x + at, (size_t)rows, (size_t)n, center, scale, shift, j->columns, j->y + at);
    else if (j->training)
        j->kernels->input(j->x + at, j->g + at, (size_t)rows, (size_t)n, center, scale, j->slope + c, shift, j->columns,
                          j->y + at);
    else /* dx = (g - 0) scale + 0 */
        j->kernels->apply(j->g + at, (size_t)rows, (size_t)n, center, scale, shift, j->columns, j->y + at);
}

/* From the last rows to the first: after the sums it is these that caches still hold. */
static void write_columns(int64_t begin, int64_t end, void *arg) {
    const struct pe_channels *j = arg;
    write(j, (j->length - end) * j->channels, end - begin, j->channels, 0);
}

static void write_lines(int64_t begin, int64_t end, void *arg) {
    const struct pe_channels *j = arg;
    for (int64_t line = begin; line < end; line++) write(j, line * j->length, 1, j->length, line % j->channels);
}

/* ---- all of it ---- */

static void run_channels(int64_t begin, int64_t end, void *arg) {
    const struct pe_channels *j = arg;
    for (int64_t c = begin; c < end; c++) {
        for (int64_t p = 0; p < j->parts; p++) sum_line(j, p, c);
        prepare(c, c + 1, arg);
        for (int64_t image = 0; image < j->images && j->y; image++)
            write(j, (image * j->channels + c) * j->length, 1, j->length, c);
    }
}

/* Whether a channel's numbers stay in half of L2, and there are channels enough to share. */
static int stays(pe_context *ctx, const struct pe_channels *j) {
    const double bytes = (double)value_count(j) * sizeof(float) * (j->g ? 2 : 1);
    return j->sums && !j->columns && j->channels >= 4 * pe_get_num_threads(ctx) &&
           bytes <= (double)pe_machine_cached()->l2 / 2;
}

void pe_channels_run(pe_context *ctx, struct pe_channels *j) {
    const int64_t rows = value_count(j);
    const double pass = (double)rows * (double)j->channels * ELEMENT_NS;
    if (stays(ctx, j)) {
        const int threads = pe_threads_for(ctx, 2 * pass);
        pe_parallel_for(ctx, j->channels, 1 + TASK / (rows + 1), threads, run_channels, j);
        return;
    }
    const int threads = pe_threads_for(ctx, pass);
    if (j->sums && j->columns)
        pe_parallel_for(ctx, j->parts * parts(j->channels, PE_CHANNEL_STRIP), 1, threads, sum_columns, j);
    else if (j->sums)
        pe_parallel_for(ctx, j->parts * j->channels, 1 + TASK / PART, threads, sum_lines, j);
    pe_parallel_for(ctx, j->channels, 16, pe_threads_for(ctx, (double)j->parts * (double)j->channels * 3), prepare, j);
    if (!j->y) return;
    if (j->columns) pe_parallel_for(ctx, rows, 1 + TASK / j->channels, threads, write_columns, j);
    else pe_parallel_for(ctx, j->images * j->channels, 1 + TASK / (j->length + 1), threads, write_lines, j);
}
