/* Images and weights of convolutions for tests, in any layout and between guards. */
#ifndef PE_CONV_IMAGES_H
#define PE_CONV_IMAGES_H

#include "guarded.h"

struct shape {
    int64_t images, groups, in, out, size[3], kernel[3], step[3], spacing[3], before[3], places[3];
    int space;
};

/* a tensor (first, channels, space) in memory of its own */
struct image {
    pe_tensor t;
    float *data;
    size_t floats;
};

static struct image make_image(int64_t first, int64_t channels, const int64_t *space, int axes,
                               enum format layout, int zero) {
    struct image m = { .t = { .dtype = PE_FLOAT32, .ndim = 2 + axes, .shape = { first, channels } } };
    for (int d = 0; d < axes; d++) m.t.shape[2 + d] = space[d];
    m.floats = (size_t)lay_out(&m.t, layout);
    m.data = malloc((m.floats + 32) * sizeof(float)); /* 16 guards on both sides */
    for (size_t x = 0; x < m.floats + 32; x++) m.data[x] = zero ? 7.5f : draw_float();
    m.t.data = m.data + 16;
    return m;
}

static float *at(const struct image *m, int64_t n, int64_t c, const int64_t *p) {
    char *data = (char *)m->t.data + n * m->t.strides[0] + c * m->t.strides[1];
    for (int d = 0; d < m->t.ndim - 2; d++) data += p[d] * m->t.strides[2 + d];
    return (float *)(void *)data;
}

static int64_t volume(const int64_t *v, int n) {
    int64_t all = 1;
    for (int d = 0; d < n; d++) all *= v[d];
    return all;
}
static void place(int64_t i, const int64_t *size, int n, int64_t *p) {
    for (int d = n - 1; d >= 0; d--) p[d] = i % size[d], i /= size[d];
}

#endif
