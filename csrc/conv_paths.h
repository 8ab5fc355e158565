/* The ways a convolution and its gradients can go, between their checks (conv_check.c) and conv.c, which chooses. */
#ifndef PE_CONV_PATHS_H
#define PE_CONV_PATHS_H

#include "conv.h"

/* conv_check.c: the tensors of args as a problem, or a refusal by the name of the call; `out` is what it writes. */
pe_status pe_conv_check(pe_context *ctx, const char *name, const pe_conv_args *args, const pe_tensor *out,
                        struct pe_conv_problem *problem, pe_error *err);

/* Where the taps lie in the weight, as numbers with the last axis fastest. */
int64_t pe_conv_tap_at(const struct pe_conv_problem *problem, int64_t tap);
static inline int64_t pe_conv_taps(const struct pe_conv_problem *q) {
    return q->kernel[0] * q->kernel[1] * q->kernel[2];
}
static inline int64_t pe_conv_places(const struct pe_conv_problem *q) {
    return q->places[0] * q->places[1] * q->places[2];
}

/* True when the windows are the single places of x, each once, and lie evenly in x and in y: then a convolution is a
 * matrix product. Gives their number and their strides. */
int pe_conv_is_pointwise(const struct pe_conv_problem *problem, int64_t *places, int64_t *x_s, int64_t *y_s);

/* conv_pack.c: the weight as panels of the product, group after group, one row of a panel for each (tap, channel). */
int64_t pe_conv_panel_floats(pe_context *ctx, const struct pe_conv_problem *problem); /* of one group */
void pe_conv_pack_panels(pe_context *ctx, const struct pe_conv_problem *problem, float *to);
float *pe_conv_make_panels(pe_context *ctx, const struct pe_conv_problem *problem, pe_error *err); /* for pe_free */

/* conv_packed.c: the panels inside a caller's pack of this problem; *weight is NULL when there is no pack. */
pe_status pe_conv_open_pack(pe_context *ctx, const struct pe_conv_problem *problem, const void *packed,
                            const float **weight, pe_error *err);

/* conv.c: by Winograd's tiles, by lines of groups or by the product, as the shape of one sample decides. The first and
 * the last read the same panels, which may be NULL. */
pe_status pe_conv_run(pe_context *ctx, const struct pe_conv_problem *problem, const float *panels, pe_error *err);

/* conv_grouped.c: groups of few channels; the bits are those of the product. */
int pe_grouped_suits(pe_context *ctx, const struct pe_conv_problem *problem);
pe_status pe_grouped(pe_context *ctx, const struct pe_conv_problem *problem, const float *panels, pe_error *err);

/* conv_gemm.c: one product of the windows and the weight, which `panels` holds already or NULL. */
pe_status pe_conv_by_product(pe_context *ctx, const struct pe_conv_problem *problem, const float *panels,
                             pe_error *err);

/* channels_last.c: lays q's images of x (of y) out in `to`, dense, their channels last; q then means them there. */
void pe_conv_x_channels_last(pe_context *ctx, struct pe_conv_problem *q, float *to);
void pe_conv_y_channels_last(pe_context *ctx, struct pe_conv_problem *q, float *to);

/* The images of x copied with their channels last, as many at a time as the copy has room for, each time on `path`. If
 * there is no memory for that the path sees x as it lies. */
typedef pe_status pe_conv_path(pe_context *ctx, const struct pe_conv_problem *, const float *panels, pe_error *err);
pe_status pe_conv_on_copies(pe_context *ctx, const struct pe_conv_problem *q, const float *panels, pe_conv_path *path,
                            pe_error *err);
int64_t pe_conv_x_floats(const struct pe_conv_problem *q); /* of one image, all groups */
int64_t pe_conv_y_floats(const struct pe_conv_problem *q);
/* True when windows are read faster from such a copy: rows that are short, or not read one by one. */
int pe_conv_wants_channels_last(const struct pe_conv_problem *q);
#define PE_CONV_COPY_FLOATS (INT64_C(8) << 18) /* 8 MB: of the images that are copied at a time */

#endif
