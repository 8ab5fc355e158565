/* pe_gemm: runs the plan's tasks over the pool. Every path runs each chain over k in order, so the
 * bits of c depend on a, b and the bias alone: not on threads, blocks, strides or the batch. */
#include "gemm_task.h"
#include "half.h"

#include <math.h>

#define SMALL_SCRATCH 4096 /* floats: products up to about 32^3 pack on the stack */

struct batch_run {
    const struct pe_gemm_run *run;
    const struct pe_gemm_batch *batch;
    int failed;
};

/* Moves the operands to product number x of the batch. */
static void go_to(struct pe_gemm_problem *g, const struct batch_run *br, int64_t x) {
    const struct pe_gemm_batch *batch = br->batch;
    int exchanged = br->run->plan.exchanged;
    for (int d = batch->axes - 1; d >= 0; d--) {
        int64_t at = x % batch->size[d];
        x /= batch->size[d];
        g->a = pe_gemm_at(g->a, at * (exchanged ? batch->b[d] : batch->a[d]), g->a_half);
        g->b = pe_gemm_at(g->b, at * (exchanged ? batch->a[d] : batch->b[d]), g->b_half);
        g->c += at * batch->c[d];
        if (g->residual) g->residual += at * batch->residual[d];
        if (g->bias) g->bias += at * batch->bias[d];
        if (g->packed) g->packed = pe_gemm_at(g->packed, at * batch->packed[d], g->b_half);
    }
}

/* Task x is task x % tasks of product x / tasks. */
static void tasks_body(int64_t begin, int64_t end, void *arg) {
    struct batch_run *br = arg;
    const struct pe_gemm_run *r = br->run;
    float small[SMALL_SCRATCH] __attribute__((aligned(64))), *memory = small;
    size_t floats = pe_gemm_task_floats(&r->plan);
    if (floats > SMALL_SCRATCH) memory = pe_alloc(r->ctx, floats * sizeof(float));
    if (!memory) {
        __atomic_store_n(&br->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t x = begin; x < end; x++) {
        struct pe_gemm_problem g = r->g;
        if (br->batch->axes) go_to(&g, br, x / r->plan.tasks);
        pe_gemm_run_task(r, &g, x % r->plan.tasks, memory);
    }
    if (memory != small) pe_free(r->ctx, memory);
}

/* Products whose b is packed first go one after the other. */
static int run_shared(struct pe_gemm_run *r, const struct pe_gemm_batch *batch, int threads) {
    struct pe_gemm_run one = *r;
    const struct pe_gemm_batch alone = { .axes = 0, .count = 1 };
    struct batch_run whole = { .run = r, .batch = batch }, br = { .run = &one, .batch = &alone };
    float *packed = pe_alloc(r->ctx, r->plan.shared_floats * sizeof(float));
    if (!packed) return 0;
    for (int64_t x = 0; x < batch->count; x++) {
        one.g = r->g;
        go_to(&one.g, &whole, x);
        one.g.packed = packed;
        pe_gemm_pack_panels(r->ctx, &one.g, r->plan.nr, packed, threads);
        pe_parallel_for(r->ctx, r->plan.tasks, 1, threads, tasks_body, &br);
    }
    pe_free(r->ctx, packed);
    return !br.failed;
}

/* True when the activation is none or one that clamps from 0 on. */
static int find_clamp(pe_context *ctx, pe_loop *activation, float *most) {
    pe_loop *const *loops = ctx->kernels->elementwise.loop;
    *most = activation == loops[PE_OP_relu6] ? 6 : INFINITY;
    return !activation || activation == loops[PE_OP_relu] || activation == loops[PE_OP_relu6];
}

void pe_gemm_start(pe_context *ctx, const struct pe_gemm_problem *g, int64_t products, struct pe_gemm_run *r) {
    *r = (struct pe_gemm_run){ .ctx = ctx, .g = *g, .kernels = &ctx->kernels->gemm,
                               .lanes = ctx->kernels->vector_floats };
    pe_gemm_make_plan(ctx->kernels, pe_get_num_threads(ctx), products, &r->g, &r->plan);
    r->finishes = g->bias || g->activation || g->scale || g->residual;
    r->in_tile = !g->scale && !g->residual && (!g->bias || r->g.bias_j == 1) &&
                 find_clamp(ctx, g->activation, &r->most);
}

pe_status pe_gemm_run_batch(pe_context *ctx, const struct pe_gemm_problem *g, const struct pe_gemm_batch *batch,
                            pe_error *err) {
    struct pe_gemm_run r;
    if (g->m == 0 || g->n == 0 || batch->count == 0) return PE_OK;
    pe_gemm_start(ctx, g, batch->count, &r);
    int threads = pe_threads_for(ctx, r.plan.nanoseconds * (double)batch->count), done;
    if (r.plan.b == PE_GEMM_SHARED) {
        done = run_shared(&r, batch, threads);
    } else {
        struct batch_run br = { .run = &r, .batch = batch };
        int64_t grain = 1 + (int64_t)(2000 / (r.plan.nanoseconds / (double)r.plan.tasks + 1));
        pe_parallel_for(ctx, batch->count * r.plan.tasks, grain, threads, tasks_body, &br);
        done = !br.failed;
    }
    if (!done)
        return pe_fail(err, PE_ERR_MEMORY, -1, "gemm: no memory for %zu bytes of packing",
                       (pe_gemm_task_floats(&r.plan) + r.plan.shared_floats) * sizeof(float));
    return PE_OK;
}

/* A bfloat16 c where the level has no tile for it: the float32 product, rounded. */
static pe_status run_rounded(pe_context *ctx, const pe_gemm_args *args, pe_error *err) {
    pe_tensor wide = *args->c;
    pe_gemm_args widened = *args;
    int64_t bytes = 4;
    wide.dtype = PE_FLOAT32;
    for (int d = wide.ndim - 1; d >= 0; d--) wide.strides[d] = bytes, bytes *= wide.shape[d];
    if (!bytes) return PE_OK;
    if (!(wide.data = pe_alloc(ctx, (size_t)bytes)))
        return pe_fail(err, PE_ERR_MEMORY, -1, "gemm: no memory for %lld bytes of float32", (long long)bytes);
    widened.c = &wide;
    pe_status status = pe_gemm(ctx, &widened, err);
    if (!status) status = pe_copy(ctx, &(pe_copy_args){ &wide, args->c }, err);
    pe_free(ctx, wide.data);
    return status;
}

pe_status pe_gemm(pe_context *ctx, const pe_gemm_args *args, pe_error *err) {
    struct pe_gemm_problem g;
    struct pe_gemm_batch batch;
    pe_status status = pe_gemm_check(ctx, args, &g, &batch, err);
    if (status) return status;
    if (g.a_half && g.b_half && pe_half_has_tile(ctx)) return pe_half_run_batch(ctx, &g, &batch, err);
    return g.c_half ? run_rounded(ctx, args, err) : pe_gemm_run_batch(ctx, &g, &batch, err);
}
