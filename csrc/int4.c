/* x against an INT4 pack: rows of x made dense and padded with zeros, then panels over the pool. */
#include "quant.h"
#include "sizes.h"

#include <string.h>

enum { TASK_ROWS = 64 }; /* rows that meet a panel while it lies in the second cache */

struct run {
    pe_context *ctx;
    const struct pe_qpack_view *view;
    const pe_tensor *from, *out;
    const float *bias;
    pe_loop *activation;
    float *x;
    int64_t x_row, m, panels_a_task;
};

static void finish_row(const struct run *r, float *line, int64_t i, int64_t j, int64_t columns) {
    char *to = (char *)r->out->data + i * r->out->strides[0] + j * r->out->strides[1];
    if (r->bias)
        for (int64_t x = 0; x < columns; x++) line[x] += r->bias[j + x];
    if (r->activation) {
        const void *in[1] = { line };
        const ptrdiff_t step[1] = { 1 };
        r->activation(line, in, step, (size_t)columns);
    }
    for (int64_t x = 0; x < columns; x++) memcpy(to + x * r->out->strides[1], line + x, sizeof *line);
}

static void task_body(int64_t begin, int64_t end, void *arg) {
    const struct run *r = arg;
    const struct pe_int4_kernels *kernels = &r->ctx->kernels->int4;
    float tile[PE_INT4_MAX_ROWS * PE_INT4_MAX_COLUMNS] __attribute__((aligned(64)));
    int64_t across = parts(r->view->panels, r->panels_a_task), nr = kernels->nr;
    for (int64_t task = begin; task < end; task++) {
        int64_t i0 = task / across * TASK_ROWS, i1 = min64(i0 + TASK_ROWS, r->m);
        int64_t panel = task % across * r->panels_a_task, stop = min64(panel + r->panels_a_task, r->view->panels);
        for (; panel < stop; panel++) {
            int64_t j = panel * nr, columns = min64(nr, r->view->n - j);
            for (int64_t i = i0; i < i1; i += kernels->mr) {
                int64_t rows = min64(kernels->mr, i1 - i);
                struct pe_int4_tile t = {
                    .k = (size_t)r->view->k, .group = (size_t)r->view->group, .x = r->x + i * r->x_row,
                    .x_row = r->x_row, .panel = (const uint8_t *)r->view->data + (size_t)panel * r->view->panel_bytes,
                    .y = tile, .y_row = nr,
                };
                kernels->tile[rows - 1](&t);
                for (int64_t y = 0; y < rows; y++) finish_row(r, tile + y * nr, i + y, j, columns);
            }
        }
    }
}

static void copy_body(int64_t begin, int64_t end, void *arg) {
    const struct run *r = arg;
    int64_t k = r->view->k, step = r->from->strides[1];
    for (int64_t i = begin; i < end; i++) {
        const char *from = (const char *)r->from->data + i * r->from->strides[0];
        float *to = r->x + i * r->x_row;
        if (step == sizeof *to) memcpy(to, from, (size_t)k * sizeof *to);
        else
            for (int64_t p = 0; p < k; p++) memcpy(to + p, from + p * step, sizeof *to);
        memset(to + k, 0, (size_t)(r->x_row - k) * sizeof *to);
    }
}

pe_status pe_int4_run(pe_context *ctx, const struct pe_qpack_view *view, const pe_qlinear_args *args,
                      const float *bias, pe_error *err) {
    const struct pe_int4_kernels *kernels = &ctx->kernels->int4;
    struct run r = { .ctx = ctx, .view = view, .from = args->x, .out = args->out, .bias = bias,
                     .m = args->x->shape[0] };
    pe_status status = pe_activation_loop(ctx, args->activation, "qlinear", &r.activation, err);
    if (status) return status;
    /* whole groups, an odd number of cache lines: the rows of a tile do not evict each other */
    r.x_row = parts(view->k, view->group) * view->group + 16;
    r.x = pe_alloc(ctx, (size_t)(r.m * r.x_row) * sizeof(float));
    if (!r.x)
        return pe_fail(err, PE_ERR_MEMORY, -1, "qlinear: no memory for %lld rows of %lld floats", (long long)r.m,
                       (long long)r.x_row);
    pe_parallel_for(ctx, r.m, 1 + 32768 / r.x_row, pe_threads_for(ctx, (double)(r.m * r.x_row) * 0.2), copy_body, &r);
    /* unpacking a vector of weights costs about as much as three rows' products */
    double panel = (double)view->k * kernels->nr * (3.0 + (double)min64(r.m, TASK_ROWS)) /
                   (ctx->kernels->vector_floats * 4.0);
    double all = panel * (double)view->panels * (double)parts(r.m, TASK_ROWS);
    double goal = all / 48 > 5e3 ? all / 48 : 5e3;
    r.panels_a_task = panel < goal ? (int64_t)(goal / (panel + 1)) : 1;
    if (r.panels_a_task < 1) r.panels_a_task = 1;
    pe_parallel_for(ctx, parts(r.m, TASK_ROWS) * parts(view->panels, r.panels_a_task), 1, pe_threads_for(ctx, all),
                    task_body, &r);
    pe_free(ctx, r.x);
    return PE_OK;
}
