/* The gradient by x, which is also the transposed convolution: x[r] gathers y[o] w[k] where o step + k spacing - before
 * is r. The places r that are congruent modulo the step meet the same taps, and for them it is a convolution of y, step
 * 1, with those taps in reverse: so x is made phase by phase, each element once. */
#include "conv_paths.h"
#include "depthwise.h"
#include "sizes.h"

/* One residue class of one axis. */
struct phase {
    int64_t first, places; /* r = first + step q, q < places */
    int64_t taps, last_tap, tap_step; /* tap j of the phase is last_tap - j tap_step of the kernel */
    int64_t spacing, before;
};

static int64_t divisor(int64_t a, int64_t b) {
    while (b) {
        int64_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

static struct phase find_phase(const struct pe_conv_problem *q, int d, int64_t first) {
    int64_t step = q->step[d], spacing = q->spacing[d], base = floored(first + q->before[d], step), tap = 0;
    int64_t rest = first + q->before[d] - base * step, common = divisor(spacing, step), apart = step / common;
    struct phase f = { .first = first, .places = parts(q->size[d] - first, step), .tap_step = apart,
                       .spacing = spacing / common };
    int64_t search = min64(apart, q->kernel[d]);
    while (tap < search && tap * spacing % step != rest) tap++;
    if (tap == search) return f; /* no tap meets these places */
    f.taps = parts(q->kernel[d] - tap, apart);
    f.last_tap = tap + (f.taps - 1) * apart;
    f.before = (f.taps - 1) * f.spacing - base - (rest - tap * spacing) / step;
    return f;
}

/* The convolution of y that makes x at the phase's places. */
static struct pe_conv_problem reversed(const struct pe_conv_problem *q, const int64_t first[PE_CONV_AXES]) {
    struct pe_conv_problem t = *q;
    t.in = q->out, t.out = q->in;
    t.x = q->y, t.x_n = q->y_n, t.x_c = q->y_c;
    t.y = (float *)q->x, t.y_n = q->x_n, t.y_c = q->x_c;
    t.w_o = q->w_i, t.w_i = q->w_o;
    for (int d = 0; d < PE_CONV_AXES; d++) {
        const struct phase f = find_phase(q, d, first[d]);
        t.size[d] = q->places[d], t.x_s[d] = q->y_s[d];
        t.places[d] = f.places, t.y_s[d] = q->x_s[d] * q->step[d];
        t.kernel[d] = f.taps, t.step[d] = 1, t.spacing[d] = f.spacing, t.before[d] = f.before;
        t.w_k[d] = -f.tap_step * q->w_k[d];
        t.w += f.last_tap * q->w_k[d];
        t.y += f.first * q->x_s[d];
        if (t.residual) t.residual += f.first * q->x_s[d];
    }
    return t;
}

pe_status pe_conv_input(pe_context *ctx, const pe_conv_args *args, pe_error *err) {
    struct pe_conv_problem q = { 0 };
    int64_t first[PE_CONV_AXES], phases[PE_CONV_AXES], all = 1;
    pe_status status = pe_conv_check(ctx, "conv_input", args, args ? args->x : NULL, &q, err);
    int plain = !q.bias && !q.residual && !q.activation && !q.accumulate;
    if (!status && plain && pe_depthwise_suits(&q)) return pe_depthwise_input(ctx, &q, (float *)q.x, err);
    for (int d = 0; d < PE_CONV_AXES && !status; d++) all *= phases[d] = min64(q.step[d], q.size[d]);
    for (int64_t i = 0; i < all && !status; i++) {
        int64_t rest = i;
        for (int d = PE_CONV_AXES - 1; d >= 0; d--) {
            first[d] = rest % phases[d];
            rest /= phases[d];
        }
        const struct pe_conv_problem t = reversed(&q, first);
        status = pe_conv_run(ctx, &t, NULL, err);
    }
    return status;
}
