/* Packed weights of convolutions: a head that tells what the pack is, then the panels that all ways of
 * convolving read. */
#include "conv_paths.h"
#include "depthwise.h"

#include <string.h>

#define PACK_MAGIC UINT64_C(0x31766e6f63657031)

struct head {
    uint64_t magic;
    int64_t groups, in, out, kernel[PE_CONV_AXES];
    int64_t lanes;
};
#define HEAD_BYTES 64 /* keeps what follows on cache lines */
_Static_assert(sizeof(struct head) <= HEAD_BYTES, "the weight follows the head");

static struct head head_for(pe_context *ctx, const struct pe_conv_problem *q) {
    return (struct head){ .magic = PACK_MAGIC, .groups = q->groups, .in = q->in, .out = q->out,
                          .kernel = { q->kernel[0], q->kernel[1], q->kernel[2] },
                          .lanes = ctx->kernels->vector_floats };
}

pe_status pe_conv_open_pack(pe_context *ctx, const struct pe_conv_problem *q, const void *packed,
                            const float **weight, pe_error *err) {
    const struct head *head = packed;
    *weight = NULL;
    if (!packed) return PE_OK;
    struct head mine = { 0 };
    if ((uintptr_t)packed % 64 == 0 && head->magic == PACK_MAGIC) mine = head_for(ctx, q);
    if (!mine.magic || memcmp(head, &mine, sizeof mine) != 0)
        return pe_fail(err, PE_ERR_ARGUMENT, -1,
                       "conv: packed is no weight of this shape that pe_conv_pack made at the level %s",
                       ctx->kernels->isa);
    *weight = (const float *)(const void *)((const char *)packed + HEAD_BYTES);
    return PE_OK;
}

pe_status pe_conv_pack_bytes(pe_context *ctx, const pe_conv_args *args, size_t *bytes, pe_error *err) {
    struct pe_conv_problem q;
    pe_status status = pe_conv_check(ctx, "conv_pack", args, args ? args->y : NULL, &q, err);
    if (status) return status;
    *bytes = 0;
    if (pe_depthwise_suits(&q)) return PE_OK;
    *bytes = (size_t)(q.groups * pe_conv_panel_floats(ctx, &q)) * sizeof(float);
    if (*bytes) *bytes += HEAD_BYTES;
    return PE_OK;
}

pe_status pe_conv_pack(pe_context *ctx, const pe_conv_args *args, void *packed, pe_error *err) {
    struct pe_conv_problem q;
    pe_status status = pe_conv_check(ctx, "conv_pack", args, args ? args->y : NULL, &q, err);
    if (status) return status;
    if (pe_depthwise_suits(&q)) return pe_fail(err, PE_ERR_ARGUMENT, -1, "conv_pack: there is nothing to pack");
    if (!packed || (uintptr_t)packed % 64)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "conv_pack: packed must be memory on a boundary of 64");
    *(struct head *)packed = head_for(ctx, &q);
    pe_conv_pack_panels(ctx, &q, (float *)(void *)((char *)packed + HEAD_BYTES));
    return PE_OK;
}
