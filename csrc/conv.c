/* pe_conv: which way a convolution goes, by the shape of one sample alone. */
#include "conv_paths.h"

pe_status pe_conv(pe_context *ctx, const pe_conv_args *args, pe_error *err) {
    struct pe_conv_problem q;
    pe_status status = pe_conv_check("conv", args, args ? args->y : NULL, &q, err);
    return status ? status : pe_conv_by_product(ctx, &q, NULL, err);
}
