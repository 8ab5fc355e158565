/* pe_norm2: the 2-norm of many tensors as one vector, and of each. Each tensor is cut into chunks whose sums of
 * squares are those of reduce.def; the chunks' sums are added in double in the order of the tensors. */
#include "internal.h"

#include <math.h>

enum { CHUNK = 16384 };
static const double ELEMENT_NS = 0.06; /* as a sum from L2 (reduce.c) */

struct norm_chunk { const float *x; size_t n; float sum; };

struct norm_job { const struct pe_reduce_op *op; struct norm_chunk *chunks; };

static void sum_chunks(int64_t begin, int64_t end, void *arg) {
    const struct norm_job *job = arg;
    for (struct norm_chunk *c = job->chunks + begin; c < job->chunks + end; c++)
        job->op->rows(c->x, 0, 1, c->n, &c->sum);
}

/* counts the chunks and the elements; refuses what cannot be */
static pe_status measure(const pe_norm_args *args, int64_t *chunks, int64_t *total, pe_error *err) {
    *chunks = *total = 0;
    if (args->count < 0 || !args->out)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "norm2: %s", args->out ? "count is negative" : "out is NULL");
    for (int64_t i = 0; i < args->count; i++) {
        int64_t n = args->n[i];
        if (n < 0 || (n && !args->x[i]) || __builtin_add_overflow(*total, n, total))
            return pe_fail(err, PE_ERR_ARGUMENT, -1, "norm2: tensor %lld has %lld elements%s", (long long)i,
                           (long long)n, args->x[i] ? "" : " at NULL");
        *chunks += n / CHUNK + (n % CHUNK != 0);
    }
    return PE_OK;
}

pe_status pe_norm2(pe_context *ctx, const pe_norm_args *args, pe_error *err) {
    int64_t count, total;
    pe_status status = measure(args, &count, &total, err);
    if (status) return status;
    *args->out = 0;
    for (int64_t i = 0; args->each && i < args->count; i++) args->each[i] = 0;
    if (!count) return PE_OK;
    struct norm_chunk *chunks = pe_alloc(ctx, (size_t)count * sizeof *chunks), *next = chunks;
    if (!chunks)
        return pe_fail(err, PE_ERR_MEMORY, -1, "norm2: no memory for %lld chunks", (long long)count);
    for (int64_t i = 0; i < args->count; i++)
        for (int64_t at = 0; at < args->n[i]; at += CHUNK) {
            int64_t left = args->n[i] - at;
            *next++ = (struct norm_chunk){args->x[i] + at, (size_t)(left < CHUNK ? left : CHUNK), 0};
        }
    struct norm_job job = {&ctx->kernels->reduce.op[PE_REDUCE_sumsq], chunks};
    pe_parallel_for(ctx, count, 1, pe_threads_for(ctx, (double)total * ELEMENT_NS), sum_chunks, &job);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += chunks[i].sum;
    *args->out = sqrt(sum);
    next = chunks;
    for (int64_t i = 0; args->each && i < args->count; i++) {
        double own = 0;
        for (int64_t at = 0; at < args->n[i]; at += CHUNK) own += next++->sum;
        args->each[i] = sqrt(own);
    }
    pe_free(ctx, chunks);
    return PE_OK;
}
