/* What a convolution asks of its arguments, and how tensors become a problem. */
#include "conv_paths.h"
#include "sizes.h"

#define MOST_SPAN (INT64_C(1) << 60) /* elements: what follows cannot overflow */
#define MOST_ELEMENTS (INT64_C(1) << 50)

static pe_status check_operand(const char *name, const char *argument, const pe_tensor *t, int axes, pe_error *err) {
    pe_status status = pe_check_dtype(t, PE_FLOAT32, name, argument, err);
    if (status) return status;
    if (pe_numel(t) > MOST_ELEMENTS) /* strides of 0 make it possible */
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s has too many elements", name, argument);
    if (t->ndim != axes)
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s must have %d axes, has %d", name, argument, axes, (int)t->ndim);
    return PE_OK;
}

static pe_status check_channels(const char *name, const pe_conv_args *args, pe_error *err) {
    const pe_tensor *x = args->x, *w = args->w, *y = args->y;
    char a[PE_SHAPE_TEXT], b[PE_SHAPE_TEXT], c[PE_SHAPE_TEXT];
    int64_t groups = args->groups;
    if (groups < 1 || w->shape[0] % groups || y->shape[1] != w->shape[0] || x->shape[0] != y->shape[0] ||
        x->shape[1] % groups || x->shape[1] / groups != w->shape[1])
        return pe_fail(err, PE_ERR_SHAPE, 1, "%s: x %s, w %s and y %s do not fit in %lld groups", name,
                       pe_shape_text(x, a), pe_shape_text(w, b), pe_shape_text(y, c), (long long)groups);
    return PE_OK;
}

static pe_status check_steps(const char *name, const pe_conv_args *args, int space, pe_error *err) {
    for (int d = 0; d < space; d++) {
        int64_t step = args->step[d], spacing = args->spacing[d], before = args->before[d], walk, reach;
        int64_t places = max64(args->y->shape[2 + d], 1), kernel = max64(args->w->shape[2 + d], 1);
        if (step < 1 || spacing < 1 || before > MOST_SPAN || before < -MOST_SPAN ||
            __builtin_mul_overflow(places, step, &walk) || __builtin_mul_overflow(kernel, spacing, &reach) ||
            walk > MOST_SPAN || reach > MOST_SPAN)
            return pe_fail(err, PE_ERR_ARGUMENT, d,
                           "%s: step %lld, spacing %lld and before %lld of axis %d are out of range", name,
                           (long long)step, (long long)spacing, (long long)before, d);
    }
    return PE_OK;
}

static pe_status check_extras(const char *name, const pe_conv_args *args, const pe_tensor *out, pe_error *err) {
    pe_status status = PE_OK;
    char a[PE_SHAPE_TEXT], b[PE_SHAPE_TEXT];
    if (args->bias) status = check_operand(name, "bias", args->bias, 1, err);
    if (!status && args->bias && (args->bias->shape[0] != out->shape[1] || args->bias->strides[0] != sizeof(float)))
        return pe_fail(err, PE_ERR_SHAPE, 0, "%s: bias %s must be dense, one element for each channel of %s", name,
                       pe_shape_text(args->bias, a), pe_shape_text(out, b));
    if (!status && args->residual) status = check_operand(name, "residual", args->residual, out->ndim, err);
    if (status) return status;
    for (int d = 0; args->residual && d < out->ndim; d++)
        if (args->residual->shape[d] != out->shape[d] ||
            (out->shape[d] > 1 && args->residual->strides[d] != out->strides[d]))
            return pe_fail(err, PE_ERR_SHAPE, d, "%s: residual %s must have the shape and the strides of %s", name,
                           pe_shape_text(args->residual, a), pe_shape_text(out, b));
    return PE_OK;
}

static int64_t floats(const pe_tensor *t, int axis) { return t->strides[axis] / (int64_t)sizeof(float); }

static void read_space(const pe_conv_args *args, int space, struct pe_conv_problem *q) {
    for (int d = 0; d < PE_CONV_AXES; d++) {
        q->size[d] = q->kernel[d] = q->step[d] = q->spacing[d] = q->places[d] = 1;
        q->before[d] = q->x_s[d] = q->w_k[d] = q->y_s[d] = 0;
        int axis = d - PE_CONV_AXES + space;
        if (axis < 0) continue;
        q->size[d] = args->x->shape[2 + axis], q->x_s[d] = floats(args->x, 2 + axis);
        q->kernel[d] = args->w->shape[2 + axis], q->w_k[d] = floats(args->w, 2 + axis);
        q->places[d] = args->y->shape[2 + axis], q->y_s[d] = floats(args->y, 2 + axis);
        q->step[d] = args->step[axis], q->spacing[d] = args->spacing[axis], q->before[d] = args->before[axis];
    }
}

pe_status pe_conv_check(pe_context *ctx, const char *name, const pe_conv_args *args, const pe_tensor *out,
                        struct pe_conv_problem *q, pe_error *err) {
    if (!args) return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: no arguments", name);
    int axes = args->x ? args->x->ndim : 3;
    pe_loop *activation = NULL;
    if (axes < 3 || axes > 2 + PE_CONV_AXES)
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: x must have 3 to %d axes, has %d", name, 2 + PE_CONV_AXES, axes);
    pe_status status = check_operand(name, "x", args->x, axes, err);
    if (!status) status = check_operand(name, "w", args->w, axes, err);
    if (!status) status = check_operand(name, "y", args->y, axes, err);
    if (!status) status = check_channels(name, args, err);
    if (!status) status = check_steps(name, args, axes - 2, err);
    if (!status) status = check_extras(name, args, out, err);
    if (!status) status = pe_activation_loop(ctx, args->activation, name, &activation, err);
    if (status) return status;
    const pe_tensor *x = args->x, *w = args->w, *y = args->y;
    *q = (struct pe_conv_problem){
        .images = x->shape[0], .groups = args->groups, .in = w->shape[1], .out = w->shape[0] / args->groups,
        .x = x->data, .x_n = floats(x, 0), .x_c = floats(x, 1),
        .w = w->data, .w_g = w->shape[0] / args->groups * floats(w, 0), .w_o = floats(w, 0), .w_i = floats(w, 1),
        .y = y->data, .y_n = floats(y, 0), .y_c = floats(y, 1),
        .bias = args->bias ? args->bias->data : NULL, .residual = args->residual ? args->residual->data : NULL,
        .activation = activation, .accumulate = args->accumulate,
    };
    read_space(args, axes - 2, q);
    return PE_OK;
}

int pe_conv_is_pointwise(const struct pe_conv_problem *q, int64_t *places, int64_t *x_s, int64_t *y_s) {
    for (int d = 0; d < PE_CONV_AXES; d++)
        if (q->kernel[d] != 1 || q->step[d] != 1 || q->before[d] != 0 || q->size[d] != q->places[d]) return 0;
    *x_s = even_step(q->size, q->x_s, PE_CONV_AXES, places);
    *y_s = even_step(q->places, q->y_s, PE_CONV_AXES, places);
    return *x_s != 0 && *y_s != 0;
}

int64_t pe_conv_tap_at(const struct pe_conv_problem *q, int64_t tap) {
    int64_t at = 0;
    for (int d = PE_CONV_AXES - 1; d >= 0; d--) {
        at += tap % q->kernel[d] * q->w_k[d];
        tap /= q->kernel[d];
    }
    return at;
}
