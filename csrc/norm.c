/* pe_layer_norm, pe_rms_norm and their derivatives: rows along the last axis, shared by threads. Both
 * are one call here; RMS norm is the one without mean. */
#include "rows.h"

#include <string.h>

/* one element of the forward or backward passes, AVX2, from L2, in nanoseconds */
static const double FORWARD_NS = 0.4, BACKWARD_NS = 0.6, MERGE_NS = 0.06;

/* ---- checks ---- */

/* a vector of n elements; dense where it is addressed without strides */
static pe_status check_vector(const char *name, const char *argument, const pe_tensor *t, int64_t n, int dense,
                              pe_error *err) {
    char text[PE_SHAPE_TEXT];
    const pe_tensor model = {NULL, PE_FLOAT32, 1, {n}, {sizeof(float)}};
    pe_status status = pe_rows_check(name, argument, t, &model, err);
    if (!status && dense && n > 1 && t->strides[0] != (int64_t)sizeof(float))
        status = pe_fail(err, PE_ERR_SHAPE, 0, "%s: %s of shape %s must be dense", name, argument,
                         pe_shape_text(t, text));
    return status;
}

static int64_t row_count(const pe_tensor *t) {
    int64_t rows = 1;
    for (int i = 0; i < t->ndim - 1; i++) rows *= t->shape[i];
    return rows;
}

static pe_status check_optional(const char *name, const char *argument, const pe_tensor *t, int64_t n,
                                pe_error *err) {
    return t ? check_vector(name, argument, t, n, 0, err) : PE_OK;
}

static const float *first_row(const struct pe_rows *r, const pe_tensor *given) {
    return given ? (const float *)r->data : NULL;
}

/* ---- forward ---- */

struct forward_job {
    const struct pe_norm_kernels *kernels;
    struct pe_rows x, y, weight, bias;
    const float *w, *b;
    float *mean, *rstd; /* mean is NULL for RMS norm */
    float eps;
};

static void run_forward(int64_t begin, int64_t end, void *arg) {
    const struct forward_job *j = arg;
    const size_t n = (size_t)j->x.n;
    for (int64_t i = begin; i < end; i++) {
        const float *x = pe_row(&j->x, i);
        float *y = pe_row(&j->y, i);
        if (j->mean) j->kernels->layer(x, j->w, j->b, y, n, j->eps, j->mean + i, j->rstd + i);
        else j->kernels->rms(x, j->w, y, n, j->eps, j->rstd + i);
    }
}

static pe_status forward(pe_context *ctx, const char *name, const pe_layer_norm_args *a, int centred,
                         pe_error *err) {
    pe_status status = pe_rows_check(name, "in", a->in, a->in, err);
    if (!status) status = pe_rows_check(name, "out", a->out, a->in, err);
    if (status) return status;
    const int64_t n = a->in->shape[a->in->ndim - 1], rows = row_count(a->in);
    status = check_optional(name, "weight", a->weight, n, err);
    if (!status) status = check_optional(name, "bias", a->bias, n, err);
    if (!status && centred) status = check_vector(name, "mean", a->mean, rows, 1, err);
    if (!status) status = check_vector(name, "rstd", a->rstd, rows, 1, err);
    if (status || pe_numel(a->in) == 0) return status;
    struct forward_job job = {.kernels = &ctx->kernels->norm, .eps = a->eps, .rstd = a->rstd->data,
                              .mean = centred ? a->mean->data : NULL};
    status = pe_rows_open_input(ctx, &job.x, a->in, err);
    if (!status && a->weight) status = pe_rows_open_input(ctx, &job.weight, a->weight, err);
    if (!status && a->bias) status = pe_rows_open_input(ctx, &job.bias, a->bias, err);
    if (!status) status = pe_rows_open_output(ctx, &job.y, a->out, err);
    if (!status) {
        job.w = first_row(&job.weight, a->weight);
        job.b = first_row(&job.bias, a->bias);
        pe_rows_for(ctx, &job.x, FORWARD_NS, run_forward, &job);
    }
    pe_status closed = pe_rows_close(ctx, &job.y, !status, err);
    pe_rows_close(ctx, &job.bias, 0, err);
    pe_rows_close(ctx, &job.weight, 0, err);
    pe_rows_close(ctx, &job.x, 0, err);
    return status ? status : closed;
}

pe_status pe_layer_norm(pe_context *ctx, const pe_layer_norm_args *args, pe_error *err) {
    return forward(ctx, "layer_norm", args, 1, err);
}

pe_status pe_rms_norm(pe_context *ctx, const pe_rms_norm_args *args, pe_error *err) {
    const pe_layer_norm_args a = {.in = args->in, .weight = args->weight, .out = args->out, .rstd = args->rstd,
                                  .eps = args->eps};
    return forward(ctx, "rms_norm", &a, 0, err);
}

/* ---- backward ---- */

struct backward_job {
    const struct pe_norm_kernels *kernels;
    struct pe_rows x, g, dx, weight, dweight, dbias;
    const float *w, *mean, *rstd;
    float *dw, *db;                    /* (parts, pitch) or NULL */
    int64_t rows, part, parts, pitch;  /* rows in all and of a part; floats from part to part */
};

/* Parts follow from the shape alone. At least 16k elements each, so that a part outweighs clearing
 * and merging its sums; at most 64 of long rows and more of short ones, which keeps the chains of
 * additions short where there are many. */
static void cut_parts(struct backward_job *j, int64_t rows, int64_t n) {
    int64_t most = 65536 / n;
    if (most < 64) most = 64;
    if (most > 4096) most = 4096;
    j->rows = rows;
    j->part = (rows + most - 1) / most;
    const int64_t least = 16384 / n + 1;
    if (j->part < least) j->part = least;
    j->parts = (rows + j->part - 1) / j->part;
    j->pitch = (n + 15) / 16 * 16;
}

static float *cleared(float *sums, int64_t at, int64_t n) {
    return sums ? memset(sums + at, 0, (size_t)n * sizeof(float)) : NULL;
}

static void run_backward(int64_t begin, int64_t end, void *arg) {
    const struct backward_job *j = arg;
    const size_t n = (size_t)j->x.n;
    for (int64_t part = begin; part < end; part++) {
        float *dw = cleared(j->dw, part * j->pitch, j->x.n), *db = cleared(j->db, part * j->pitch, j->x.n);
        const int64_t last = (part + 1) * j->part < j->rows ? (part + 1) * j->part : j->rows;
        for (int64_t i = part * j->part; i < last; i++) {
            const float *x = pe_row(&j->x, i), *g = pe_row(&j->g, i);
            float *dx = pe_row(&j->dx, i);
            if (j->mean) j->kernels->layer_backward(x, g, j->w, dx, n, j->mean[i], j->rstd[i], dw, db);
            else j->kernels->rms_backward(x, g, j->w, dx, n, j->rstd[i], dw);
        }
    }
}

struct merge_job {
    const struct pe_reduce_op *sum;
    const float *parts;
    float *out;
    int64_t pitch, count;
};

static void run_merge(int64_t begin, int64_t end, void *arg) {
    const struct merge_job *m = arg;
    m->sum->merge(m->parts + begin, m->pitch, (size_t)m->count, (size_t)(end - begin), m->out + begin);
}

static void merge(pe_context *ctx, const struct backward_job *j, const float *parts, const struct pe_rows *to) {
    struct merge_job m = {&ctx->kernels->reduce.op[PE_REDUCE_sum], parts, (float *)to->data, j->pitch, j->parts};
    if (!parts) return;
    const double work = (double)to->n * (double)j->parts * MERGE_NS;
    pe_parallel_for(ctx, to->n, 512, pe_threads_for(ctx, work), run_merge, &m);
}

static pe_status check_backward(const char *name, const pe_layer_norm_backward_args *a, int centred, pe_error *err) {
    pe_status status = pe_rows_check(name, "in", a->in, a->in, err);
    if (!status) status = pe_rows_check(name, "g", a->g, a->in, err);
    if (!status) status = pe_rows_check(name, "dx", a->dx, a->in, err);
    if (status) return status;
    const int64_t n = a->in->shape[a->in->ndim - 1], rows = row_count(a->in);
    status = check_optional(name, "weight", a->weight, n, err);
    if (!status) status = check_optional(name, "dweight", a->dweight, n, err);
    if (!status) status = check_optional(name, "dbias", a->dbias, n, err);
    if (!status && centred) status = check_vector(name, "mean", a->mean, rows, 1, err);
    if (!status) status = check_vector(name, "rstd", a->rstd, rows, 1, err);
    return status;
}

static pe_status open_backward(pe_context *ctx, struct backward_job *j, const pe_layer_norm_backward_args *a,
                               pe_error *err) {
    pe_status status = pe_rows_open_input(ctx, &j->x, a->in, err);
    if (!status) status = pe_rows_open_input(ctx, &j->g, a->g, err);
    if (!status && a->weight) status = pe_rows_open_input(ctx, &j->weight, a->weight, err);
    if (!status) status = pe_rows_open_output(ctx, &j->dx, a->dx, err);
    if (!status && a->dweight) status = pe_rows_open_output(ctx, &j->dweight, a->dweight, err);
    if (!status && a->dbias) status = pe_rows_open_output(ctx, &j->dbias, a->dbias, err);
    j->w = first_row(&j->weight, a->weight);
    return status;
}

static pe_status close_backward(pe_context *ctx, struct backward_job *j, pe_status status, pe_error *err) {
    struct pe_rows *const outputs[] = {&j->dx, &j->dweight, &j->dbias}, *const inputs[] = {&j->x, &j->g, &j->weight};
    for (int i = 0; i < 3; i++) {
        pe_status closed = pe_rows_close(ctx, outputs[i], !status, err);
        if (!status) status = closed;
        pe_rows_close(ctx, inputs[i], 0, err);
    }
    return status;
}

/* no row was there to be summed: zeros */
static pe_status clear(pe_context *ctx, const pe_tensor *sums, pe_error *err) {
    const float zero = 0;
    if (!sums || pe_numel(sums) == 0) return PE_OK;
    pe_tensor from = *sums;
    from.data = (void *)&zero;
    from.strides[0] = 0;
    return pe_copy(ctx, &(pe_copy_args){&from, sums}, err);
}

static pe_status backward(pe_context *ctx, const char *name, const pe_layer_norm_backward_args *a, int centred,
                          pe_error *err) {
    pe_status status = check_backward(name, a, centred, err);
    if (status) return status;
    if (pe_numel(a->in) == 0) {
        status = clear(ctx, a->dweight, err);
        return status ? status : clear(ctx, a->dbias, err);
    }
    struct backward_job job = {.kernels = &ctx->kernels->norm, .rstd = a->rstd->data,
                               .mean = centred ? a->mean->data : NULL};
    cut_parts(&job, row_count(a->in), a->in->shape[a->in->ndim - 1]);
    const int64_t sums = (a->dweight != NULL) + (a->dbias != NULL), held = job.parts * job.pitch;
    float *scratch = sums ? pe_alloc(ctx, (size_t)(sums * held) * sizeof(float)) : NULL;
    if (sums && !scratch)
        return pe_fail(err, PE_ERR_MEMORY, -1, "%s: no memory for %lld sums", name, (long long)(sums * held));
    job.dw = a->dweight ? scratch : NULL;
    job.db = a->dbias ? scratch + (sums - 1) * held : NULL;
    status = open_backward(ctx, &job, a, err);
    if (!status) {
        const double work = (double)job.rows * (double)(job.x.n + 16) * BACKWARD_NS;
        pe_parallel_for(ctx, job.parts, 1, pe_threads_for(ctx, work), run_backward, &job);
        merge(ctx, &job, job.dw, &job.dweight);
        merge(ctx, &job, job.db, &job.dbias);
    }
    status = close_backward(ctx, &job, status, err);
    pe_free(ctx, scratch);
    return status;
}

pe_status pe_layer_norm_backward(pe_context *ctx, const pe_layer_norm_backward_args *args, pe_error *err) {
    return backward(ctx, "layer_norm_backward", args, 1, err);
}

pe_status pe_rms_norm_backward(pe_context *ctx, const pe_rms_norm_backward_args *args, pe_error *err) {
    const pe_layer_norm_backward_args a = {.in = args->in, .g = args->g, .weight = args->weight, .rstd = args->rstd,
                                           .dx = args->dx, .dweight = args->dweight};
    return backward(ctx, "rms_norm_backward", &a, 0, err);
}
