/* pe_batch_norm and its derivative: checks, and the memory for sums. */
#include "batch_norm.h"

#include <string.h>

static pe_status check_image(const char *name, const char *argument, const pe_tensor *t, const pe_tensor *x,
                             pe_error *err) {
    char text[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(t, PE_FLOAT32, name, argument, err);
    if (status) return status;
    if (t->ndim < 2 || !pe_same_shape(t, x))
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s of shape %s must have x's shape, of two axes or more", name,
                       argument, pe_shape_text(t, text));
    if (pe_numel(x) && !(pe_is_channels_last(x) && pe_is_channels_last(t)) &&
        !(pe_is_contiguous(x) && pe_is_contiguous(t)))
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: %s of shape %s must be dense and of x's memory format", name,
                       argument, pe_shape_text(t, text));
    return PE_OK;
}

static pe_status check_channels(const char *name, const char *argument, const pe_tensor *t, const pe_tensor *x,
                                int needed, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    if (!t && !needed) return PE_OK;
    pe_status status = pe_check_dtype(t, PE_FLOAT32, name, argument, err);
    if (status) return status;
    if (t->ndim != 1 || t->shape[0] != x->shape[1] || !pe_is_contiguous(t))
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s of shape %s must hold one number a channel, dense", name,
                       argument, pe_shape_text(t, text));
    return PE_OK;
}

static void *data_of(const pe_tensor *t) { return t ? t->data : NULL; }

/* Channels last is taken where every image lies so; a single axis behind the batch does. */
static void measure(struct pe_channels *j, const pe_tensor *x, int last) {
    int64_t length = 1;
    for (int i = 2; i < x->ndim; i++) length *= x->shape[i];
    j->channels = x->shape[1];
    j->columns = last && (j->channels > 1 || length == 1);
    j->images = j->columns ? 1 : x->shape[0];
    j->length = j->columns ? x->shape[0] * length : length;
    j->parts = pe_channel_parts(j->images * j->length);
}

static int all_last(const pe_tensor *const *images) {
    for (int i = 0; i < 3; i++)
        if (images[i] && !pe_is_channels_last(images[i])) return 0;
    return 1;
}

static pe_status run(pe_context *ctx, const char *name, struct pe_channels *j, const pe_tensor *x, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    const int64_t sums = j->sums ? j->parts * j->channels : 0, spare = 6 * j->channels;
    float *scratch = pe_alloc(ctx, (size_t)(2 * sums + spare) * sizeof(float));
    if (!scratch)
        return pe_fail(err, PE_ERR_MEMORY, -1, "%s: no memory for the sums of x of shape %s", name,
                       pe_shape_text(x, text));
    float *zeros = scratch + 5 * j->channels;
    j->scale = scratch, j->shift = scratch + j->channels, j->slope = scratch + 2 * j->channels;
    if (!j->mean) j->mean = scratch + 3 * j->channels;
    if (!j->rstd) j->rstd = scratch + 4 * j->channels;
    j->center = memset(zeros, 0, (size_t)j->channels * sizeof(float));
    if (!j->g || j->training) j->center = j->mean;
    j->first = scratch + spare, j->second = j->first + sums;
    pe_channels_run(ctx, j);
    pe_free(ctx, scratch);
    return PE_OK;
}

pe_status pe_batch_norm(pe_context *ctx, const pe_batch_norm_args *a, pe_error *err) {
    static const char name[] = "batch_norm";
    pe_status status = pe_check_tensor(a->x, name, "x", err);
    if (!status) status = check_image(name, "x", a->x, a->x, err);
    if (!status) status = check_image(name, "y", a->y, a->x, err);
    if (!status) status = check_channels(name, "weight", a->weight, a->x, 0, err);
    if (!status) status = check_channels(name, "bias", a->bias, a->x, 0, err);
    if (!status) status = check_channels(name, "mean", a->mean, a->x, 0, err);
    if (!status) status = check_channels(name, "rstd", a->rstd, a->x, 0, err);
    if (!status) status = check_channels(name, "running_mean", a->running_mean, a->x, !a->training, err);
    if (!status) status = check_channels(name, "running_var", a->running_var, a->x, !a->training, err);
    if (status || pe_numel(a->x) == 0) return status;
    struct pe_channels j = {
        .kernels = &ctx->kernels->batch_norm, .x = a->x->data, .y = a->y->data, .weight = data_of(a->weight),
        .bias = data_of(a->bias), .mean = data_of(a->mean), .rstd = data_of(a->rstd),
        .running_mean = data_of(a->running_mean), .running_var = data_of(a->running_var), .eps = a->eps,
        .momentum = a->momentum, .training = a->training, .sums = a->training,
    };
    measure(&j, a->x, all_last((const pe_tensor *[]){ a->x, a->y, NULL }));
    return run(ctx, name, &j, a->x, err);
}

static void clear(const pe_tensor *t) {
    if (t && t->shape[0]) memset(t->data, 0, (size_t)t->shape[0] * sizeof(float));
}

pe_status pe_batch_norm_backward(pe_context *ctx, const pe_batch_norm_backward_args *a, pe_error *err) {
    static const char name[] = "batch_norm_backward";
    pe_status status = pe_check_tensor(a->x, name, "x", err);
    if (!status) status = check_image(name, "x", a->x, a->x, err);
    if (!status) status = check_image(name, "g", a->g, a->x, err);
    if (!status && a->dx) status = check_image(name, "dx", a->dx, a->x, err);
    if (!status) status = check_channels(name, "weight", a->weight, a->x, 0, err);
    if (!status) status = check_channels(name, "mean", a->mean, a->x, 1, err);
    if (!status) status = check_channels(name, "rstd", a->rstd, a->x, 1, err);
    if (!status) status = check_channels(name, "dweight", a->dweight, a->x, 0, err);
    if (!status) status = check_channels(name, "dbias", a->dbias, a->x, 0, err);
    if (status) return status;
    if (pe_numel(a->x) == 0) {
        clear(a->dweight);
        clear(a->dbias);
        return PE_OK;
    }
    struct pe_channels j = {
        .kernels = &ctx->kernels->batch_norm, .x = a->x->data, .g = a->g->data, .weight = data_of(a->weight),
        .mean = a->mean->data, .rstd = a->rstd->data, .y = data_of(a->dx), .dweight = data_of(a->dweight),
        .dbias = data_of(a->dbias), .training = a->training, .sums = a->training || a->dweight || a->dbias,
    };
    measure(&j, a->x, all_last((const pe_tensor *[]){ a->x, a->g, a->dx }));
    return run(ctx, name, &j, a->x, err);
}
