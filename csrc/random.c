/* pe_random and pe_dropout: checks, and ranges of a counter-based stream shared by threads. */
#include "internal.h"

enum { CHUNK = 16384 };
/* one element of each on AVX2, in nanoseconds */
static const double UNIFORM_NS = 1.0, NORMAL_NS = 3.0;

struct random_job {
    const pe_random_args *args;
    const struct pe_random_kernels *kernels;
};

static void run_random(int64_t begin, int64_t end, void *arg) {
    const struct random_job *job = arg;
    const pe_random_args *a = job->args;
    float *out = (float *)a->out->data + begin;
    const uint64_t first = a->offset + (uint64_t)begin;
    if (a->kind == PE_RANDOM_NORMAL)
        job->kernels->normal(out, (size_t)(end - begin), a->seed, first, a->a, a->b);
    else
        job->kernels->uniform(out, (size_t)(end - begin), a->seed, first, a->a, a->b - a->a);
}

pe_status pe_random(pe_context *ctx, const pe_random_args *args, pe_error *err) {
    if (args->kind != PE_RANDOM_UNIFORM && args->kind != PE_RANDOM_NORMAL)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "random: there is no kind number %d", args->kind);
    const char *name = args->kind == PE_RANDOM_NORMAL ? "normal" : "uniform";
    char text[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(args->out, PE_FLOAT32, name, "out", err);
    if (status) return status;
    if (!pe_is_contiguous(args->out))
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: out of shape %s must be contiguous", name,
                       pe_shape_text(args->out, text));
    struct random_job job = {args, &ctx->kernels->random};
    const int64_t n = pe_numel(args->out);
    const double work = (double)n * (args->kind == PE_RANDOM_NORMAL ? NORMAL_NS : UNIFORM_NS);
    pe_parallel_for(ctx, n, CHUNK, pe_threads_for(ctx, work), run_random, &job);
    return PE_OK;
}

struct dropout_job {
    const pe_dropout_args *args;
    const struct pe_random_kernels *kernels;
    const float *in;
    float *out;
};

static void run_dropout(int64_t begin, int64_t end, void *arg) {
    const struct dropout_job *job = arg;
    const pe_dropout_args *a = job->args;
    const float scale = (float)(1.0 / (1.0 - (double)a->p)); /* p = 1: infinite, and never used */
    job->kernels->dropout(job->in + begin, job->out + begin, (size_t)(end - begin), a->seed,
                          a->offset + (uint64_t)begin, a->p, scale);
}

static pe_status check_dropout(const pe_dropout_args *args, pe_error *err) {
    char a[PE_SHAPE_TEXT], b[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(args->in, PE_FLOAT32, "dropout", "in", err);
    if (!status) status = pe_check_dtype(args->out, PE_FLOAT32, "dropout", "out", err);
    if (status) return status;
    if (!pe_same_shape(args->in, args->out))
        return pe_fail(err, PE_ERR_SHAPE, -1, "dropout: in has the shape %s, out %s",
                       pe_shape_text(args->in, a), pe_shape_text(args->out, b));
    if (!(args->p >= 0.0f && args->p <= 1.0f))
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "dropout: p is %g, expected 0 to 1", (double)args->p);
    return PE_OK;
}

static pe_tensor dense_like(const pe_tensor *t, void *data) {
    pe_tensor dense = *t;
    int64_t stride = sizeof(float);
    for (int i = t->ndim - 1; i >= 0; i--) {
        dense.strides[i] = stride;
        stride *= t->shape[i];
    }
    dense.data = data;
    return dense;
}

/* Strided tensors pass through one dense copy, which the kernel works on in place. */
pe_status pe_dropout(pe_context *ctx, const pe_dropout_args *args, pe_error *err) {
    pe_status status = check_dropout(args, err);
    const int64_t n = status ? 0 : pe_numel(args->in);
    if (status || n == 0) return status;
    struct dropout_job job = {args, &ctx->kernels->random, args->in->data, args->out->data};
    float *scratch = NULL;
    pe_tensor dense;
    if (!pe_is_contiguous(args->in) || !pe_is_contiguous(args->out)) {
        scratch = pe_alloc(ctx, (size_t)n * sizeof(float));
        if (!scratch)
            return pe_fail(err, PE_ERR_MEMORY, -1, "dropout: no memory for a dense copy of %lld elements",
                           (long long)n);
        dense = dense_like(args->in, scratch);
        status = pe_copy(ctx, &(pe_copy_args){args->in, &dense}, err);
        job.in = job.out = scratch;
    }
    const int threads = pe_threads_for(ctx, (double)n * UNIFORM_NS);
    if (!status) pe_parallel_for(ctx, n, CHUNK, threads, run_dropout, &job);
    if (!status && scratch) status = pe_copy(ctx, &(pe_copy_args){&dense, args->out}, err);
    pe_free(ctx, scratch);
    return status;
}
