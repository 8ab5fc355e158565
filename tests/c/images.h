/* Images (N, C, space) in either memory format, whose memory touches an unreadable page. */
#ifndef PE_IMAGES_H
#define PE_IMAGES_H

#include "guarded.h"

struct image { struct operand memory; pe_tensor t; };

/* like: axes and sizes; its first axis alone may be 0 */
static inline struct image make_image(int dtype, const pe_tensor *like, int last) {
    int64_t count = 1;
    for (int i = 0; i < like->ndim; i++) count *= like->shape[i];
    struct image m = { make_guarded(dtype, 1, count, ROWS, (int)draw(2)), *like };
    m.t.dtype = dtype;
    m.t.data = m.memory.t.data;
    lay_out(&m.t, last ? CHANNELS_LAST : ROW_MAJOR);
    return m;
}

/* element number i in row-major order, whatever the format */
static inline void *element(const pe_tensor *t, int64_t i) {
    char *at = t->data;
    for (int axis = t->ndim - 1; axis >= 0; axis--) {
        at += i % t->shape[axis] * t->strides[axis];
        i /= t->shape[axis];
    }
    return at;
}
static inline float *real(const struct image *m, int64_t i) { return element(&m->t, i); }

static inline int64_t elements(const struct image *m) { return pe_numel(&m->t); }

static inline void fill_image(struct image *m, float scale, float offset) {
    for (int64_t i = 0; i < elements(m); i++) *real(m, i) = draw_float() * scale + offset;
}
static inline void copy_image(struct image *to, const struct image *from) {
    for (int64_t i = 0; i < elements(to); i++)
        memcpy(element(&to->t, i), element(&from->t, i), pe_dtype_size(to->t.dtype));
}
static inline int equal_images(const struct image *a, const struct image *b) {
    for (int64_t i = 0; i < elements(a); i++)
        if (memcmp(element(&a->t, i), element(&b->t, i), pe_dtype_size(a->t.dtype))) {
            if (a->t.dtype != PE_FLOAT32 || !same(*real(a, i), *real(b, i))) return 0;
        }
    return 1;
}

#endif
