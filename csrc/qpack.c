/* Packs of quantized weights: header, then (INT8) column sums, scales and panels, or (INT4) panels alone.
 * A pack may come from a file: nothing in it is believed before its size has been worked out again. */
#include "quant.h"
#include "sizes.h"

#include <string.h>

#define QPACK_MAGIC 0x4b515045u /* "EPQK" */

struct header {
    uint32_t magic, kind;
    int64_t k, n;
    uint32_t group, columns, has_scale, unused[5];
};
enum { HEADER = 64 };
_Static_assert(sizeof(struct header) <= HEADER, "the header is one line");

static uint32_t panel_columns(const struct pe_kernels *kernels, int kind) {
    return (uint32_t)(kind == PE_QPACK_INT4 ? kernels->int4.nr : kernels->qgemm.dot.nr);
}

/* Where the parts lie; 0 when the sizes are absurd. */
static size_t lay_out(const struct pe_kernels *kernels, const struct header *h, struct pe_qpack_view *view) {
    int64_t columns = h->columns, groups, a_panel, columns_bytes, bytes;
    *view = (struct pe_qpack_view){ .kind = (int)h->kind, .group = (int)h->group, .has_scale = h->has_scale != 0,
                                    .k = h->k, .n = h->n };
    if (h->k < 0 || h->n < 0 || h->k > INT64_MAX / 4096 || h->n > INT64_MAX / 4096) return 0;
    view->panels = parts(h->n, columns);
    if (h->kind == PE_QPACK_INT4) {
        groups = parts(h->k, h->group);
        /* a scale, a zero and half a byte for each step of a whole group */
        a_panel = groups * columns * (8 + h->group / 2);
        columns_bytes = 0;
    } else {
        a_panel = (int64_t)pe_dot_panel_bytes(&kernels->qgemm.dot, parts(h->k, 4));
        columns_bytes = 2 * parts(view->panels * columns * 4, 64) * 64; /* sums and scales */
    }
    if (__builtin_mul_overflow(a_panel, view->panels, &bytes)) return 0;
    if (__builtin_add_overflow(bytes, HEADER + columns_bytes, &bytes)) return 0;
    view->panel_bytes = (size_t)a_panel;
    return (size_t)bytes;
}

static void place(struct pe_qpack_view *view, const void *packed, uint32_t columns) {
    const char *at = (const char *)packed + HEADER;
    if (view->kind == PE_QPACK_INT8) {
        size_t each = (size_t)parts(view->panels * columns * 4, 64) * 64;
        view->sums = (const int32_t *)at;
        view->scale = (const float *)(at + each);
        at += 2 * each;
    }
    view->data = (const int8_t *)at;
}

pe_status pe_qpack_open(pe_context *ctx, const void *packed, size_t bytes, const char *operation,
                        struct pe_qpack_view *view, pe_error *err) {
    struct header h;
    if (!packed) return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: the pack is missing", operation);
    if ((uintptr_t)packed % 64)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: the pack is not aligned to 64 bytes", operation);
    if (bytes < HEADER)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: a pack of %zu bytes is too short", operation, bytes);
    memcpy(&h, packed, sizeof h);
    int int8 = h.kind == PE_QPACK_INT8 && h.group == 0;
    int int4 = h.kind == PE_QPACK_INT4 && (h.group == 32 || h.group == 64 || h.group == 128);
    if (h.magic != QPACK_MAGIC || !(int8 || int4))
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: these bytes are no pack of quantized weights", operation);
    uint32_t columns = panel_columns(ctx->kernels, (int)h.kind);
    if (h.columns != columns)
        return pe_fail(err, PE_ERR_ARGUMENT, -1,
                       "%s: the pack was made for panels of %u columns and %s reads %u: pack again on this level",
                       operation, (unsigned)h.columns, ctx->kernels->isa, (unsigned)columns);
    size_t needed = lay_out(ctx->kernels, &h, view);
    if (!needed || bytes != needed)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: a pack of (%lld, %lld) has %zu bytes, this one %zu", operation,
                       (long long)h.k, (long long)h.n, needed, bytes);
    place(view, packed, columns);
    return PE_OK;
}

static pe_status check_int4(const pe_qpack_args *args, pe_error *err) {
    const struct pe_operand_rule scale_rule = { "scale", 2, 1u << PE_FLOAT32 },
                                 zero_rule = { "zero", 2, 1u << PE_FLOAT32 };
    char shape[PE_SHAPE_TEXT];
    pe_status status;
    if (args->group != 32 && args->group != 64 && args->group != 128)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "qpack: group must be 32, 64 or 128, is %d", args->group);
    if ((status = pe_quant_operand(args->scale, "qpack", &scale_rule, err))) return status;
    if (args->zero && (status = pe_quant_operand(args->zero, "qpack", &zero_rule, err))) return status;
    int64_t groups = parts(args->b->shape[0], args->group), n = args->b->shape[1];
    const pe_tensor *both[2] = { args->scale, args->zero };
    for (int x = 0; x < 2; x++)
        if (both[x] && (both[x]->shape[0] != groups || both[x]->shape[1] != n))
            return pe_fail(err, PE_ERR_SHAPE, -1, "qpack: %s %s must be (%lld, %lld)", x ? "zero" : "scale",
                           pe_shape_text(both[x], shape), (long long)groups, (long long)n);
    return PE_OK;
}

static pe_status check_pack(pe_context *ctx, const pe_qpack_args *args, struct header *h,
                            struct pe_qpack_view *view, size_t *bytes, pe_error *err) {
    char shape[PE_SHAPE_TEXT];
    if (!args) return pe_fail(err, PE_ERR_ARGUMENT, -1, "qpack: no arguments");
    if (args->kind != PE_QPACK_INT8 && args->kind != PE_QPACK_INT4)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "qpack: kind %d is unknown", args->kind);
    int int4 = args->kind == PE_QPACK_INT4;
    const struct pe_operand_rule rule = { "b", 2, 1u << (int4 ? PE_UINT8 : PE_INT8) };
    pe_status status = pe_quant_operand(args->b, "qpack", &rule, err);
    if (status) return status;
    if (int4) status = check_int4(args, err);
    else status = pe_quant_vector(args->scale, "qpack", "scale", PE_FLOAT32, args->b->shape[1], 0, err);
    if (status) return status;
    *h = (struct header){ .magic = QPACK_MAGIC, .kind = (uint32_t)args->kind, .k = args->b->shape[0],
                          .n = args->b->shape[1], .group = int4 ? (uint32_t)args->group : 0,
                          .columns = panel_columns(ctx->kernels, args->kind), .has_scale = args->scale != NULL };
    *bytes = lay_out(ctx->kernels, h, view);
    if (!*bytes)
        return pe_fail(err, PE_ERR_SHAPE, -1, "qpack: b %s is too large", pe_shape_text(args->b, shape));
    return PE_OK;
}

pe_status pe_qpack_bytes(pe_context *ctx, const pe_qpack_args *args, size_t *bytes, pe_error *err) {
    struct header h;
    struct pe_qpack_view view;
    return check_pack(ctx, args, &h, &view, bytes, err);
}

struct packing {
    const struct pe_kernels *kernels;
    const pe_qpack_args *args;
    struct pe_qpack_view view;
    int64_t columns;
    int too_large; /* INT4: a value above 15 was met */
};

static void pack_int8(int64_t begin, int64_t end, void *arg) {
    const struct packing *p = arg;
    const pe_tensor *b = p->args->b;
    for (int64_t x = begin; x < end; x++) {
        int64_t j = x * p->columns, wide = b->shape[1] - j < p->columns ? b->shape[1] - j : p->columns;
        p->kernels->qgemm.pack_b((int8_t *)p->view.data + (size_t)x * p->view.panel_bytes,
                                 (int32_t *)p->view.sums + j, (const int8_t *)b->data + j * b->strides[1],
                                 b->strides[0], b->strides[1],
                                 (size_t)b->shape[0], (size_t)wide);
    }
}

static void pack_int4(int64_t begin, int64_t end, void *arg) {
    struct packing *p = arg;
    const pe_qpack_args *args = p->args;
    const pe_tensor *b = args->b, *scale = args->scale, *zero = args->zero;
    for (int64_t x = begin; x < end; x++) {
        int64_t j = x * p->columns, wide = b->shape[1] - j < p->columns ? b->shape[1] - j : p->columns;
        struct pe_int4_source from = {
            .b = (const uint8_t *)b->data + j * b->strides[1], .b_k = b->strides[0], .b_j = b->strides[1],
            .scale = (const char *)scale->data + j * scale->strides[1], .scale_g = scale->strides[0],
            .scale_j = scale->strides[1], .zero = zero ? (const char *)zero->data + j * zero->strides[1] : NULL,
            .zero_g = zero ? zero->strides[0] : 0, .zero_j = zero ? zero->strides[1] : 0,
            .k = (size_t)b->shape[0], .n = (size_t)wide, .group = (size_t)args->group,
        };
        if (!p->kernels->int4.pack((uint8_t *)p->view.data + (size_t)x * p->view.panel_bytes, &from))
            __atomic_store_n(&p->too_large, 1, __ATOMIC_RELAXED);
    }
}

pe_status pe_qpack(pe_context *ctx, const pe_qpack_args *args, pe_error *err) {
    struct header h;
    struct packing p = { .kernels = ctx->kernels, .args = args };
    size_t bytes;
    pe_status status = check_pack(ctx, args, &h, &p.view, &bytes, err);
    if (status) return status;
    if (!args->packed || (uintptr_t)args->packed % 64)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "qpack: packed must be memory aligned to 64 bytes");
    if (args->bytes != bytes)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "qpack: packed must have %zu bytes, has %zu", bytes, args->bytes);
    p.columns = h.columns;
    memset(args->packed, 0, HEADER);
    memcpy(args->packed, &h, sizeof h);
    place(&p.view, args->packed, h.columns);
    double nanoseconds = (double)h.k * (double)p.view.panels * (double)p.columns * 0.3;
    int64_t grain = 1 + 65536 / (1 + h.k * p.columns);
    if (args->kind == PE_QPACK_INT8) {
        float *to = (float *)p.view.scale;
        memset(to, 0, (size_t)((const char *)p.view.data - (const char *)to));
        if (args->scale) pe_quant_dense(to, args->scale, h.n);
    }
    pe_parallel_for(ctx, p.view.panels, grain, pe_threads_for(ctx, nanoseconds),
                    args->kind == PE_QPACK_INT4 ? pack_int4 : pack_int8, &p);
    if (p.too_large) {
        memset(args->packed, 0, HEADER); /* nothing may take it for a pack */
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "qpack: b must hold numbers from 0 to 15");
    }
    return PE_OK;
}

/* ---- back to floats ---- */

struct unpacking {
    const struct pe_qpack_view *view;
    const pe_tensor *out;
    int64_t columns;
};

static float unpacked(const struct unpacking *u, int64_t panel, int64_t p, int64_t j) {
    const struct pe_qpack_view *view = u->view;
    const int8_t *data = view->data + (size_t)panel * view->panel_bytes;
    if (view->kind == PE_QPACK_INT8)
        return (float)data[(p / 4 * u->columns + j) * 4 + p % 4] * view->scale[panel * u->columns + j];
    int64_t group = p / view->group, step = p % view->group;
    const float *scale = (const float *)(const void *)(data + group * u->columns * (8 + view->group / 2));
    const uint32_t *words = (const uint32_t *)(const void *)(scale + 2 * u->columns);
    uint32_t q = words[step / 8 * u->columns + j] >> (step % 8 * 4) & 15;
    return ((float)q - scale[u->columns + j]) * scale[j];
}

static void unpack_body(int64_t begin, int64_t end, void *arg) {
    const struct unpacking *u = arg;
    const pe_tensor *out = u->out;
    for (int64_t x = begin; x < end; x++)
        for (int64_t j = 0; j < u->columns && x * u->columns + j < u->view->n; j++)
            for (int64_t p = 0; p < u->view->k; p++) {
                float y = unpacked(u, x, p, j);
                int64_t column = x * u->columns + j;
                memcpy((char *)out->data + p * out->strides[0] + column * out->strides[1], &y, sizeof y);
            }
}

pe_status pe_qunpack(pe_context *ctx, const pe_qunpack_args *args, pe_error *err) {
    static const struct pe_operand_rule rule = { "out", 2, 1u << PE_FLOAT32 };
    char shape[PE_SHAPE_TEXT];
    struct pe_qpack_view view;
    pe_status status;
    if (!args) return pe_fail(err, PE_ERR_ARGUMENT, -1, "qunpack: no arguments");
    if ((status = pe_qpack_open(ctx, args->packed, args->bytes, "qunpack", &view, err))) return status;
    if ((status = pe_quant_operand(args->out, "qunpack", &rule, err))) return status;
    if ((status = pe_quant_writable(args->out, "qunpack", err))) return status;
    if (!view.has_scale) return pe_fail(err, PE_ERR_ARGUMENT, -1, "qunpack: the pack was made without scales");
    if (args->out->shape[0] != view.k || args->out->shape[1] != view.n)
        return pe_fail(err, PE_ERR_SHAPE, -1, "qunpack: out %s must be (%lld, %lld)", pe_shape_text(args->out, shape),
                       (long long)view.k, (long long)view.n);
    struct unpacking u = { &view, args->out, panel_columns(ctx->kernels, view.kind) };
    double nanoseconds = (double)view.k * (double)view.n * 2;
    pe_parallel_for(ctx, view.panels, 1, pe_threads_for(ctx, nanoseconds), unpack_body, &u);
    return PE_OK;
}
