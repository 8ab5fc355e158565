/* Checks an output against its inputs and simplifies the walk over them; see broadcast.h. */
#include "broadcast.h"

/* the bytes [low, high) around data that a tensor reaches */
typedef struct {
    int64_t low, high;
} reach;

static const char *operand_name(int i) {
    static const char *const names[PE_MAX_OPERANDS] = {"out", "input 0", "input 1", "input 2", "input 3"};
    return names[i];
}

static pe_status check_tensor(const char *operation, int operand, const pe_tensor *t, reach *r,
                              pe_error *err) {
    const char *name = operand_name(operand);
    if (!t) return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: %s is missing", operation, name);
    if (t->dtype < 0 || t->dtype >= PE_DTYPE_COUNT)
        return pe_fail(err, PE_ERR_DTYPE, -1, "%s: %s has the unknown dtype %d", operation, name, t->dtype);
    if (t->ndim < 0 || t->ndim > PE_MAX_DIMS)
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s has %d axes; 0 to %d are possible", operation, name,
                       t->ndim, PE_MAX_DIMS);
    const int64_t size = (int64_t)pe_dtype_size(t->dtype);
    int64_t count = 1, span;
    r->low = 0, r->high = size;
    for (int axis = 0; axis < t->ndim; axis++) {
        if (t->shape[axis] < 0)
            return pe_fail(err, PE_ERR_SHAPE, axis, "%s: %s has the negative size %lld at axis %d", operation,
                           name, (long long)t->shape[axis], axis);
        if (t->shape[axis] > 1 && t->strides[axis] % size)
            return pe_fail(err, PE_ERR_ARGUMENT, axis,
                           "%s: the stride %lld of %s at axis %d is no multiple of its element size",
                           operation, (long long)t->strides[axis], name, axis);
        if (t->shape[axis] > 1) {
            int64_t *end = t->strides[axis] < 0 ? &r->low : &r->high;
            if (__builtin_mul_overflow(t->shape[axis] - 1, t->strides[axis], &span) ||
                __builtin_add_overflow(*end, span, end))
                return pe_fail(err, PE_ERR_SHAPE, axis, "%s: %s is too large", operation, name);
        }
        if (t->shape[axis] && __builtin_mul_overflow(count, t->shape[axis], &count))
            return pe_fail(err, PE_ERR_SHAPE, axis, "%s: %s has too many elements", operation, name);
    }
    for (int axis = 0; axis < t->ndim; axis++)
        if (t->shape[axis] == 0) r->low = r->high = 0;
    if (r->high && !t->data) return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: %s has no data", operation, name);
    return PE_OK;
}

static int same_view(const pe_tensor *a, const pe_tensor *b) {
    if (a->data != b->data || a->dtype != b->dtype || a->ndim != b->ndim) return 0;
    for (int axis = 0; axis < a->ndim; axis++)
        if (a->shape[axis] != b->shape[axis] || (a->shape[axis] > 1 && a->strides[axis] != b->strides[axis]))
            return 0;
    return 1;
}

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b) {
        int64_t rest = a % b;
        a = b, b = rest;
    }
    return a < 0 ? -a : a;
}

/* Elements at steps that share a divisor can interleave without touching: x[::2] and x[1::2]. */
static int interleaved(const pe_tensor *a, const pe_tensor *b) {
    int64_t step = 0;
    for (int axis = 0; axis < a->ndim; axis++)
        if (a->shape[axis] > 1) step = common_divisor(step, a->strides[axis]);
    for (int axis = 0; axis < b->ndim; axis++)
        if (b->shape[axis] > 1) step = common_divisor(step, b->strides[axis]);
    if (!step) return 0;
    int64_t ahead = (int64_t)((intptr_t)b->data - (intptr_t)a->data) % step;
    if (ahead < 0) ahead += step;
    return ahead >= (int64_t)pe_dtype_size(a->dtype) && step - ahead >= (int64_t)pe_dtype_size(b->dtype);
}

static int overlap(const pe_tensor *a, reach ra, const pe_tensor *b, reach rb) {
    if (ra.low == ra.high || rb.low == rb.high) return 0;
    intptr_t pa = (intptr_t)a->data, pb = (intptr_t)b->data;
    if (pa + ra.high <= pb + rb.low || pb + rb.high <= pa + ra.low) return 0;
    return !interleaved(a, b);
}

static pe_status check_pair(const char *operation, const pe_tensor *out, reach reach_out, int operand,
                            const pe_tensor *in, reach reach_in, pe_error *err) {
    char text_in[PE_SHAPE_TEXT], text_out[PE_SHAPE_TEXT];
    for (int axis = 0; axis < in->ndim; axis++) {
        int at = axis + out->ndim - in->ndim;
        if (at < 0 ? in->shape[axis] != 1 : in->shape[axis] != 1 && in->shape[axis] != out->shape[at])
            return pe_fail(err, PE_ERR_SHAPE, axis,
                           "%s: %s of shape %s does not broadcast to out of shape %s (axis %d)",
                           operation, operand_name(operand), pe_shape_text(in, text_in),
                           pe_shape_text(out, text_out), axis);
    }
    if (!same_view(out, in) && overlap(out, reach_out, in, reach_in))
        return pe_fail(err, PE_ERR_ARGUMENT, -1,
                       "%s: out of shape %s overlaps %s of shape %s without being the same view", operation,
                       pe_shape_text(out, text_out), operand_name(operand), pe_shape_text(in, text_in));
    return PE_OK;
}

/* axis `to` of the walk from axis `axis` of out, strides of the inputs aligned at the right */
static void take_axis(pe_walk *w, int to, const pe_tensor *out, const pe_tensor *const *in, int axis) {
    w->shape[to] = out->shape[axis];
    for (int i = 0; i < w->operands; i++) {
        const pe_tensor *t = i ? in[i - 1] : out;
        int at = axis - (out->ndim - t->ndim);
        w->stride[i][to] = at < 0 || t->shape[at] == 1 ? 0 : t->strides[at];
    }
    if (w->stride[0][to] >= 0) return;
    for (int i = 0; i < w->operands; i++) {
        w->data[i] += (w->shape[to] - 1) * w->stride[i][to];
        w->stride[i][to] = -w->stride[i][to];
    }
}

static void swap_axes(pe_walk *w, int a, int b) {
    int64_t kept = w->shape[a];
    w->shape[a] = w->shape[b], w->shape[b] = kept;
    for (int i = 0; i < w->operands; i++) {
        kept = w->stride[i][a];
        w->stride[i][a] = w->stride[i][b], w->stride[i][b] = kept;
    }
}

static void merge_axes(pe_walk *w) {
    int last = 0;
    for (int axis = 1; axis < w->ndim; axis++) {
        int follows = 1;
        for (int i = 0; i < w->operands; i++)
            follows &= w->stride[i][axis] == w->stride[i][last] * w->shape[last];
        if (follows) {
            w->shape[last] *= w->shape[axis];
        } else {
            last++;
            w->shape[last] = w->shape[axis];
            for (int i = 0; i < w->operands; i++) w->stride[i][last] = w->stride[i][axis];
        }
    }
    w->ndim = last + 1;
}

static void simplify(pe_walk *w, const pe_tensor *out, const pe_tensor *const *in) {
    w->ndim = 0;
    for (int axis = out->ndim - 1; axis >= 0; axis--) {
        if (out->shape[axis] == 1) continue;
        take_axis(w, w->ndim++, out, in, axis);
        for (int at = w->ndim - 1; at > 0 && w->stride[0][at] < w->stride[0][at - 1]; at--)
            swap_axes(w, at, at - 1);
    }
    if (w->ndim == 0) {
        w->ndim = 1;
        w->shape[0] = 1;
        for (int i = 0; i < w->operands; i++) w->stride[i][0] = 0;
    }
    merge_axes(w);
}

pe_status pe_walk_begin(pe_walk *w, const char *operation, const pe_tensor *out,
                        const pe_tensor *const *in, int inputs, pe_error *err) {
    reach reach_out, reach_in;
    pe_status status = check_tensor(operation, 0, out, &reach_out, err);
    if (status) return status;
    w->operands = inputs + 1;
    w->count = 1;
    for (int axis = 0; axis < out->ndim; axis++) {
        if (out->shape[axis] > 1 && out->strides[axis] == 0)
            return pe_fail(err, PE_ERR_ARGUMENT, axis,
                           "%s: out is broadcast along axis %d: it cannot be written", operation, axis);
        w->count = out->shape[axis] ? w->count * out->shape[axis] : 0;
        if (!w->count) break;
    }
    for (int i = 0; i <= inputs; i++) {
        const pe_tensor *t = i ? in[i - 1] : out;
        if (i) {
            status = check_tensor(operation, i, t, &reach_in, err);
            if (!status) status = check_pair(operation, out, reach_out, i, t, reach_in, err);
            if (status) return status;
        }
        w->data[i] = t->data;
        w->size[i] = (int)pe_dtype_size(t->dtype);
    }
    if (w->count) simplify(w, out, in);
    return PE_OK;
}
