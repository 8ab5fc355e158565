/* The weight of a depthwise convolution as lines read it: every tap's channels side by side. */
#include "depthwise_paths.h"

#define PACKED 256 /* channels at a time */

struct packing {
    const struct dw_task *task;
    float *to;
};

/* Every tap's channels [begin, end): those in of each group in turn, each of them against all channels out. */
static void pack_groups(int64_t begin, int64_t end, void *arg) {
    const struct packing *packing = arg;
    const struct dw_task *t = packing->task;
    const struct dw_axis *a = t->axis;
    const int64_t taps = a[0].taps * a[1].taps * a[2].taps;
    for (int64_t k = 0; k < taps * t->width; k++) {
        const int64_t tap = k / t->width, plane = tap / (a[1].taps * a[2].taps);
        const float *from = t->w + plane * t->w_k[0] + tap / a[2].taps % a[1].taps * t->w_k[1] +
                            tap % a[2].taps * t->w_k[2] + k % t->width * t->w_i;
        float *to = packing->to + k * t->channels;
        for (int64_t c = begin; c < end; c++) to[c] = from[c / t->width * t->w_group + c % t->width * t->w_o];
    }
}

static void pack(int64_t begin, int64_t end, void *arg) {
    const struct packing *packing = arg;
    const struct dw_task *t = packing->task;
    float *to = packing->to;
    const struct dw_axis *a = t->axis;
    const int64_t k0 = a[0].taps, k1 = a[1].taps, k2 = a[2].taps, channels = end - begin;
    const int even = (k1 == 1 || t->w_k[1] == k2 * t->w_k[2]) && (k0 == 1 || t->w_k[0] == k1 * k2 * t->w_k[2]);
    const int64_t rows = even ? 1 : k0 * k1, taps = even ? k0 * k1 * k2 : k2;
    for (int64_t i = 0; i < rows; i++)
        t->ctx->kernels->gemm.copy(to + i * taps * t->channels + begin, t->channels,
                                   t->w + begin * t->w_group + i / k1 * t->w_k[0] + i % k1 * t->w_k[1], t->w_k[2],
                                   t->w_group, (size_t)taps, (size_t)channels);
}

void dw_pack(const struct dw_task *t, float *to) {
    struct packing packing = { t, to };
    pe_parallel_for(t->ctx, t->channels, PACKED, 1, t->width > 1 ? pack_groups : pack, &packing);
}
