/* pe_take_rows and pe_add_rows: the rows of a matrix by number, and their sum back into place. */
#include "rows.h"

#include <string.h>

static const double ELEMENT_NS = 0.3; /* one float read and written out of cache */

static int64_t number_at(const pe_tensor *index, int64_t i) {
    return *(const int64_t *)((const char *)index->data + i * index->strides[0]);
}

/* matrix (rows, n), index (count), picked (count, n); every number is looked at before anything is written */
static pe_status check(const char *name, const pe_rows_by_number_args *args, pe_error *err) {
    const pe_tensor *index = args->index;
    char a[PE_SHAPE_TEXT], b[PE_SHAPE_TEXT], c[PE_SHAPE_TEXT];
    pe_status status = pe_rows_check_matrix(name, "matrix", args->matrix, err);
    if (!status) status = pe_rows_check_matrix(name, "picked", args->picked, err);
    if (!status) status = pe_check_dtype(index, PE_INT64, name, "index", err);
    if (status) return status;
    if (index->ndim != 1 || index->shape[0] != args->picked->shape[0] ||
        args->matrix->shape[1] != args->picked->shape[1])
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: matrix %s, index %s and picked %s do not fit", name,
                       pe_shape_text(args->matrix, a), pe_shape_text(index, b), pe_shape_text(args->picked, c));
    if (args->step < 0 || (args->step && args->matrix->shape[0] / args->step != index->shape[0]))
        return pe_fail(err, PE_ERR_SHAPE, 0, "%s: %lld rows are not %lld for each of index %s", name,
                       (long long)args->matrix->shape[0], (long long)args->step, pe_shape_text(index, a));
    return pe_rows_check_numbers(name, index, args->step ? args->step : args->matrix->shape[0], args->skip, err);
}

struct job {
    const pe_rows_by_number_args *args;
    struct pe_rows matrix, picked;
};

static void run_take(int64_t begin, int64_t end, void *arg) {
    const struct job *job = arg;
    const size_t bytes = (size_t)job->picked.n * sizeof(float);
    for (int64_t i = begin; i < end; i++) {
        int64_t number = number_at(job->args->index, i);
        if (number == job->args->skip) memset(pe_row(&job->picked, i), 0, bytes);
        else memcpy(pe_row(&job->picked, i), pe_row(&job->matrix, number + i * job->args->step), bytes);
    }
}

/* Whoever owns the rows [begin, end) of the matrix reads all numbers and adds, in their order, those rows
 * that are its own: no two threads write one row, and no sum depends on how the rows were shared out. */
static void run_add(int64_t begin, int64_t end, void *arg) {
    const struct job *job = arg;
    const int64_t n = job->matrix.n;
    for (int64_t row = begin; row < end; row++) memset(pe_row(&job->matrix, row), 0, (size_t)n * sizeof(float));
    for (int64_t i = 0; i < job->picked.count; i++) {
        int64_t number = number_at(job->args->index, i);
        int64_t row = number + i * job->args->step;
        if (row < begin || row >= end || number == job->args->skip) continue;
        float *restrict sum = pe_row(&job->matrix, row);
        const float *restrict x = pe_row(&job->picked, i);
        for (int64_t j = 0; j < n; j++) sum[j] += x[j];
    }
}

pe_status pe_take_rows(pe_context *ctx, const pe_rows_by_number_args *args, pe_error *err) {
    pe_status status = check("take_rows", args, err);
    if (status) return status;
    struct job job = {.args = args};
    status = pe_rows_open_input(ctx, &job.matrix, args->matrix, err);
    if (!status) {
        status = pe_rows_open_output(ctx, &job.picked, args->picked, err);
        if (!status) pe_rows_for(ctx, &job.picked, ELEMENT_NS, run_take, &job);
        pe_status closed = pe_rows_close(ctx, &job.picked, !status, err);
        if (!status) status = closed;
    }
    pe_rows_close(ctx, &job.matrix, 0, err);
    return status;
}

pe_status pe_add_rows(pe_context *ctx, const pe_rows_by_number_args *args, pe_error *err) {
    pe_status status = check("add_rows", args, err);
    if (status) return status;
    struct job job = {.args = args};
    status = pe_rows_open_input(ctx, &job.picked, args->picked, err);
    if (!status) {
        status = pe_rows_open_output(ctx, &job.matrix, args->matrix, err);
        if (!status) {
            /* each part reads all numbers: as many parts as threads, no more */
            const int64_t rows = job.matrix.count;
            const double work = (double)(rows + job.picked.count) * (double)job.matrix.n * ELEMENT_NS;
            const int threads = pe_threads_for(ctx, work);
            pe_parallel_for(ctx, rows, rows / threads + 1, threads, run_add, &job);
        }
        pe_status closed = pe_rows_close(ctx, &job.matrix, !status, err);
        if (!status) status = closed;
    }
    pe_rows_close(ctx, &job.picked, 0, err);
    return status;
}
