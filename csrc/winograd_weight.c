/* The gradient by the weight as the transpose of winograd.h's equation:
 *   dw[o,i] = G^T [ sum over tiles of (B^T x[i] B) (A y[o] A^T) ] G
 * so 36 products over the tiles. A task makes all positions of a block of channels in and out, whose sums stay in L2,
 * out of a part of the tiles; how the tiles are cut into parts is a matter of shape, and parts are added in order. */
#include "conv_paths.h"
#include "gemm_task.h"
#include "sizes.h"
#include "winograd.h"
#include "winograd_tiles.h"

#include <string.h>

#define TAPS 9
#define CHANNELS 64     /* of a block: all sums of 64 x 64 are 590 KB */
#define TILES 32        /* at a time: the transforms of 64 channels are 295 KB */
#define TASKS 8         /* there are so many at least, where there are tiles enough */

struct run {
    pe_context *ctx;
    const struct pe_kernels *kernels;
    const struct pe_conv_problem *q;
    struct pe_winograd_cut cut;
    struct pe_winograd_view x, y;
    int64_t lanes, in, out; /* channels of a block, whole vectors */
    int64_t blocks_in, blocks_out, parts;
    int64_t x_apart, y_apart, sum_apart;
    float *sums;            /* (part, block) where there are several parts */
    int failed;
};

/* A task's own memory. */
struct memory {
    float *x, *y, *sums, *taps, *turned, *gathered;
};

static size_t share_memory(const struct run *r, struct memory *m, float *start) {
    const int64_t sizes[] = {
        PE_WINOGRAD_POSITIONS * r->x_apart, PE_WINOGRAD_POSITIONS * r->y_apart,
        r->sums ? 0 : PE_WINOGRAD_POSITIONS * r->sum_apart, TAPS * r->in * r->out, TAPS * r->in * r->out,
        max64(pe_winograd_gathered_floats(&r->x, &r->cut, r->in), pe_winograd_gathered_floats(&r->y, &r->cut, r->out)),
    };
    float **const starts[] = { &m->x, &m->y, &m->sums, &m->taps, &m->turned, &m->gathered };
    size_t floats = 0;
    for (int i = 0; i < 6; i++) {
        if (start) *starts[i] = start + floats;
        floats += (size_t)parts(sizes[i], 16) * 16;
    }
    return floats;
}

/* sums[position] += X[position]^T Y[position] over the tiles of a block, for `in` channels. */
static void multiply(const struct run *r, const struct memory *m, float *sums, int64_t tiles, int64_t in, int from_c) {
    const struct pe_gemm_kernels *gemm = &r->kernels->gemm;
    struct pe_gemm_tile t = { .k = (size_t)tiles, .a_row = 1, .a_k = r->in, .b_k = r->out, .c_row = r->out,
                              .from_c = from_c };
    for (int64_t position = 0; position < PE_WINOGRAD_POSITIONS; position++)
        for (int64_t j = 0; j < r->out; j += gemm->vectors * r->lanes) {
            int vectors = (int)min64(gemm->vectors, (r->out - j) / r->lanes);
            int64_t heights = parts(in, gemm->rows[vectors - 1]), i = 0;
            t.b = m->y + position * r->y_apart + j;
            for (int64_t x = 0; x < heights; x++) {
                int64_t height = in / heights + (x < in % heights);
                t.a = m->x + position * r->x_apart + i;
                t.c = sums + position * r->sum_apart + i * r->out + j;
                t.next_c = i + height < in ? t.c + height * r->out : t.c;
                gemm->tile[vectors - 1][height - 1](&t);
                i += height;
            }
        }
}

/* What the sums of a block make, to where dw lies. */
static void write_block(const struct run *r, const struct memory *m, const float *sums, int64_t block) {
    const struct pe_conv_problem *q = r->q;
    int64_t i0 = block / r->blocks_out * r->in, in = min64(r->in, q->in - i0), at[TAPS];
    int64_t o0 = block % r->blocks_out * r->out, out = min64(r->out, q->out - o0), each = in * r->out;
    float *to = (float *)q->w + i0 * q->w_i + o0 * q->w_o;
    r->kernels->winograd.taps(m->taps, each, sums, r->sum_apart, (size_t)each);
    for (int64_t tap = 0; tap < TAPS; tap++) {
        at[tap] = pe_conv_tap_at(q, tap);
        if (q->w_i == 1 && !q->accumulate)
            pe_gemm_write(&r->kernels->gemm, to + at[tap], 1, q->w_o, m->taps + tap * each, r->out, in, out);
        else pe_gemm_write(&r->kernels->gemm, m->turned + tap * in * out, 1, in, m->taps + tap * each, r->out, in, out);
    }
    if (q->w_i == 1 && !q->accumulate) return;
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++) {
            const float *from = m->turned + o * in + i;
            float *line = to + o * q->w_o + i * q->w_i;
            for (int64_t tap = 0; tap < TAPS; tap++)
                line[at[tap]] = from[tap * in * out] + (q->accumulate ? line[at[tap]] : 0);
        }
}

/* One part of the tiles against one block of channels. */
static void run_task(const struct run *r, const struct memory *m, int64_t part, int64_t block) {
    const struct pe_conv_problem *q = r->q;
    int64_t i0 = block / r->blocks_out * r->in, in = min64(r->in, q->in - i0);
    int64_t o0 = block % r->blocks_out * r->out, out = min64(r->out, q->out - o0);
    int64_t first = r->cut.blocks * part / r->parts, past = r->cut.blocks * (part + 1) / r->parts;
    float *sums = m->sums;
    if (r->sums) sums = r->sums + (part * r->blocks_in * r->blocks_out + block) * PE_WINOGRAD_POSITIONS * r->sum_apart;
    for (int64_t x = first; x < past; x++) {
        const struct pe_winograd_block tiles = pe_winograd_find_block(&r->cut, x);
        pe_winograd_transform(&r->x, &r->kernels->gemm, &tiles, i0, in, r->in, m->gathered, m->x, r->x_apart);
        pe_winograd_transform(&r->y, &r->kernels->gemm, &tiles, o0, out, r->out, m->gathered, m->y, r->y_apart);
        multiply(r, m, sums, tiles.tiles, in, x > first);
    }
    if (!r->sums) write_block(r, m, sums, block);
}

/* The sums of a block's parts, in order. */
static void add_parts(const struct run *r, const struct memory *m, int64_t block) {
    int64_t floats = PE_WINOGRAD_POSITIONS * r->sum_apart, blocks = r->blocks_in * r->blocks_out;
    float *sums = r->sums + block * floats;
    for (int64_t part = 1; part < r->parts; part++)
        r->kernels->gemm.add(sums, floats, r->sums + (part * blocks + block) * floats, floats, 1, 1, (size_t)floats);
    write_block(r, m, sums, block);
}

static void share_out(struct run *r, int64_t begin, int64_t end, int adding) {
    struct memory m;
    int64_t blocks = r->blocks_in * r->blocks_out;
    float *start = pe_alloc(r->ctx, share_memory(r, &m, NULL) * sizeof *start);
    if (!start) {
        __atomic_store_n(&r->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    share_memory(r, &m, start);
    for (int64_t x = begin; x < end; x++) {
        if (adding) add_parts(r, &m, x);
        else run_task(r, &m, x / blocks, x % blocks);
    }
    pe_free(r->ctx, start);
}

static void body(int64_t begin, int64_t end, void *arg) { share_out(arg, begin, end, 0); }
static void add_body(int64_t begin, int64_t end, void *arg) { share_out(arg, begin, end, 1); }

/* channels of the equal blocks, in whole vectors */
static int64_t block_of(int64_t channels, int64_t lanes) {
    return parts(parts(channels, parts(channels, CHANNELS)), lanes) * lanes;
}

static struct run plan(pe_context *ctx, const struct pe_conv_problem *q) {
    const struct pe_winograd_kernels *kernels = &ctx->kernels->winograd;
    struct run r = { .ctx = ctx, .kernels = ctx->kernels, .q = q, .x = pe_winograd_view_x(q, kernels),
                     .y = pe_winograd_view_y(q, kernels), .lanes = ctx->kernels->vector_floats };
    r.cut = pe_winograd_cut_blocks(q, TILES);
    r.in = block_of(q->in, r.lanes), r.out = block_of(q->out, r.lanes);
    r.blocks_in = parts(q->in, r.in), r.blocks_out = parts(q->out, r.out);
    r.parts = max64(min64(parts(TASKS, r.blocks_in * r.blocks_out), r.cut.blocks / 2), 1);
    r.x_apart = r.cut.tiles * r.in + PE_WINOGRAD_APART;
    r.y_apart = r.cut.tiles * r.out + PE_WINOGRAD_APART;
    r.sum_apart = r.in * r.out + PE_WINOGRAD_APART;
    return r;
}

int pe_winograd_weight_suits(const struct pe_conv_problem *q) {
    return pe_winograd_fits(q) && pe_winograd_pays(q, q->images);
}

pe_status pe_winograd_weight(pe_context *ctx, const struct pe_conv_problem *q, pe_error *err) {
    struct run r = plan(ctx, q);
    int64_t blocks = r.blocks_in * r.blocks_out;
    size_t bytes = (size_t)(r.parts * blocks * PE_WINOGRAD_POSITIONS * r.sum_apart) * sizeof(float);
    if (r.parts > 1 && !(r.sums = pe_alloc(ctx, bytes)))
        return pe_fail(err, PE_ERR_MEMORY, -1, "conv_weight: no memory for %zu bytes of sums", bytes);
    int threads = pe_threads_for(ctx, pe_winograd_nanoseconds(q, ctx->kernels->vector_floats));
    pe_parallel_for(ctx, r.parts * blocks, 1, threads, body, &r);
    if (r.sums && !r.failed) pe_parallel_for(ctx, blocks, 1, threads, add_body, &r);
    if (r.sums) pe_free(ctx, r.sums);
    return r.failed ? pe_fail(err, PE_ERR_MEMORY, -1, "conv_weight: no memory for tiles") : PE_OK;
}
