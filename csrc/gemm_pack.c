/* pe_pack: a weight laid out once as the product reads it. The layout is that of gemm_plan.h's packed b,
 * behind a head that tells what it is: products refuse a pack of another level, size or program. */
#include "half.h"
#include "sizes.h"

#define PACK_MAGIC UINT64_C(0x31006b6361706570)
#define PACK_DEPTH 64 /* rows of b at a time, over PACK_PANELS panels: few pages at once, long runs in each */
#define PACK_PANELS 4

struct head {
    uint64_t magic;
    int64_t k, n;
    int32_t lanes, nr, dtype;
};
#define HEAD_BYTES 64 /* keeps the panels on cache lines */
_Static_assert(sizeof(struct head) <= HEAD_BYTES, "the panels follow the head");

struct packing {
    const struct pe_gemm_kernels *kernels;
    const struct pe_gemm_problem *g;
    int64_t nr, lanes;
    void *to;
};

/* bfloat16 keeps its type: half the bytes to stream, widened by the product as it goes. */
static void pack_half(uint16_t *to, int64_t width, const uint16_t *from, int64_t from_p, int64_t from_j, int64_t depth,
                      int64_t columns) {
    for (int64_t p = 0; p < depth; p++, to += width) {
        for (int64_t j = 0; j < columns; j++) to[j] = from[p * from_p + j * from_j];
        for (int64_t j = columns; j < width; j++) to[j] = 0;
    }
}

static void pack_body(int64_t begin, int64_t end, void *arg) {
    const struct packing *w = arg;
    const struct pe_gemm_problem *g = w->g;
    int64_t nr = w->nr, groups = parts(g->n, nr * PACK_PANELS);
    for (int64_t x = begin; x < end; x++) {
        int64_t p = x / groups * PACK_DEPTH, j0 = x % groups * PACK_PANELS * nr;
        int64_t depth = min64(PACK_DEPTH, g->k - p), j1 = min64(j0 + PACK_PANELS * nr, g->n);
        for (int64_t j = j0; j < j1; j += nr) {
            int64_t columns = min64(nr, j1 - j), width = parts(columns, w->lanes) * w->lanes;
            const void *from = pe_gemm_at(g->b, p * g->b_p + j * g->b_j, g->b_half);
            if (g->b_half)
                pack_half((uint16_t *)w->to + j * g->k + p * width, width, from, g->b_p, g->b_j, depth, columns);
            else
                w->kernels->pack((float *)w->to + j * g->k + p * width, (size_t)width, from, g->b_p, g->b_j,
                                 (size_t)depth, (size_t)columns);
        }
    }
}

void pe_gemm_pack_panels(pe_context *ctx, const struct pe_gemm_problem *g, int64_t nr, void *to, int threads) {
    struct packing w = { .kernels = &ctx->kernels->gemm, .g = g, .nr = nr, .to = to,
                         .lanes = ctx->kernels->vector_floats };
    pe_parallel_for(ctx, parts(g->n, nr * PACK_PANELS) * parts(g->k, PACK_DEPTH), 1, threads, pack_body, &w);
}

/* bfloat16 lies as the tile for it reads it, where the level has one; products with float32 widen that. */
static int is_for_tile(const pe_context *ctx, int dtype) { return dtype == PE_BFLOAT16 && pe_half_has_tile(ctx); }

/* Panels as wide as the products of this n will use: see plan_tiles. */
static struct head head_for(pe_context *ctx, int64_t k, int64_t n, int dtype) {
    if (is_for_tile(ctx, dtype))
        return (struct head){ .magic = PACK_MAGIC, .k = k, .n = n, .lanes = ctx->kernels->half.dot.deep,
                              .nr = ctx->kernels->half.dot.nr, .dtype = dtype };
    int lanes = ctx->kernels->vector_floats;
    int64_t widest = min64(ctx->kernels->gemm.vectors, parts(n, lanes));
    return (struct head){ .magic = PACK_MAGIC, .k = k, .n = n, .lanes = lanes, .nr = (int32_t)(widest * lanes),
                          .dtype = dtype };
}

pe_status pe_gemm_open_pack(pe_context *ctx, const void *packed, pe_tensor *b, pe_error *err) {
    const struct head *head = packed;
    struct head mine = { 0 };
    if ((uintptr_t)packed % 64 == 0 && head->magic == PACK_MAGIC) mine = head_for(ctx, head->k, head->n, head->dtype);
    int known = mine.magic && (head->dtype == PE_FLOAT32 || head->dtype == PE_BFLOAT16) && head->k >= 0 && head->n >= 0;
    if (!known || head->lanes != mine.lanes || head->nr != mine.nr)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "gemm: packed is no weight that pe_pack made at the level %s",
                       ctx->kernels->isa);
    int64_t size = (int64_t)pe_dtype_size(head->dtype);
    *b = (pe_tensor){ .data = (char *)packed + HEAD_BYTES, .dtype = head->dtype, .ndim = 2,
                      .shape = { head->k, head->n }, .strides = { head->n * size, size } };
    return PE_OK;
}

static pe_status check_weight(const pe_pack_args *args, pe_error *err) {
    if (!args) return pe_fail(err, PE_ERR_ARGUMENT, -1, "pack: no arguments");
    pe_status status = pe_check_tensor(args->b, "pack", "b", err);
    if (status) return status;
    if (args->b->dtype != PE_FLOAT32 && args->b->dtype != PE_BFLOAT16)
        return pe_fail(err, PE_ERR_DTYPE, -1, "pack: b must be float32 or bfloat16, is %s",
                       pe_dtype_name(args->b->dtype));
    if (args->b->ndim != 2)
        return pe_fail(err, PE_ERR_SHAPE, -1, "pack: b must have 2 axes, has %d", (int)args->b->ndim);
    return PE_OK;
}

pe_status pe_pack_bytes(pe_context *ctx, const pe_pack_args *args, size_t *bytes, pe_error *err) {
    pe_status status = check_weight(args, err);
    if (status) return status;
    int64_t k = args->b->shape[0], n = args->b->shape[1], lanes = ctx->kernels->vector_floats, elements;
    if (n > INT64_MAX - lanes || __builtin_mul_overflow(parts(n, lanes) * lanes, k, &elements) ||
        elements > INT64_MAX / 4 - HEAD_BYTES ||
        (is_for_tile(ctx, args->b->dtype) && pe_half_pack_bytes(ctx, k, n) < 0))
        return pe_fail(err, PE_ERR_SHAPE, -1, "pack: a weight of %lld x %lld is too large", (long long)k,
                       (long long)n);
    *bytes = (size_t)elements * pe_dtype_size(args->b->dtype) + HEAD_BYTES;
    if (is_for_tile(ctx, args->b->dtype)) *bytes = (size_t)pe_half_pack_bytes(ctx, k, n) + HEAD_BYTES;
    return PE_OK;
}

pe_status pe_pack(pe_context *ctx, const pe_pack_args *args, pe_error *err) {
    size_t bytes;
    pe_status status = pe_pack_bytes(ctx, args, &bytes, err);
    if (status) return status;
    if (!args->packed || (uintptr_t)args->packed % 64 || args->bytes < bytes)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "pack: packed needs %zu bytes on a boundary of 64, has %zu", bytes,
                       args->packed ? args->bytes : 0);
    const pe_tensor *b = args->b;
    int64_t size = (int64_t)pe_dtype_size(b->dtype);
    struct pe_gemm_problem g = { .k = b->shape[0], .n = b->shape[1], .b = b->data, .b_p = b->strides[0] / size,
                                 .b_j = b->strides[1] / size, .b_half = b->dtype == PE_BFLOAT16 };
    if (g.n == 1) g.b_j = 1;
    if (g.k == 1) g.b_p = 1;
    struct head head = head_for(ctx, g.k, g.n, b->dtype);
    *(struct head *)args->packed = head;
    int threads = pe_threads_for(ctx, 0.1 * (double)g.k * (double)g.n);
    void *panels = (char *)args->packed + HEAD_BYTES;
    if (g.k && g.n && is_for_tile(ctx, b->dtype)) pe_half_pack_b(ctx, &g, panels, threads);
    else if (g.k && g.n) pe_gemm_pack_panels(ctx, &g, head.nr, panels, threads);
    return PE_OK;
}
