/* Packing for the product of bfloat16: panels of b, rows of a. See half.h. */
#include "dot.h"
#include "half.h"
#include "sizes.h"

#include <string.h>

/* rows at a time, over so many panels: few pages at once, long runs in each */
enum { PACK_DEPTH = 64, PACK_PANELS = 8 };

struct packing {
    pe_context *ctx;
    const struct pe_gemm_problem *g;
    uint8_t *to;
    size_t each; /* bytes of a panel or a row */
    int failed;
};

static const struct pe_dot_kernels *tile_of(const pe_context *ctx) { return &ctx->kernels->half.dot; }

static size_t panel_bytes(const pe_context *ctx, int64_t k) { return pe_dot_panel_bytes(tile_of(ctx), parts(k, 2)); }

int64_t pe_half_pack_bytes(const pe_context *ctx, int64_t k, int64_t n) {
    int64_t bytes, deepest = INT64_MAX / 4 / tile_of(ctx)->nr - tile_of(ctx)->deep;
    if (k / 2 >= deepest || __builtin_mul_overflow((int64_t)panel_bytes(ctx, k), parts(n, tile_of(ctx)->nr), &bytes))
        return -1;
    return bytes;
}

/* ---- b ---- */

static void pack_b_body(int64_t begin, int64_t end, void *arg) {
    const struct packing *p = arg;
    const struct pe_gemm_problem *g = p->g;
    int64_t nr = tile_of(p->ctx)->nr, panels = parts(g->n, nr), depth = g->b_p == 1 ? max64(g->k, 1) : PACK_DEPTH;
    for (int64_t x = begin; x < end; x++)
        for (int64_t k = 0; k < g->k; k += depth)
            for (int64_t panel = x * PACK_PANELS; panel < min64((x + 1) * PACK_PANELS, panels); panel++)
                p->ctx->kernels->half.pack(
                    (uint16_t *)(void *)(p->to + (size_t)panel * p->each) + k * nr,
                    (const uint16_t *)g->b + k * g->b_p + panel * nr * g->b_j, g->b_p, g->b_j,
                    (size_t)min64(depth, g->k - k), (size_t)min64(nr, g->n - panel * nr));
}

void pe_half_pack_b(pe_context *ctx, const struct pe_gemm_problem *g, uint16_t *to, int threads) {
    struct packing p = { .ctx = ctx, .g = g, .to = (uint8_t *)to, .each = panel_bytes(ctx, g->k) };
    pe_parallel_for(ctx, parts(g->n, tile_of(ctx)->nr * PACK_PANELS), 1, threads, pack_b_body, &p);
}

void pe_half_widen(const pe_context *ctx, const void *panels, int64_t k, int64_t j, int64_t columns, int64_t p0,
                   int64_t depth, float *to, int64_t width) {
    int64_t nr = tile_of(ctx)->nr, lanes = ctx->kernels->vector_floats, wide = parts(columns, lanes) * lanes;
    for (int64_t x = 0; x < wide; x += nr)
        ctx->kernels->half.unpack(to + x, width,
                                  (const uint16_t *)panels + (size_t)((j + x) / nr) * (panel_bytes(ctx, k) / 2),
                                  (size_t)p0, (size_t)depth, (size_t)min64(nr, wide - x));
}

/* ---- a ---- */

/* In place: each row's words lie in order, in whole steps of the tile. Rows a power of two apart evict each other from
 * L1, a tenth of the time; to copy them pays from many columns on. */
static int lies_ready(const pe_context *ctx, const struct pe_gemm_problem *g) {
    if (g->a_i % 512 == 0 && g->m > 1 && g->n >= 4096) return 0;
    return g->a_p == 1 && g->k > 0 && g->k % (2 * tile_of(ctx)->deep) == 0 && (g->a_i >= 32 || g->m == 1);
}

struct pe_half_rows pe_half_rows_of(const pe_context *ctx, const struct pe_gemm_problem *g) {
    size_t row = pe_dot_row_bytes(tile_of(ctx), parts(g->k, 2));
    if (lies_ready(ctx, g))
        return (struct pe_half_rows){ g->a, g->m == 1 ? row : (size_t)g->a_i * 2, 0 };
    return (struct pe_half_rows){ NULL, row, (size_t)g->m * row };
}

static void pack_rows(int64_t begin, int64_t end, void *arg) {
    const struct packing *p = arg;
    const struct pe_gemm_problem *g = p->g;
    for (int64_t i = begin; i < end; i++) {
        uint16_t *to = (uint16_t *)(void *)(p->to + (size_t)i * p->each);
        const uint16_t *from = (const uint16_t *)g->a + i * g->a_i;
        if (g->a_p == 1) memcpy(to, from, (size_t)g->k * 2);
        else
            for (int64_t x = 0; x < g->k; x++) to[x] = from[x * g->a_p];
        memset(to + g->k, 0, p->each - (size_t)g->k * 2);
    }
}

/* Rows that lie across: a panel of pairs, as of b, whose words are then turned over, 16 by 16. */
static void turn_rows(int64_t begin, int64_t end, void *arg) {
    struct packing *p = arg;
    const struct pe_gemm_problem *g = p->g;
    int64_t nr = tile_of(p->ctx)->nr, groups = (int64_t)panel_bytes(p->ctx, g->k) / (4 * nr);
    uint16_t *panel = pe_alloc(p->ctx, panel_bytes(p->ctx, g->k));
    if (!panel) {
        __atomic_store_n(&p->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t x = begin; x < end; x++) {
        int64_t i = x * nr, rows = min64(nr, g->m - i);
        p->ctx->kernels->half.pack(panel, (const uint16_t *)g->a + i, g->a_p, 1, (size_t)g->k, (size_t)rows);
        p->ctx->kernels->gemm.pack((float *)(void *)(p->to + (size_t)i * p->each), p->each / 4,
                                   (const float *)(const void *)panel, 1, nr, (size_t)rows, (size_t)groups);
    }
    pe_free(p->ctx, panel);
}

int pe_half_pack_a(pe_context *ctx, const struct pe_gemm_problem *g, uint8_t *to, size_t a_row, int threads) {
    struct packing p = { .ctx = ctx, .g = g, .to = to, .each = a_row };
    int across = g->a_i == 1 && g->a_p != 1 && g->k > 0 && g->m > 1;
    if (across) pe_parallel_for(ctx, parts(g->m, tile_of(ctx)->nr), 1, threads, turn_rows, &p);
    else pe_parallel_for(ctx, g->m, 1 + 65536 / (g->k + 1), threads, pack_rows, &p);
    return !p.failed;
}
