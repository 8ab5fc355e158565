/* pe_rotary: pairs of features turned by an angle for each position, or turned back. Two products and a sum each,
 * rounded one by one, so every instruction set gives the same bits. */
#include "rows.h"

#include <string.h>

static const double ELEMENT_NS = 0.3; /* one feature read, turned and written out of L2 */

struct job {
    struct pe_rows x, y, cos, sin;
    int64_t half;     /* pairs of a row */
    float direction;  /* 1, or -1 to turn back */
    int neighbours;
};

/* y[i] = x[i] c - x[i + half] s and y[i + half] = x[i + half] c + x[i] s */
static void turn_halves(const float *restrict x, float *restrict y, const float *restrict c, const float *restrict s,
                        int64_t half, float direction) {
    for (int64_t i = 0; i < half; i++) {
        const float a = x[i], b = x[i + half], turn = direction * s[i];
        y[i] = a * c[i] - b * turn;
        y[i + half] = b * c[i] + a * turn;
    }
}

/* the same for the pairs (2 i, 2 i + 1) */
static void turn_neighbours(const float *restrict x, float *restrict y, const float *restrict c,
                            const float *restrict s, int64_t half, float direction) {
    for (int64_t i = 0; i < half; i++) {
        const float a = x[2 * i], b = x[2 * i + 1], turn = direction * s[i];
        y[2 * i] = a * c[i] - b * turn;
        y[2 * i + 1] = b * c[i] + a * turn;
    }
}

static void run(int64_t begin, int64_t end, void *arg) {
    const struct job *j = arg;
    const int64_t turned = 2 * j->half;
    for (int64_t row = begin; row < end; row++) {
        const float *x = pe_row(&j->x, row);
        float *y = pe_row(&j->y, row);
        const float *c = pe_row(&j->cos, row % j->cos.count), *s = pe_row(&j->sin, row % j->cos.count);
        if (j->neighbours) turn_neighbours(x, y, c, s, j->half, j->direction);
        else turn_halves(x, y, c, s, j->half, j->direction);
        if (j->x.n > turned) memcpy(y + turned, x + turned, (size_t)(j->x.n - turned) * sizeof(float));
    }
}

/* x (..., T, E) and y alike, cos and sin (T, half) with 2 half <= E */
static pe_status check(const pe_rotary_args *a, pe_error *err) {
    char x[PE_SHAPE_TEXT], c[PE_SHAPE_TEXT];
    pe_status status = pe_rows_check("rotary", "x", a->x, a->x, err);
    if (!status) status = pe_rows_check("rotary", "y", a->y, a->x, err);
    if (!status) status = pe_rows_check("rotary", "cos", a->cos, a->cos, err);
    if (!status) status = pe_rows_check("rotary", "sin", a->sin, a->cos, err);
    if (status) return status;
    const int n = a->x->ndim;
    if (n < 2 || a->cos->ndim != 2 || a->cos->shape[0] != a->x->shape[n - 2] ||
        a->cos->shape[1] > a->x->shape[n - 1] / 2)
        return pe_fail(err, PE_ERR_SHAPE, -1, "rotary: x %s needs cos and sin (T, D/2) for its last axes, got %s",
                       pe_shape_text(a->x, x), pe_shape_text(a->cos, c));
    return PE_OK;
}

pe_status pe_rotary(pe_context *ctx, const pe_rotary_args *args, pe_error *err) {
    pe_status status = check(args, err);
    if (status || pe_numel(args->x) == 0) return status;
    struct job job = {.half = args->cos->shape[1], .direction = args->back ? -1.0f : 1.0f,
                      .neighbours = args->neighbours};
    status = pe_rows_open_input(ctx, &job.x, args->x, err);
    if (!status) status = pe_rows_open_input(ctx, &job.cos, args->cos, err);
    if (!status) status = pe_rows_open_input(ctx, &job.sin, args->sin, err);
    if (!status) status = pe_rows_open_output(ctx, &job.y, args->y, err);
    if (!status) pe_rows_for(ctx, &job.x, ELEMENT_NS, run, &job);
    pe_status closed = pe_rows_close(ctx, &job.y, !status, err);
    pe_rows_close(ctx, &job.sin, 0, err);
    pe_rows_close(ctx, &job.cos, 0, err);
    pe_rows_close(ctx, &job.x, 0, err);
    return status ? status : closed;
}
