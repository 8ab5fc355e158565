/* pe_sum_bags and pe_max_bags: rows of a matrix by number, folded bag by bag. Each bag is one thread's and its entries
 * are taken in their order, so the bits depend on the arguments alone. */
#include "rows.h"

#include <string.h>

static const double ELEMENT_NS = 0.2; /* one float read and added, mostly from a far cache */
#define AHEAD 8                       /* entries: their rows are asked for while this one is added */
#define AHEAD_BYTES 512               /* of a row: the rest the hardware sees coming */

struct job {
    const pe_bags_args *args;
    struct pe_rows matrix, out;
    const float *weights; /* dense, or NULL */
};

static int64_t whole_number(const pe_tensor *t, int64_t i) {
    return *(const int64_t *)((const char *)t->data + i * t->strides[0]);
}

static void ask_for(const struct job *job, int64_t entry) {
    if (entry >= job->args->index->shape[0]) return;
    const int64_t number = whole_number(job->args->index, entry), bytes = job->matrix.n * (int64_t)sizeof(float);
    if (number == job->args->skip) return;
    const char *row = (const char *)pe_row(&job->matrix, number);
    for (int64_t at = 0; at < bytes && at < AHEAD_BYTES; at += 64) __builtin_prefetch(row + at);
}

/* What becomes of a bag with its row x, of entry e. */
typedef void take_row(const struct job *, int64_t bag, const float *restrict x, int64_t e);

static inline __attribute__((always_inline)) void fold_bags(const struct job *job, int64_t begin, int64_t end,
                                                            take_row *take) {
    for (int64_t bag = begin; bag < end; bag++) {
        memset(pe_row(&job->out, bag), 0, (size_t)job->matrix.n * sizeof(float));
        const int64_t last = whole_number(job->args->offsets, bag + 1);
        for (int64_t e = whole_number(job->args->offsets, bag); e < last; e++) {
            const int64_t number = whole_number(job->args->index, e);
            ask_for(job, e + AHEAD);
            if (number != job->args->skip) take(job, bag, pe_row(&job->matrix, number), e);
        }
    }
}

static void add_row(const struct job *job, int64_t bag, const float *restrict x, int64_t e) {
    float *restrict sum = pe_row(&job->out, bag);
    const float weight = job->weights ? job->weights[e] : 1.0f;
    for (int64_t j = 0; j < job->matrix.n; j++) sum[j] += weight * x[j];
}

static void run_sums(int64_t begin, int64_t end, void *arg) { fold_bags(arg, begin, end, add_row); }

/* place is dense (bags, n) */
static int64_t *places_of(const struct job *job, int64_t bag) {
    return (int64_t *)job->args->place->data + bag * job->matrix.n;
}

static void rise_to_row(const struct job *job, int64_t bag, const float *restrict x, int64_t e) {
    float *restrict best = pe_row(&job->out, bag);
    int64_t *restrict place = places_of(job, bag);
    for (int64_t j = 0; j < job->matrix.n; j++)
        if (place[j] < 0 || x[j] > best[j] || (x[j] != x[j] && best[j] == best[j])) best[j] = x[j], place[j] = e;
}

static void run_maxima(int64_t begin, int64_t end, void *arg) {
    const struct job *job = arg;
    for (int64_t i = begin * job->matrix.n; i < end * job->matrix.n; i++) places_of(job, 0)[i] = -1;
    fold_bags(job, begin, end, rise_to_row);
}

/* offsets: one more than bags, from 0 to the number of entries, never falling */
static pe_status check_offsets(const char *name, const pe_tensor *offsets, int64_t bags, int64_t count, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(offsets, PE_INT64, name, "offsets", err);
    if (status) return status;
    if (offsets->ndim != 1 || offsets->shape[0] != bags + 1)
        return pe_fail(err, PE_ERR_SHAPE, 0, "%s: offsets %s must hold one more than the %lld bags", name,
                       pe_shape_text(offsets, text), (long long)bags);
    int64_t before = 0;
    for (int64_t i = 0; i <= bags; i++) {
        const int64_t offset = whole_number(offsets, i);
        if (offset < before || offset > count)
            return pe_fail(err, PE_ERR_ARGUMENT, 0, "%s: offsets[%lld] is %lld after %lld, of %lld entries", name,
                           (long long)i, (long long)offset, (long long)before, (long long)count);
        before = offset;
    }
    return PE_OK;
}

static pe_status check(const char *name, const pe_bags_args *args, int maximum, pe_error *err) {
    char a[PE_SHAPE_TEXT], b[PE_SHAPE_TEXT], c[PE_SHAPE_TEXT];
    const pe_tensor *matrix = args->matrix, *index = args->index, *out = args->out, *weights = args->weights;
    pe_status status = pe_rows_check_matrix(name, "matrix", matrix, err);
    if (!status) status = pe_rows_check_matrix(name, "out", out, err);
    if (!status) status = pe_check_dtype(index, PE_INT64, name, "index", err);
    if (!status && weights) status = pe_check_dtype(weights, PE_FLOAT32, name, "weights", err);
    if (!status && maximum) status = pe_check_dtype(args->place, PE_INT64, name, "place", err);
    if (status) return status;
    if (index->ndim != 1 || out->shape[1] != matrix->shape[1] || (weights && !pe_same_shape(weights, index)))
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: matrix %s, index (and weights) %s and out %s do not fit", name,
                       pe_shape_text(matrix, a), pe_shape_text(index, b), pe_shape_text(out, c));
    if (maximum && (!pe_same_shape(args->place, out) || !pe_is_contiguous(args->place)))
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: place must be dense and of out's shape %s", name,
                       pe_shape_text(out, a));
    status = check_offsets(name, args->offsets, out->shape[0], index->shape[0], err);
    return status ? status : pe_rows_check_numbers(name, index, matrix->shape[0], args->skip, err);
}

static pe_status run(pe_context *ctx, const pe_bags_args *args, const char *name, pe_range_body *body, int maximum,
                     pe_error *err) {
    pe_status status = check(name, args, maximum, err);
    if (status) return status;
    struct job job = { .args = args };
    struct pe_rows weights = { 0 };
    status = pe_rows_open_input(ctx, &job.matrix, args->matrix, err);
    if (!status && args->weights) status = pe_rows_open_input(ctx, &weights, args->weights, err);
    if (!status) status = pe_rows_open_output(ctx, &job.out, args->out, err);
    if (!status) {
        job.weights = args->weights ? (const float *)weights.data : NULL;
        const int64_t bags = job.out.count, entries = args->index->shape[0] + bags;
        const double work = (double)entries * (double)(job.out.n + 16) * ELEMENT_NS;
        const int64_t grain = 1 + (int64_t)((double)bags * 3000 / (work + 1)); /* of about 3 us */
        pe_parallel_for(ctx, bags, grain, pe_threads_for(ctx, work), body, &job);
    }
    pe_status closed = pe_rows_close(ctx, &job.out, !status, err);
    pe_rows_close(ctx, &weights, 0, err);
    pe_rows_close(ctx, &job.matrix, 0, err);
    return status ? status : closed;
}

pe_status pe_sum_bags(pe_context *ctx, const pe_bags_args *args, pe_error *err) {
    return run(ctx, args, "sum_bags", run_sums, 0, err);
}

pe_status pe_max_bags(pe_context *ctx, const pe_bags_args *args, pe_error *err) {
    return run(ctx, args, "max_bags", run_maxima, 1, err);
}
