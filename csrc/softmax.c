/* pe_softmax and its derivative: rows along the last axis, shared by threads. */
#include "rows.h"

/* one element of the dearest pass (exp and sum), AVX2, in nanoseconds */
static const double ELEMENT_NS = 0.8;

struct forward_job {
    struct pe_rows x, y;
    void (*kernel)(const float *x, float *y, size_t n);
};

static void run_forward(int64_t begin, int64_t end, void *arg) {
    const struct forward_job *job = arg;
    for (int64_t i = begin; i < end; i++)
        job->kernel(pe_row(&job->x, i), pe_row(&job->y, i), (size_t)job->x.n);
}

pe_status pe_softmax(pe_context *ctx, const pe_softmax_args *args, pe_error *err) {
    const char *name = args->logarithm ? "log_softmax" : "softmax";
    pe_status status = pe_rows_check(name, "in", args->in, args->in, err);
    if (!status) status = pe_rows_check(name, "out", args->out, args->in, err);
    if (status || pe_numel(args->in) == 0) return status;
    struct forward_job job = {.kernel = args->logarithm ? ctx->kernels->softmax.forward_log
                                                        : ctx->kernels->softmax.forward};
    status = pe_rows_open_input(ctx, &job.x, args->in, err);
    if (!status) status = pe_rows_open_output(ctx, &job.y, args->out, err);
    if (!status) pe_rows_for(ctx, &job.x, ELEMENT_NS, run_forward, &job);
    pe_status closed = pe_rows_close(ctx, &job.y, !status, err);
    pe_rows_close(ctx, &job.x, 0, err);
    return status ? status : closed;
}

struct backward_job {
    struct pe_rows y, g, dx;
    void (*kernel)(const float *y, const float *g, float *dx, size_t n);
};

static void run_backward(int64_t begin, int64_t end, void *arg) {
    const struct backward_job *job = arg;
    for (int64_t i = begin; i < end; i++)
        job->kernel(pe_row(&job->y, i), pe_row(&job->g, i), pe_row(&job->dx, i), (size_t)job->y.n);
}

pe_status pe_softmax_backward(pe_context *ctx, const pe_softmax_backward_args *args, pe_error *err) {
    const char *name = args->logarithm ? "log_softmax_backward" : "softmax_backward";
    pe_status status = pe_rows_check(name, "y", args->y, args->y, err);
    if (!status) status = pe_rows_check(name, "g", args->g, args->y, err);
    if (!status) status = pe_rows_check(name, "dx", args->dx, args->y, err);
    if (status || pe_numel(args->y) == 0) return status;
    struct backward_job job = {.kernel = args->logarithm ? ctx->kernels->softmax.backward_log
                                                         : ctx->kernels->softmax.backward};
    status = pe_rows_open_input(ctx, &job.y, args->y, err);
    if (!status) status = pe_rows_open_input(ctx, &job.g, args->g, err);
    if (!status) status = pe_rows_open_output(ctx, &job.dx, args->dx, err);
    if (!status) pe_rows_for(ctx, &job.y, ELEMENT_NS, run_backward, &job);
    pe_status closed = pe_rows_close(ctx, &job.dx, !status, err);
    pe_rows_close(ctx, &job.g, 0, err);
    pe_rows_close(ctx, &job.y, 0, err);
    return status ? status : closed;
}
