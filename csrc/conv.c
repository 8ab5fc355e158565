/* pe_conv: which way a convolution goes, by the shape of one sample alone. */
#include "conv_paths.h"
#include "depthwise.h"

enum pe_conv_way pe_conv_choose(const struct pe_conv_problem *q) {
    (void)q;
    return PE_CONV_BY_PRODUCT;
}

pe_status pe_conv(pe_context *ctx, const pe_conv_args *args, pe_error *err) {
    struct pe_conv_problem q;
    const float *weight;
    pe_status status = pe_conv_check("conv", args, args ? args->y : NULL, &q, err);
    if (!status && pe_depthwise_suits(&q)) return pe_depthwise(ctx, &q, err);
    if (!status) status = pe_conv_open_pack(ctx, &q, pe_conv_choose(&q), args->packed, &weight, err);
    return status ? status : pe_conv_by_product(ctx, &q, weight, err);
}
