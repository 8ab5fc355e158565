/* pe_conv: which way a convolution goes, by the shape of one sample alone. */
#include "conv_paths.h"
#include "depthwise.h"
#include "winograd.h"

pe_status pe_conv_run(pe_context *ctx, const struct pe_conv_problem *q, const float *panels, pe_error *err) {
    if (pe_grouped_suits(ctx, q)) return pe_grouped(ctx, q, panels, err);
    return pe_winograd_suits(q) ? pe_winograd(ctx, q, panels, err) : pe_conv_by_product(ctx, q, panels, err);
}

pe_status pe_conv(pe_context *ctx, const pe_conv_args *args, pe_error *err) {
    struct pe_conv_problem q;
    const float *weight;
    pe_status status = pe_conv_check(ctx, "conv", args, args ? args->y : NULL, &q, err);
    if (!status && pe_depthwise_suits(&q)) return pe_depthwise(ctx, &q, err);
    if (!status) status = pe_conv_open_pack(ctx, &q, args->packed, &weight, err);
    return status ? status : pe_conv_run(ctx, &q, weight, err);
}
