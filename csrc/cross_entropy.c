/* pe_cross_entropy and its derivative: checks, all labels first, then rows shared by threads. */
#include "rows.h"

#include <string.h>

static const double ELEMENT_NS = 0.8; /* one exponential with its sum, AVX2 */

/* a vector with one entry per row of the logits */
static pe_status check_vector(const char *name, const char *argument, const pe_tensor *t, int dtype,
                              const pe_tensor *logits, pe_error *err) {
    char a[PE_SHAPE_TEXT], b[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(t, dtype, name, argument, err);
    if (status) return status;
    if (t->ndim != 1 || t->shape[0] != logits->shape[0])
        return pe_fail(err, PE_ERR_SHAPE, 0,
                       "%s: %s has the shape %s, expected one entry per row of logits %s",
                       name, argument, pe_shape_text(t, a), pe_shape_text(logits, b));
    return PE_OK;
}

static pe_status check_matrix(const char *name, const char *argument, const pe_tensor *t,
                              const pe_tensor *logits, pe_error *err) {
    char a[PE_SHAPE_TEXT], b[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(t, PE_FLOAT32, name, argument, err);
    if (status) return status;
    if (t->ndim != 2)
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s must be (rows, classes), has the shape %s", name,
                       argument, pe_shape_text(t, a));
    if (t->shape[0] != logits->shape[0] || t->shape[1] != logits->shape[1])
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s has the shape %s, logits %s", name, argument,
                       pe_shape_text(t, a), pe_shape_text(logits, b));
    return PE_OK;
}

static int64_t label_at(const pe_tensor *target, int64_t row) {
    return *(const int64_t *)((const char *)target->data + row * target->strides[0]);
}

static float *entry(const pe_tensor *t, int64_t row) {
    return (float *)((char *)t->data + row * t->strides[0]);
}

/* every label is looked at before anything is written */
static pe_status check_labels(const char *name, const pe_tensor *target, int64_t classes,
                              int64_t ignore_index, int64_t *counted, pe_error *err) {
    *counted = 0;
    for (int64_t row = 0; row < target->shape[0]; row++) {
        int64_t label = label_at(target, row);
        if (label == ignore_index) continue;
        if (label < 0 || label >= classes)
            return pe_fail(err, PE_ERR_INDEX, 0, "%s: target[%lld] is %lld, the logits have %lld classes",
                           name, (long long)row, (long long)label, (long long)classes);
        ++*counted;
    }
    return PE_OK;
}

static pe_status check_smoothing(const char *name, float smoothing, pe_error *err) {
    if (smoothing >= 0.0f && smoothing <= 1.0f) return PE_OK;
    return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: label_smoothing is %g, expected 0 to 1", name,
                   (double)smoothing);
}

struct forward_job {
    const pe_cross_entropy_args *args;
    const struct pe_cross_entropy_kernels *kernels;
    struct pe_rows x;
};

static void run_forward(int64_t begin, int64_t end, void *arg) {
    const struct forward_job *job = arg;
    const pe_cross_entropy_args *a = job->args;
    for (int64_t i = begin; i < end; i++) {
        int64_t label = label_at(a->target, i);
        float *loss = entry(a->loss, i), *lse = entry(a->lse, i);
        if (label == a->ignore_index) *loss = *lse = 0.0f;
        else job->kernels->forward(pe_row(&job->x, i), (size_t)job->x.n, (size_t)label, a->label_smoothing,
                                   loss, lse);
    }
}

pe_status pe_cross_entropy(pe_context *ctx, const pe_cross_entropy_args *args, pe_error *err) {
    static const char name[] = "cross_entropy";
    int64_t counted;
    pe_status status = check_matrix(name, "logits", args->logits, args->logits, err);
    if (!status) status = check_vector(name, "target", args->target, PE_INT64, args->logits, err);
    if (!status) status = check_vector(name, "loss", args->loss, PE_FLOAT32, args->logits, err);
    if (!status) status = check_vector(name, "lse", args->lse, PE_FLOAT32, args->logits, err);
    if (!status) status = check_smoothing(name, args->label_smoothing, err);
    const int64_t classes = status ? 0 : args->logits->shape[1];
    if (!status) status = check_labels(name, args->target, classes, args->ignore_index, &counted, err);
    if (status) return status;
    struct forward_job job = {.args = args, .kernels = &ctx->kernels->cross_entropy};
    status = pe_rows_open_input(ctx, &job.x, args->logits, err);
    if (!status) {
        pe_rows_for(ctx, &job.x, ELEMENT_NS, run_forward, &job);
        if (args->counted) *args->counted = counted;
    }
    pe_rows_close(ctx, &job.x, 0, err);
    return status;
}

struct backward_job {
    const pe_cross_entropy_backward_args *args;
    const struct pe_cross_entropy_kernels *kernels;
    struct pe_rows x, dx;
};

static void run_backward(int64_t begin, int64_t end, void *arg) {
    const struct backward_job *job = arg;
    const pe_cross_entropy_backward_args *a = job->args;
    for (int64_t i = begin; i < end; i++) {
        int64_t label = label_at(a->target, i);
        float *dx = pe_row(&job->dx, i);
        if (label == a->ignore_index) memset(dx, 0, (size_t)job->dx.n * sizeof(float));
        else
            job->kernels->backward(pe_row(&job->x, i), (size_t)job->x.n, (size_t)label, a->label_smoothing,
                                   *entry(a->lse, i), *entry(a->g, i) * a->scale, dx);
    }
}

pe_status pe_cross_entropy_backward(pe_context *ctx, const pe_cross_entropy_backward_args *args,
                                    pe_error *err) {
    static const char name[] = "cross_entropy_backward";
    int64_t counted;
    pe_status status = check_matrix(name, "logits", args->logits, args->logits, err);
    if (!status) status = check_vector(name, "target", args->target, PE_INT64, args->logits, err);
    if (!status) status = check_vector(name, "lse", args->lse, PE_FLOAT32, args->logits, err);
    if (!status) status = check_vector(name, "g", args->g, PE_FLOAT32, args->logits, err);
    if (!status) status = check_matrix(name, "dx", args->dx, args->logits, err);
    if (!status) status = check_smoothing(name, args->label_smoothing, err);
    const int64_t classes = status ? 0 : args->logits->shape[1];
    if (!status) status = check_labels(name, args->target, classes, args->ignore_index, &counted, err);
    if (status) return status;
    struct backward_job job = {.args = args, .kernels = &ctx->kernels->cross_entropy};
    status = pe_rows_open_input(ctx, &job.x, args->logits, err);
    if (!status) status = pe_rows_open_output(ctx, &job.dx, args->dx, err);
    if (!status) pe_rows_for(ctx, &job.x, ELEMENT_NS, run_backward, &job);
    pe_status closed = pe_rows_close(ctx, &job.dx, !status, err);
    pe_rows_close(ctx, &job.x, 0, err);
    return status ? status : closed;
}
