/* The product of bytes: cuts c into tasks by its shape and runs them over the pool. Sums are exact, so any
 * order and any cut gives the same bits. */
#include "quant.h"
#include "sizes.h"

#include <string.h>

enum { TASK_ROWS = 96 }; /* a task's int32 strip of c (24 KB) lives on the stack */
enum { DEPTH = 320 };    /* groups a block: a panel's 80 KB stay in L2 while the task's rows pass by */
enum { SLICE = 96 };     /* and few rows use 24 KB in turn, from L1 */
enum { FEW_ROWS = 32 };
enum { STREAM_AHEAD = 8192 }; /* bytes: two pages, where the hardware, which follows in a page, does not look */

/* the size of equal parts, none above `most`, in whole `unit`s */
static int64_t equal_part(int64_t n, int64_t most, int64_t unit) {
    int64_t units = max64(parts(n, unit), 1);
    return parts(units, parts(units, max64(most / unit, 1))) * unit;
}

/* Multiplications a nanosecond of one thread, and the bytes of weights that one draws from memory (12 from DRAM,
 * more from L3): measured on Ice Lake at 2.8 GHz, where the tile does 350 (VNNI) and 90 to 130. */
double pe_qgemm_nanoseconds(const struct pe_kernels *kernels, int64_t m, int64_t n, int64_t k) {
    double rate = kernels->vector_floats * (kernels->qgemm.group == 4 ? 20.0 : 7.0);
    double products = (double)m * (double)n * (double)k / rate, stream = (double)n * (double)k / 16.0;
    return 200.0 + (products > stream ? products : stream);
}

size_t pe_qgemm_row_bytes(const struct pe_kernels *kernels, int64_t k) {
    size_t lines = ((size_t)parts(k, 4) * (size_t)kernels->qgemm.group + 63) / 64;
    return (lines | 1) * 64;
}

/* About 48 tasks of a large product, each worth 5 us or more; few rows are one task high. */
static void cut_tasks(struct pe_qproduct *q) {
    const struct pe_qgemm_kernels *kernels = &q->ctx->kernels->qgemm;
    int64_t depth = max64(q->groups * 4, 64);
    q->task_m = equal_part(q->m, min64(TASK_ROWS, TASK_ROWS / kernels->mr * kernels->mr), kernels->mr);
    double all = pe_qgemm_nanoseconds(q->ctx->kernels, q->m, q->n, depth);
    double goal = all / 48 > 5e3 ? all / 48 : 5e3;
    double panel = pe_qgemm_nanoseconds(q->ctx->kernels, min64(q->task_m, q->m), kernels->nr, depth) - 200.0;
    int64_t across = max64((int64_t)(goal / panel), 1);
    q->task_n = equal_part(q->n, min64(across, parts(q->n, kernels->nr)) * kernels->nr, kernels->nr);
}

/* One row of a finished strip into c, from column j. */
static void finish_row(const struct pe_qproduct *q, const int32_t *sums, int64_t i, int64_t j, int64_t columns) {
    if (q->whole) {
        int32_t *to = q->whole + i * q->c_i + j * q->c_j;
        if (q->c_j == 1) memcpy(to, sums, (size_t)columns * sizeof *to);
        else
            for (int64_t x = 0; x < columns; x++) to[x * q->c_j] = sums[x];
        return;
    }
    float line[PE_QGEMM_MAX_COLUMNS], *to = q->real + i * q->c_i + j * q->c_j, *out = q->c_j == 1 ? to : line;
    q->ctx->kernels->qgemm.scale(out, sums, q->scale_a[i], q->scale_b + j, q->bias ? q->bias + j : NULL,
                                 (size_t)columns);
    if (q->activation) {
        const void *in[1] = { out };
        const ptrdiff_t step[1] = { 1 };
        q->activation(out, in, step, (size_t)columns);
    }
    if (out == line)
        for (int64_t x = 0; x < columns; x++) to[x * q->c_j] = line[x];
}

/* Tile x of `tiles` asks for its share of the block of weights that follows this one: panels lie end to end.
 * One tile alone streams, and asks for its own. */
static void look_ahead(struct pe_qgemm_tile *t, int64_t x, int64_t tiles, int64_t nr) {
    int64_t turns = max64(parts((int64_t)t->groups, PE_QGEMM_AHEAD), 1), lines = (int64_t)t->groups * nr / 16;
    t->ahead_lines = (int)parts(lines, tiles * turns);
    t->ahead = tiles == 1 ? t->b + STREAM_AHEAD : t->b + (lines + x * turns * t->ahead_lines) * 64;
}

/* Rows i0 .. i1 of one panel's columns. The weights pass once, whatever the rows. */
static void run_strip(const struct pe_qproduct *q, int64_t i0, int64_t i1, int64_t panel, int32_t *strip) {
    const struct pe_qgemm_kernels *kernels = &q->ctx->kernels->qgemm;
    int64_t nr = kernels->nr, mr = kernels->mr, j = panel * nr, columns = min64(nr, q->n - j);
    int64_t lanes = q->ctx->kernels->vector_floats;
    int64_t high = equal_part(i1 - i0, mr, 1); /* 8 rows: 4 and 4, not 6 and 2 */
    int direct = q->whole && q->c_j == 1 && columns % lanes == 0;
    struct pe_qgemm_tile t = { .a_row = (ptrdiff_t)q->a_row, .sums = q->sums + j,
                               .vectors = (int)parts(columns, lanes) };
    int64_t tiles = parts(i1 - i0, high), depth = tiles == 1 ? max64(q->groups, 1) : q->m <= FEW_ROWS ? SLICE : DEPTH;
    for (int64_t g = 0; g < max64(q->groups, 1); g += depth) {
        int last = g + depth >= q->groups;
        t.groups = (size_t)(last ? q->groups - g : depth);
        t.b = q->panels + (size_t)panel * q->panel_bytes + g * 4 * nr;
        t.from_c = g > 0;
        for (int64_t i = i0; i < i1; i += high) {
            int64_t rows = min64(high, i1 - i);
            t.a = q->a + (size_t)i * q->a_row + (size_t)(g * kernels->group);
            t.zero = q->zero ? q->zero + i : NULL;
            t.c = direct ? q->whole + i * q->c_i + j : strip + (i - i0) * nr;
            t.c_row = direct ? q->c_i : nr;
            look_ahead(&t, (i - i0) / high, tiles, nr);
            kernels->tile[rows - 1](&t);
            if (!last || direct) continue;
            for (int64_t y = i; y < i + rows; y++) finish_row(q, strip + (y - i0) * nr, y, j, columns);
        }
    }
}

static void task_body(int64_t begin, int64_t end, void *arg) {
    const struct pe_qproduct *q = arg;
    int32_t strip[TASK_ROWS * PE_QGEMM_MAX_COLUMNS] __attribute__((aligned(64)));
    int64_t nr = q->ctx->kernels->qgemm.nr, across = parts(q->n, q->task_n);
    for (int64_t task = begin; task < end; task++) {
        int64_t i0 = task / across * q->task_m, i1 = min64(i0 + q->task_m, q->m);
        int64_t panel = task % across * (q->task_n / nr), stop = min64(panel + q->task_n / nr, parts(q->n, nr));
        for (; panel < stop; panel++) run_strip(q, i0, i1, panel, strip);
    }
}

void pe_qgemm_run(struct pe_qproduct *q) {
    cut_tasks(q);
    int threads = pe_threads_for(q->ctx, pe_qgemm_nanoseconds(q->ctx->kernels, q->m, q->n, q->groups * 4));
    pe_parallel_for(q->ctx, parts(q->m, q->task_m) * parts(q->n, q->task_n), 1, threads, task_body, q);
}

/* ---- pe_qgemm: packs what is not packed yet ---- */

struct call {
    struct pe_qproduct q;
    const pe_qgemm_args *args;
    int64_t k;
    uint8_t *a;
    int8_t *b;
    int32_t *sums;
};

static void pack_a_body(int64_t begin, int64_t end, void *arg) {
    const struct call *c = arg;
    const pe_tensor *a = c->args->a;
    for (int64_t i = begin; i < end; i++)
        c->q.ctx->kernels->qgemm.pack_a(c->a + (size_t)i * c->q.a_row, (const uint8_t *)a->data + i * a->strides[0],
                                        a->strides[1], (size_t)c->k, a->dtype == PE_INT8 ? 128 : 0);
}

static void pack_b_body(int64_t begin, int64_t end, void *arg) {
    const struct call *c = arg;
    const pe_tensor *b = c->args->b;
    int64_t nr = c->q.ctx->kernels->qgemm.nr;
    for (int64_t x = begin; x < end; x++)
        c->q.ctx->kernels->qgemm.pack_b(c->b + (size_t)x * c->q.panel_bytes, c->sums + x * nr,
                                        (const int8_t *)b->data + x * nr * b->strides[1], b->strides[0],
                                        b->strides[1], (size_t)c->k, (size_t)min64(nr, c->q.n - x * nr));
}

static pe_status check_vectors(const pe_qgemm_args *args, int64_t m, int64_t n, const struct pe_qpack_view *view,
                               pe_error *err) {
    pe_status status;
    if ((status = pe_quant_vector(args->zero_a, "qgemm", "zero_a", PE_INT32, m, 1, err))) return status;
    if ((status = pe_quant_vector(args->scale_a, "qgemm", "scale_a", PE_FLOAT32, m, 1, err))) return status;
    if ((status = pe_quant_vector(args->scale_b, "qgemm", "scale_b", PE_FLOAT32, n, 0, err))) return status;
    if ((status = pe_quant_vector(args->bias, "qgemm", "bias", PE_FLOAT32, n, 0, err))) return status;
    if (args->c->dtype == PE_INT32) {
        if (args->scale_a || args->scale_b || args->bias || args->activation != PE_NO_ACTIVATION)
            return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: scales, bias and activation need a float32 c");
        return PE_OK;
    }
    if (!args->scale_a) return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: a float32 c needs scale_a");
    if (!args->scale_b && !(args->packed && view->has_scale))
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: a float32 c needs scale_b, or a pack with scales");
    return PE_OK;
}

static pe_status check(pe_context *ctx, const pe_qgemm_args *args, struct pe_qpack_view *view, pe_error *err) {
    static const struct pe_operand_rule rule_a = { "a", 2, 1u << PE_UINT8 | 1u << PE_INT8 };
    static const struct pe_operand_rule rule_b = { "b", 2, 1u << PE_INT8 };
    static const struct pe_operand_rule rule_c = { "c", 2, 1u << PE_INT32 | 1u << PE_FLOAT32 };
    char text_a[PE_SHAPE_TEXT], text_c[PE_SHAPE_TEXT];
    pe_status status;
    if (!args) return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: no arguments");
    if ((status = pe_quant_operand(args->a, "qgemm", &rule_a, err))) return status;
    if ((status = pe_quant_operand(args->c, "qgemm", &rule_c, err))) return status;
    if (!args->b == !args->packed)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: either b or a pack must be given");
    if (args->packed) {
        if ((status = pe_qpack_open(ctx, args->packed, args->packed_bytes, "qgemm", view, err))) return status;
        if (view->kind != PE_QPACK_INT8)
            return pe_fail(err, PE_ERR_ARGUMENT, -1, "qgemm: the pack holds int4 weights, which pe_qlinear takes");
    } else {
        if ((status = pe_quant_operand(args->b, "qgemm", &rule_b, err))) return status;
        *view = (struct pe_qpack_view){ .k = args->b->shape[0], .n = args->b->shape[1] };
    }
    if (args->a->shape[1] != view->k)
        return pe_fail(err, PE_ERR_SHAPE, 1,
                       "qgemm: the columns of a %s must be as many as the rows of b (%lld, %lld)",
                       pe_shape_text(args->a, text_a), (long long)view->k, (long long)view->n);
    if (args->c->shape[0] != args->a->shape[0] || args->c->shape[1] != view->n)
        return pe_fail(err, PE_ERR_SHAPE, -1, "qgemm: c %s must be (%lld, %lld)", pe_shape_text(args->c, text_c),
                       (long long)args->a->shape[0], (long long)view->n);
    if ((status = check_vectors(args, args->a->shape[0], view->n, view, err))) return status;
    if ((status = pe_quant_writable(args->c, "qgemm", err))) return status;
    const pe_tensor *inputs[6] = { args->a, args->b, args->zero_a, args->scale_a, args->scale_b, args->bias };
    static const char *const names[6] = { "a", "b", "zero_a", "scale_a", "scale_b", "bias" };
    for (int x = 0; x < 6; x++)
        if ((status = pe_quant_apart(args->c, inputs[x], "qgemm", names[x], err))) return status;
    return PE_OK;
}

/* The parts of one scratch buffer, each on its own line. */
static size_t line_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

static void fill_vectors(struct call *c, char *at) {
    const pe_qgemm_args *args = c->args;
    int64_t m = c->q.m, n = c->q.n;
    int32_t shift = args->a->dtype == PE_INT8 ? 128 : 0;
    if (shift || args->zero_a) {
        int32_t *zero = (int32_t *)at;
        memset(zero, 0, (size_t)m * 4);
        if (args->zero_a) pe_quant_dense(zero, args->zero_a, m);
        for (int64_t i = 0; i < m; i++) zero[i] = (int32_t)((uint32_t)zero[i] + (uint32_t)shift);
        c->q.zero = zero;
    }
    at += line_up((size_t)m * 4);
    if (args->scale_a) pe_quant_dense(at, args->scale_a, m), c->q.scale_a = (const float *)at;
    at += line_up((size_t)m * 4);
    if (args->scale_b) pe_quant_dense(at, args->scale_b, n), c->q.scale_b = (const float *)at;
    at += line_up((size_t)n * 4);
    if (args->bias) pe_quant_dense(at, args->bias, n), c->q.bias = (const float *)at;
}

static pe_status run_call(struct call *c, const struct pe_qpack_view *view, pe_error *err) {
    pe_context *ctx = c->q.ctx;
    int64_t m = c->q.m, n = c->q.n, k = c->k, nr = ctx->kernels->qgemm.nr, panels = parts(n, nr);
    c->q.a_row = pe_qgemm_row_bytes(ctx->kernels, k);
    size_t vectors = 2 * line_up((size_t)m * 4) + 2 * line_up((size_t)n * 4), a_bytes = (size_t)m * c->q.a_row;
    size_t b_bytes = 0, sums_bytes = 0;
    if (!c->args->packed) {
        c->q.panel_bytes = (size_t)(c->q.groups * 4 * nr);
        b_bytes = (size_t)panels * c->q.panel_bytes;
        sums_bytes = line_up((size_t)(panels * nr) * 4);
    }
    char *scratch = pe_alloc(ctx, vectors + a_bytes + b_bytes + sums_bytes + 64);
    if (!scratch)
        return pe_fail(err, PE_ERR_MEMORY, -1, "qgemm: no memory for %zu bytes of packing",
                       vectors + a_bytes + b_bytes + sums_bytes);
    fill_vectors(c, scratch);
    c->q.a = c->a = (uint8_t *)scratch + vectors;
    pe_parallel_for(ctx, m, 1 + 65536 / (k + 1), pe_threads_for(ctx, (double)m * (double)k * 0.06), pack_a_body, c);
    if (c->args->packed) {
        c->q.panels = view->data, c->q.panel_bytes = view->panel_bytes, c->q.sums = view->sums;
        if (!c->q.scale_b) c->q.scale_b = view->scale;
    } else {
        c->q.sums = c->sums = (int32_t *)(c->a + a_bytes);
        c->q.panels = c->b = (int8_t *)c->sums + sums_bytes;
        pe_parallel_for(ctx, panels, 1 + 65536 / (k * nr + 1), pe_threads_for(ctx, (double)n * (double)k * 0.2),
                        pack_b_body, c);
    }
    pe_qgemm_run(&c->q);
    pe_free(ctx, scratch);
    return PE_OK;
}

pe_status pe_qgemm(pe_context *ctx, const pe_qgemm_args *args, pe_error *err) {
    struct pe_qpack_view view;
    struct call c = { .args = args };
    pe_status status = check(ctx, args, &view, err);
    if (status) return status;
    if ((status = pe_activation_loop(ctx, args->activation, "qgemm", &c.q.activation, err))) return status;
    int64_t m = args->a->shape[0], n = view.n;
    if (m == 0 || n == 0) return PE_OK;
    c.k = view.k;
    c.q.ctx = ctx, c.q.m = m, c.q.n = n, c.q.groups = parts(view.k, 4);
    c.q.whole = args->c->dtype == PE_INT32 ? args->c->data : NULL;
    c.q.real = c.q.whole ? NULL : args->c->data;
    c.q.c_i = args->c->strides[0] / 4, c.q.c_j = n == 1 ? 1 : args->c->strides[1] / 4;
    return run_call(&c, &view, err);
}
