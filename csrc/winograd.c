/* pe_winograd: what suits it, and how the tiles are cut into tasks. */
#include "winograd.h"
#include "conv_paths.h"
#include "sizes.h"
#include "winograd_plan.h"

#define FEWEST_CHANNELS 32
#define MANY_TILES 16       /* enough for several threads; fewer need panels of output channels to share */
#define SHARED_CHANNELS 128
#define BLOCK_FLOATS (INT64_C(8) << 16) /* of the transformed input of a block */
#define GROUP_FLOATS 16384  /* of results that are turned together */

int pe_winograd_fits(const struct pe_conv_problem *q) {
    if (q->groups != 1 || q->in < FEWEST_CHANNELS || q->out < FEWEST_CHANNELS) return 0;
    for (int d = 0; d < PE_CONV_AXES; d++)
        if (q->kernel[d] != (d ? 3 : 1) || q->step[d] != 1 || q->spacing[d] != 1) return 0;
    return q->size[0] == 1 && q->places[0] == 1 && q->before[0] == 0;
}

int pe_winograd_suits(const struct pe_conv_problem *q) {
    if (!pe_winograd_fits(q)) return 0;
    if (pe_winograd_tiles(q) < MANY_TILES && q->out < SHARED_CHANNELS) return 0;
    return pe_winograd_pays(q, 1);
}

static void plan(struct pe_winograd_run *r, int threads) {
    const struct pe_conv_problem *q = r->q;
    r->nr = min64(r->kernels->gemm.vectors, parts(q->out, r->lanes)) * r->lanes;
    r->panel_count = parts(q->out, r->nr);
    r->depth = parts(parts(q->in, parts(q->in, PE_WINOGRAD_DEPTH)), r->lanes) * r->lanes;
    r->cut = pe_winograd_cut_blocks(q, max64(min64(BLOCK_FLOATS / (PE_WINOGRAD_POSITIONS * q->in), 64), 6));
    int64_t blocks = r->cut.blocks;
    r->cuts = blocks >= 2 * threads ? 1 : min64(r->panel_count, parts(2 * threads, blocks));
    if (threads == 1) r->cuts = 1;
    r->tasks = blocks * r->cuts;
    r->group_down = r->group_across = 1;
    if (q->y_c == 1) return; /* tile by tile, in L1 */
    r->group_across = r->cut.block_across;
    int64_t row = PE_WINOGRAD_PLACES * PE_WINOGRAD_PLACES * r->cut.block_across * r->nr;
    r->group_down = max64(min64(GROUP_FLOATS / row, r->cut.block_down), 1);
}

static void body(int64_t begin, int64_t end, void *arg) {
    struct pe_winograd_run *r = arg;
    float *memory = pe_alloc(r->ctx, pe_winograd_task_floats(r) * sizeof *memory);
    if (!memory) {
        __atomic_store_n(&r->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    pe_winograd_run_tasks(r, begin, end, memory);
    pe_free(r->ctx, memory);
}

static pe_status run(pe_context *ctx, const struct pe_conv_problem *q, const float *panels, pe_error *err) {
    struct pe_winograd_run r = { .ctx = ctx, .kernels = ctx->kernels, .q = q, .panels = panels,
                                 .lanes = ctx->kernels->vector_floats };
    int threads = pe_threads_for(ctx, pe_winograd_nanoseconds(q, ctx->kernels->vector_floats));
    plan(&r, threads);
    pe_parallel_for(ctx, r.tasks, max64(r.tasks / (8 * threads), 1), threads, body, &r);
    if (r.failed)
        return pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for %zu bytes of tiles",
                       pe_winograd_task_floats(&r) * sizeof(float));
    return PE_OK;
}

pe_status pe_winograd(pe_context *ctx, const struct pe_conv_problem *q, const float *panels, pe_error *err) {
    float *own = NULL;
    if (q->images == 0) return PE_OK;
    if (!panels) panels = own = pe_conv_make_panels(ctx, q, err);
    if (!panels) return PE_ERR_MEMORY;
    pe_status status = run(ctx, q, panels, err);
    if (own) pe_free(ctx, own);
    return status;
}
