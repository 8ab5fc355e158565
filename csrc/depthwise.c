/* Depthwise convolution: which path, and the weights that none of them may meet. */
#include "depthwise_paths.h"

#include <math.h>

int pe_depthwise_suits(const struct pe_conv_problem *q) { return q->in == 1 && q->out <= PE_DEPTHWISE_MOST_OUT; }

static pe_status run(struct dw_task *t, pe_error *err) {
    return dw_lines_suit(t) ? dw_by_lines(t, err) : dw_by_planes(t, err);
}

pe_status pe_depthwise(pe_context *ctx, const struct pe_conv_problem *q, pe_error *err) {
    struct dw_task t = {
        .ctx = ctx, .images = q->images, .channels = q->groups * q->out, .source = q->x, .source_n = q->x_n,
        .source_c = q->x_c, .repeat = max64(q->out, 1), .sum = 1, .w = q->w, .w_group = q->w_g, .w_o = q->w_o,
        .out = q->y, .out_n = q->y_n, .out_c = q->y_c, .bias = q->bias, .residual = q->residual, .start = q->accumulate ? q->y : NULL,
    };
    if (q->activation != PE_NO_ACTIVATION) t.activation = ctx->kernels->elementwise.loop[q->activation];
    for (int d = 0; d < PE_CONV_AXES; d++) t.w_k[d] = q->w_k[d];
    dw_axes(q, 0, t.axis);
    return run(&t, err);
}
