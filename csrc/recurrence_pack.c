/* The weight of a recurrent layer in panels. Forward, each gate's rows are a matrix of their own, (k, H) when turned,
 * so that panels of all gates meet the same units; a head says what it is, as in gemm_pack.c. Backward, the weight as
 * it is, (G H, H), is one matrix. */
#include "recurrence.h"
#include "gemm_plan.h"

#define PACK_MAGIC UINT64_C(0x3174617277636572)

struct head {
    uint64_t magic;
    int64_t k, n;
    int32_t gates, lanes;
};
#define HEAD_BYTES 64
_Static_assert(sizeof(struct head) <= HEAD_BYTES, "the panels follow the head");

/* Floats of `sets` matrices (k, n), or -1: too many. */
static int64_t panel_floats(pe_context *ctx, int64_t k, int64_t n, int64_t sets) {
    const int64_t lanes = ctx->kernels->vector_floats;
    int64_t floats;
    if (n > INT64_MAX - lanes || __builtin_mul_overflow(parts(n, lanes) * lanes, k, &floats) ||
        __builtin_mul_overflow(floats, sets, &floats) || floats > INT64_MAX / 4 - HEAD_BYTES)
        return -1;
    return floats;
}

static struct pe_panels describe(pe_context *ctx, const float *at, int64_t k, int64_t n, int64_t sets) {
    const int64_t lanes = ctx->kernels->vector_floats, all = parts(n, lanes);
    return (struct pe_panels){.at = at, .k = k, .n = n, .panel = min64(ctx->kernels->gemm.vectors, all) * lanes,
                              .set = sets > 1 ? all * lanes * k : 0};
}

/* weight (sets n, k) of which each set is turned, or (k, n) */
static void fill(pe_context *ctx, const pe_tensor *weight, const struct pe_panels *to, int64_t sets, int turned) {
    const int64_t row = weight->strides[0] / 4;
    for (int64_t q = 0; q < sets; q++) {
        const struct pe_gemm_problem g = {.k = to->k, .n = to->n,
                                          .b = (const float *)weight->data + q * to->n * row,
                                          .b_p = turned ? 1 : row, .b_j = turned ? row : 1};
        pe_gemm_pack_panels(ctx, &g, to->panel, (float *)to->at + q * to->set,
                            pe_threads_for(ctx, 0.1 * (double)g.k * (double)g.n));
    }
}

static pe_status check_weight(const pe_tensor *w, int gates, pe_error *err) {
    pe_status status = pe_check_dtype(w, PE_FLOAT32, "recurrence_pack", "weight", err);
    if (status) return status;
    if (gates < 1 || gates > PE_RECURRENCE_GATES || w->ndim != 2 || w->shape[0] != gates * w->shape[1])
        return pe_fail(err, PE_ERR_SHAPE, 0, "recurrence_pack: weight must be (%d H, H), has %d axes, the first %lld",
                       gates, (int)w->ndim, (long long)(w->ndim ? w->shape[0] : 0));
    if (w->shape[1] > 1 && w->strides[1] != 4)
        return pe_fail(err, PE_ERR_ARGUMENT, 1, "recurrence_pack: the columns of weight must lie side by side");
    return PE_OK;
}

pe_status pe_recurrence_pack_bytes(pe_context *ctx, const pe_tensor *weight, int gates, size_t *bytes, pe_error *err) {
    pe_status status = check_weight(weight, gates, err);
    if (status) return status;
    const int64_t floats = panel_floats(ctx, weight->shape[1], weight->shape[1], gates);
    if (floats < 0) return pe_fail(err, PE_ERR_SHAPE, -1, "recurrence_pack: the weight is too large");
    *bytes = (size_t)floats * sizeof(float) + HEAD_BYTES;
    return PE_OK;
}

pe_status pe_recurrence_pack(pe_context *ctx, const pe_tensor *weight, int gates, void *packed, pe_error *err) {
    size_t bytes = 0;
    pe_status status = pe_recurrence_pack_bytes(ctx, weight, gates, &bytes, err);
    if (status) return status;
    if (!packed || (uintptr_t)packed % 64)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "recurrence_pack: packed needs %zu bytes on a boundary of 64", bytes);
    const int64_t n = weight->shape[1];
    const struct pe_panels to = describe(ctx, (float *)((char *)packed + HEAD_BYTES), n, n, gates);
    *(struct head *)packed = (struct head){.magic = PACK_MAGIC, .k = n, .n = n, .gates = gates,
                                           .lanes = ctx->kernels->vector_floats};
    fill(ctx, weight, &to, gates, 1);
    return PE_OK;
}

static pe_status open_pack(pe_context *ctx, struct pe_sweep *s, const void *packed, pe_error *err) {
    const struct head *head = packed;
    if ((uintptr_t)packed % 64 || head->magic != PACK_MAGIC || head->lanes != ctx->kernels->vector_floats)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "recurrence: packed is no weight that pe_recurrence_pack made at the "
                                                 "level %s", ctx->kernels->isa);
    if (head->gates != s->gates || head->n != s->hidden)
        return pe_fail(err, PE_ERR_SHAPE, -1, "recurrence: packed has %d gates of %lld units, the layer %d of %lld",
                       (int)head->gates, (long long)head->n, s->gates, (long long)s->hidden);
    s->weight = describe(ctx, (const float *)((const char *)packed + HEAD_BYTES), head->k, head->n, head->gates);
    return PE_OK;
}

pe_status pe_sweep_pack(pe_context *ctx, struct pe_sweep *s, const void *packed, int backward, void **own,
                        pe_error *err) {
    if (packed) return open_pack(ctx, s, packed, err);
    const int64_t k = backward ? s->gates * s->hidden : s->hidden, sets = backward ? 1 : s->gates;
    const int64_t floats = panel_floats(ctx, k, s->hidden, sets);
    const pe_tensor weight = pe_matrix_tensor(&s->w_hh, 0, s->gates * s->hidden, s->hidden);
    *own = floats < 0 ? NULL : pe_alloc(ctx, (size_t)floats * sizeof(float));
    if (!*own) return pe_fail(err, PE_ERR_MEMORY, -1, "recurrence: no memory for the weight in panels");
    s->weight = describe(ctx, *own, k, s->hidden, sets);
    fill(ctx, &weight, &s->weight, sets, !backward);
    return PE_OK;
}
