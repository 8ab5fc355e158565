/* A convolution as one product, windows times weight: rows are places of all images, columns output channels, so that
 * a weight, packed once, meets every image. */
#include "conv_paths.h"
#include "gemm_plan.h"
#include "sizes.h"

#define FEW_PLACES 512 /* of an image whose channels come first: too few to be the columns of a product */

/* Images and places of y as few axes of rows; one axis needs no grid. */
static void find_grid(const struct pe_conv_problem *q, struct pe_gemm_problem *g, struct pe_gemm_grid *grid) {
    const int64_t size[] = { q->places[2], q->places[1], q->places[0], q->images };
    const int64_t stride[] = { q->y_s[2], q->y_s[1], q->y_s[0], q->y_n };
    int64_t kept_size[4], kept[4];
    int axes = 0;
    for (int d = 0; d < 4; d++) {
        if (size[d] == 1) continue;
        if (axes && stride[d] == kept[axes - 1] * kept_size[axes - 1]) kept_size[axes - 1] *= size[d];
        else kept_size[axes] = size[d], kept[axes++] = stride[d];
    }
    g->c_i = g->residual_i = axes ? kept[0] : 1;
    if (axes <= 1) return;
    grid->axes = axes;
    for (int d = 0; d < axes; d++) {
        grid->size[d] = kept_size[axes - 1 - d];
        grid->c[d] = grid->residual[d] = kept[axes - 1 - d];
    }
    g->grid = grid;
}

/* What windows and single places have in common. */
static struct pe_gemm_problem product_of(const struct pe_conv_problem *q) {
    return (struct pe_gemm_problem){
        .n = q->out, .k = pe_conv_taps(q) * q->in, .a = q->x, .b = q->w, .c = q->y,
        .c_j = q->y_c, .residual_j = q->y_c, .bias = q->bias, .bias_j = 1, .residual = q->residual, .b_p = q->w_i,
        .b_j = q->w_o, .activation = q->activation, .accumulate = q->accumulate,
    };
}

static void add_axis(struct pe_gemm_batch *batch, int64_t size, int64_t a, int64_t b, int64_t c, int64_t bias,
                     int64_t packed) {
    if (size == 1) return;
    int d = batch->axes++;
    batch->size[d] = size, batch->a[d] = a, batch->b[d] = b, batch->c[d] = batch->residual[d] = c;
    batch->bias[d] = bias, batch->packed[d] = packed;
    batch->count *= size;
}

static void add_groups(pe_context *ctx, const struct pe_conv_problem *q, struct pe_gemm_batch *batch) {
    add_axis(batch, q->groups, q->in * q->x_c, q->w_g, q->out * q->y_c, q->out, pe_conv_panel_floats(ctx, q));
}

/* Single places: x is a matrix as it lies. With the channels last all images are rows of one product. */
static pe_status run_pointwise(pe_context *ctx, const struct pe_conv_problem *q, const float *panels, int64_t places,
                               int64_t x_s, int64_t y_s, pe_error *err) {
    struct pe_gemm_problem g = product_of(q);
    struct pe_gemm_batch batch = { .count = 1 };
    int rows = q->x_n == x_s * places && q->y_n == y_s * places;
    g.m = rows ? places * q->images : places;
    g.a_i = x_s, g.a_p = q->x_c, g.c_i = g.residual_i = y_s;
    g.packed = q->y_c == 1 ? panels : NULL;
    add_groups(ctx, q, &batch);
    if (!rows) add_axis(&batch, q->images, q->x_n, 0, q->y_n, 0, 0);
    return pe_gemm_run_batch(ctx, &g, &batch, err);
}

static pe_status run_windows(pe_context *ctx, const struct pe_conv_problem *q, const float *panels, pe_error *err) {
    struct pe_gemm_problem g = product_of(q);
    struct pe_gemm_batch batch = { .count = 1 };
    struct pe_gemm_grid grid;
    g.m = pe_conv_places(q) * q->images;
    g.windows = q, g.packed = panels;
    find_grid(q, &g, &grid);
    add_groups(ctx, q, &batch);
    return pe_gemm_run_batch(ctx, &g, &batch, err);
}

pe_status pe_conv_by_product(pe_context *ctx, const struct pe_conv_problem *q, const float *panels,
                             pe_error *err) {
    int64_t places, x_s, y_s;
    if (q->images == 0 || pe_conv_places(q) == 0 || q->out == 0) return PE_OK;
    if (pe_conv_is_pointwise(q, &places, &x_s, &y_s) && !(places < FEW_PLACES && pe_conv_wants_channels_last(q)))
        return run_pointwise(ctx, q, panels, places, x_s, y_s, err);
    float *own = NULL;
    if (!panels) {
        panels = own = pe_conv_make_panels(ctx, q, err);
        if (!own) return PE_ERR_MEMORY;
    }
    pe_status status = pe_conv_wants_channels_last(q) ? pe_conv_on_copies(ctx, q, panels, run_windows, err)
                                                      : run_windows(ctx, q, panels, err);
    if (own) pe_free(ctx, own);
    return status;
}
