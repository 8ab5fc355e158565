/* Groups of a few channels that become as many: too few for the lanes of a product, whole groups in a vector instead.
 * The kernel is the depthwise one's (depthwise_lines.c), the chains are those of the product. */
#include "conv_paths.h"
#include "depthwise_paths.h"

#define MOST_WIDTH 8

int pe_grouped_suits(pe_context *ctx, const struct pe_conv_problem *q) {
    return q->groups > 1 && q->in > 1 && q->in == q->out && q->in <= MOST_WIDTH && pe_conv_taps(q) > 0 &&
           ctx->kernels->vector_floats % q->in == 0 && q->y_c == 1 &&
           (q->x_c == 1 || pe_conv_x_floats(q) <= PE_CONV_COPY_FLOATS);
}

static pe_status run(pe_context *ctx, const struct pe_conv_problem *q, const float *panels, pe_error *err) {
    if (q->x_c != 1) return pe_conv_by_product(ctx, q, panels, err);
    struct dw_task t = {
        .ctx = ctx, .images = q->images, .channels = q->groups * q->out, .source = q->x, .source_n = q->x_n,
        .source_c = q->x_c, .repeat = 1, .width = q->out, .sum = 1, .w = q->w, .w_group = q->w_g, .w_o = q->w_o,
        .w_i = q->w_i, .out = q->y, .out_n = q->y_n, .out_c = q->y_c, .bias = q->bias, .residual = q->residual,
        .activation = q->activation, .start = q->accumulate ? q->y : NULL,
    };
    for (int d = 0; d < PE_CONV_AXES; d++) t.w_k[d] = q->w_k[d];
    dw_axes(q, 0, t.axis);
    return dw_by_lines(&t, err);
}

pe_status pe_grouped(pe_context *ctx, const struct pe_conv_problem *q, const float *panels, pe_error *err) {
    return q->x_c == 1 ? run(ctx, q, panels, err) : pe_conv_on_copies(ctx, q, panels, run, err);
}
