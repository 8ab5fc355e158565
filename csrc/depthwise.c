/* Depthwise convolution and the gradient to its input: which path, and the weights that none of them may meet. */
#include "conv_paths.h"
#include "depthwise_paths.h"

#include <math.h>
#include <string.h>

int pe_depthwise_suits(const struct pe_conv_problem *q) { return q->in == 1 && q->out <= PE_DEPTHWISE_MOST_OUT; }

static pe_status run(struct dw_task *t, pe_error *err) {
    return dw_lines_suit(t) ? dw_by_lines(t, err) : dw_by_planes(t, err);
}

pe_status pe_depthwise(pe_context *ctx, const struct pe_conv_problem *q, pe_error *err) {
    struct dw_task t = {
        .ctx = ctx, .images = q->images, .channels = q->groups * q->out, .source = q->x, .source_n = q->x_n,
        .source_c = q->x_c, .repeat = max64(q->out, 1), .width = 1, .sum = 1, .w = q->w, .w_group = q->w_g,
        .w_o = q->w_o, .out = q->y, .out_n = q->y_n, .out_c = q->y_c, .bias = q->bias, .residual = q->residual,
        .activation = q->activation, .start = q->accumulate ? q->y : NULL,
    };
    for (int d = 0; d < PE_CONV_AXES; d++) t.w_k[d] = q->w_k[d];
    dw_axes(q, 0, t.axis);
    return run(&t, err);
}

/* ---- the gradient to the input ---- */

/* Every exponent is looked at, as one run where the weight lies so. */
static int all_finite(const struct pe_conv_problem *q) {
    const int64_t size[] = { q->groups, q->out, q->kernel[0], q->kernel[1], q->kernel[2] };
    const int64_t stride[] = { q->w_g, q->w_o, q->w_k[0], q->w_k[1], q->w_k[2] };
    const int64_t taps = pe_conv_taps(q), channels = q->groups * q->out;
    int64_t all;
    const int64_t run = even_step(size, stride, 5, &all) == 1 ? channels * taps : 1;
    for (int64_t i = 0; i < channels * taps; i += run) {
        const int64_t c = i / taps, k = i % taps;
        const float *w = q->w + c / q->out * q->w_g + c % q->out * q->w_o + pe_conv_tap_at(q, k);
        uint32_t wild = 0;
        for (int64_t x = 0; x < run; x++) {
            uint32_t bits;
            memcpy(&bits, w + x, sizeof bits);
            wild |= (bits & 0x7f800000u) == 0x7f800000u;
        }
        if (wild) return 0;
    }
    return 1;
}

struct plain {
    const struct pe_conv_problem *q;
    float *dx;
};

/* One element by its definition. */
static float element(const struct pe_conv_problem *q, int64_t image, int64_t group, const int64_t u[PE_CONV_AXES]) {
    const int64_t taps = pe_conv_taps(q);
    float sum = 0;
    for (int64_t i = 0; i < q->out * taps; i++) {
        int64_t rest = i % taps, o = i / taps, inside = 1, w = group * q->w_g + o * q->w_o,
            y = (group * q->out + o) * q->y_c;
        for (int d = PE_CONV_AXES - 1; d >= 0; d--) {
            const int64_t k = rest % q->kernel[d], moved = u[d] + q->before[d] - k * q->spacing[d];
            rest /= q->kernel[d];
            inside &= moved >= 0 && moved % q->step[d] == 0 && moved / q->step[d] < q->places[d];
            w += k * q->w_k[d], y += moved / q->step[d] * q->y_s[d];
        }
        if (inside) sum = fmaf(q->y[image * q->y_n + y], q->w[w], sum);
    }
    return sum;
}

/* Images times groups, without a single term too many: where a weight is no number, a zero would not be harmless. */
static void run_plain(int64_t begin, int64_t end, void *arg) {
    const struct plain *p = arg;
    const struct pe_conv_problem *q = p->q;
    for (int64_t i = begin; i < end; i++) {
        const int64_t image = i / q->groups, group = i % q->groups;
        float *dx = p->dx + image * q->x_n + group * q->x_c;
        int64_t u[PE_CONV_AXES];
        for (u[0] = 0; u[0] < q->size[0]; u[0]++)
            for (u[1] = 0; u[1] < q->size[1]; u[1]++)
                for (u[2] = 0; u[2] < q->size[2]; u[2]++)
                    dx[u[0] * q->x_s[0] + u[1] * q->x_s[1] + u[2] * q->x_s[2]] = element(q, image, group, u);
    }
}

pe_status pe_depthwise_input(pe_context *ctx, const struct pe_conv_problem *q, float *dx, pe_error *err) {
    if (!all_finite(q)) {
        struct plain plain = { q, dx };
        pe_parallel_for(ctx, q->images * q->groups, 1, 0, run_plain, &plain);
        return PE_OK;
    }
    struct dw_task t = {
        .ctx = ctx, .backward = 1, .images = q->images, .channels = q->groups, .source = q->y, .source_n = q->y_n,
        .source_c = q->y_c, .repeat = 1, .width = 1, .sum = q->out, .w = q->w, .w_group = q->w_g, .w_o = q->w_o,
        .out = dx, .out_n = q->x_n, .out_c = q->x_c,
    };
    for (int d = 0; d < PE_CONV_AXES; d++) t.w_k[d] = q->w_k[d];
    dw_axes(q, 1, t.axis);
    return run(&t, err);
}
