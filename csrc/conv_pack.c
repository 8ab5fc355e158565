/* A convolution's weight as the product reads it: panels of output channels (gemm_plan.h's packed b), in each one row
 * for every tap and, inside, every input channel. torch's layout has the taps inside the channels, so a panel's rows
 * are gathered channel by channel, all taps of one at once. */
#include "conv_paths.h"
#include "sizes.h"

struct packing {
    const struct pe_gemm_kernels *kernels;
    const struct pe_conv_problem *q;
    int64_t nr, lanes, panels, taps, group_floats;
    int64_t tap_step; /* from tap to tap, where they lie evenly; else 0 */
    float *to;
};

/* channel i of the panel: row `tap * in + i` for each tap, from memory where its taps are contiguous */
static void pack_channel(const struct packing *w, const float *from, float *to, int64_t width, int64_t columns) {
    const struct pe_conv_problem *q = w->q;
    int64_t apart = q->in * width;
    if (w->tap_step < 0) from -= w->taps - 1, to += (w->taps - 1) * apart, apart = -apart;
    w->kernels->copy(to, apart, from, 1, q->w_o, (size_t)w->taps, (size_t)columns);
}

static void pack_panel(const struct packing *w, const float *from, float *to, int64_t width, int64_t columns) {
    const struct pe_conv_problem *q = w->q;
    if (w->taps > 1 && (w->tap_step == 1 || w->tap_step == -1) && q->w_o != 1) {
        for (int64_t i = 0; i < q->in; i++) pack_channel(w, from + i * q->w_i, to + i * width, width, columns);
        for (int64_t p = 0; columns < width && p < w->taps * q->in; p++)
            for (int64_t x = columns; x < width; x++) to[p * width + x] = 0;
        return;
    }
    for (int64_t tap = 0; tap < w->taps; tap++)
        w->kernels->pack(to + tap * q->in * width, (size_t)width, from + pe_conv_tap_at(q, tap), q->w_i, q->w_o,
                         (size_t)q->in, (size_t)columns);
}

static void body(int64_t begin, int64_t end, void *arg) {
    const struct packing *w = arg;
    const struct pe_conv_problem *q = w->q;
    for (int64_t x = begin; x < end; x++) {
        int64_t group = x / w->panels, j = x % w->panels * w->nr, columns = min64(w->nr, q->out - j);
        pack_panel(w, q->w + group * q->w_g + j * q->w_o, w->to + group * w->group_floats + j * w->taps * q->in,
                   parts(columns, w->lanes) * w->lanes, columns);
    }
}

int64_t pe_conv_panel_floats(pe_context *ctx, const struct pe_conv_problem *q) {
    int64_t lanes = ctx->kernels->vector_floats;
    return parts(q->out, lanes) * lanes * pe_conv_taps(q) * q->in;
}

void pe_conv_pack_panels(pe_context *ctx, const struct pe_conv_problem *q, float *to) {
    struct packing w = { .kernels = &ctx->kernels->gemm, .q = q, .lanes = ctx->kernels->vector_floats,
                         .group_floats = pe_conv_panel_floats(ctx, q), .to = to };
    int64_t taps;
    w.taps = pe_conv_taps(q);
    w.tap_step = even_step(q->kernel, q->w_k, PE_CONV_AXES, &taps);
    w.nr = min64(w.kernels->vectors, parts(q->out, w.lanes)) * w.lanes;
    w.panels = parts(q->out, w.nr);
    if (!w.taps || !q->in || !q->out) return;
    pe_parallel_for(ctx, q->groups * w.panels, 1,
                    pe_threads_for(ctx, 0.3 * (double)q->groups * (double)w.group_floats), body, &w);
}

float *pe_conv_make_panels(pe_context *ctx, const struct pe_conv_problem *q, pe_error *err) {
    size_t bytes = (size_t)(q->groups * pe_conv_panel_floats(ctx, q)) * sizeof(float);
    float *panels = pe_alloc(ctx, bytes ? bytes : 1);
    if (panels) pe_conv_pack_panels(ctx, q, panels);
    else pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for %zu bytes of weights", bytes);
    return panels;
}
