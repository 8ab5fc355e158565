/* A block of tiles against panels of output channels: V, the transformed input, is made once. For each panel, some
 * channels at a time, the weights are transformed into U, and 36 products V U go on with M, which stays in L2; M
 * becomes y. */
#include "gemm_task.h"
#include "sizes.h"
#include "winograd_plan.h"

#include <string.h>

#define PLACES PE_WINOGRAD_PLACES
#define APART PE_WINOGRAD_APART

/* A block, and where its parts of memory lie. */
struct task {
    const struct pe_winograd_run *r;
    struct pe_winograd_view x;
    struct pe_winograd_block at;
    float *v, *u, *m, *gathered, *results, *more;
    int64_t v_apart, u_apart, m_apart;
    int64_t u_panel, u_channel; /* what U holds; -1: nothing */
};

static int64_t result_floats(const struct pe_winograd_run *r) {
    return PLACES * PLACES * r->group_down * r->group_across * r->nr;
}

static void share_memory(struct task *k, float *memory, size_t *floats) {
    const struct pe_winograd_run *r = k->r;
    k->v_apart = r->cut.tiles * r->depth + APART;
    k->u_apart = r->depth * r->nr + APART;
    k->m_apart = r->cut.tiles * r->nr + APART;
    const int64_t sizes[] = {
        parts(r->q->in, r->depth) * PE_WINOGRAD_POSITIONS * k->v_apart, PE_WINOGRAD_POSITIONS * k->u_apart,
        PE_WINOGRAD_POSITIONS * k->m_apart, pe_winograd_gathered_floats(&k->x, &r->cut, r->depth), result_floats(r),
        result_floats(r),
    };
    float **const starts[] = { &k->v, &k->u, &k->m, &k->gathered, &k->results, &k->more };
    *floats = 0;
    for (int i = 0; i < 6; i++) {
        if (memory) *starts[i] = memory + *floats;
        *floats += (size_t)parts(sizes[i], 16) * 16;
    }
}

size_t pe_winograd_task_floats(const struct pe_winograd_run *r) {
    struct task k = { .r = r, .x = pe_winograd_view_x(r->q, &r->kernels->winograd) };
    size_t floats;
    share_memory(&k, NULL, &floats);
    return floats;
}

/* U of a panel's columns and some channels: [position][channel][column], from the packed taps */
static void transform_weight(struct task *k, int64_t panel, int64_t width, int64_t channel, int64_t deep) {
    const struct pe_winograd_run *r = k->r;
    if (k->u_panel == panel && k->u_channel == channel) return;
    r->kernels->winograd.weight(k->u, k->u_apart, r->panels + panel * r->nr * 9 * r->q->in + channel * width,
                                r->q->in * width, (size_t)(deep * width));
    k->u_panel = panel, k->u_channel = channel;
}

/* M[position] += V[position] U[position] over some channels, which are the first where `channel` is 0. */
static void multiply(const struct task *k, int64_t width, int64_t channel, int64_t deep) {
    const struct pe_winograd_run *r = k->r;
    int vectors = (int)(width / r->lanes);
    int64_t tiles = parts(k->at.tiles, r->kernels->gemm.rows[vectors - 1]);
    pe_gemm_tile_kernel *const *kernels = r->kernels->gemm.tile[vectors - 1];
    const float *v = k->v + channel / r->depth * PE_WINOGRAD_POSITIONS * k->v_apart;
    struct pe_gemm_tile t = { .k = (size_t)deep, .a_row = r->depth, .a_k = 1, .b_k = width, .c_row = width,
                              .from_c = channel > 0 };
    for (int64_t position = 0; position < PE_WINOGRAD_POSITIONS; position++) {
        int64_t i = 0;
        t.b = k->u + position * k->u_apart;
        for (int64_t x = 0; x < tiles; x++) {
            int64_t height = k->at.tiles / tiles + (x < k->at.tiles % tiles);
            t.a = v + position * k->v_apart + i * r->depth;
            t.c = k->m + position * k->m_apart + i * width;
            t.next_c = i + height < k->at.tiles ? t.c + height * width : t.c;
            kernels[height - 1](&t);
            i += height;
        }
    }
}

/* Some rows and columns of y's places and the channels of a panel. */
struct area {
    int64_t image, row, column, rows, columns, channel, channels, width;
};

static int64_t at_y(const struct pe_conv_problem *q, const struct area *a) {
    return a->image * q->y_n + a->channel * q->y_c + a->row * q->y_s[1] + a->column * q->y_s[2];
}

static void add_lines(const struct task *k, const float *from, const struct area *a, int64_t line, int64_t places) {
    const struct pe_conv_problem *q = k->r->q;
    const struct pe_gemm_kernels *kernels = &k->r->kernels->gemm;
    for (int64_t y = 0; y * places < a->rows * a->columns; y++) {
        float *to = k->results + y * places * a->width;
        kernels->copy(k->more, a->width, from + y * line, q->y_s[2], q->y_c, (size_t)places, (size_t)a->channels);
        kernels->add(to, a->width, k->more, a->width, 1, (size_t)places, (size_t)a->channels);
    }
}

/* act(results + y, where it accumulates) + residual to y: runs of places that lie evenly */
static void finish(const struct task *k, const struct area *a) {
    const struct pe_conv_problem *q = k->r->q;
    const struct pe_gemm_kernels *kernels = &k->r->kernels->gemm;
    int64_t places = a->columns, line = q->y_s[1], start = at_y(q, a);
    if (line == places * q->y_s[2]) places *= a->rows;
    if (q->accumulate) add_lines(k, q->y + start, a, line, places);
    if (q->activation) {
        const void *in[1] = { k->results };
        const ptrdiff_t step[1] = { 1 };
        q->activation(k->results, in, step, (size_t)(a->rows * a->columns * a->width));
    }
    if (q->residual) add_lines(k, q->residual + start, a, line, places);
    for (int64_t y = 0; y * places < a->rows * a->columns; y++)
        pe_gemm_write(kernels, q->y + start + y * line, q->y_s[2], q->y_c, k->results + y * places * a->width, a->width,
                      places, a->channels);
}

/* The results of a group of tiles, the first of which is number `tile` of the block, at row y and column x of tiles. */
static void write_group(const struct task *k, const struct area *panel, const float *bias, int64_t tile, int64_t y,
                        int64_t x, int64_t down, int64_t across) {
    const struct pe_conv_problem *q = k->r->q;
    struct area a = *panel;
    a.row = PLACES * y, a.column = PLACES * x;
    a.rows = min64(PLACES * down, q->places[1] - a.row), a.columns = min64(PLACES * across, q->places[2] - a.column);
    int direct = q->y_c == 1 && !q->accumulate && !q->activation && !q->residual;
    float *to = direct ? q->y + at_y(q, &a) : k->results;
    int64_t to_row = direct ? q->y_s[1] : a.columns * a.width, to_column = direct ? q->y_s[2] : a.width;
    for (int64_t i = 0; i < down; i++)
        for (int64_t j = 0; j < across; j++)
            k->r->kernels->winograd.output(to + PLACES * (i * to_row + j * to_column), to_row, to_column,
                                           k->m + (tile + i * k->at.across + j) * a.width, k->m_apart, bias,
                                           (int)min64(a.rows - PLACES * i, PLACES),
                                           (int)min64(a.columns - PLACES * j, PLACES),
                                           (size_t)(direct ? a.channels : a.width));
    if (!direct) finish(k, &a);
}

static void write_panel(const struct task *k, struct area panel) {
    const struct pe_winograd_run *r = k->r;
    float bias[PE_GEMM_MAX_TILE] = { 0 };
    if (r->q->bias) memcpy(bias, r->q->bias + panel.channel, (size_t)panel.channels * sizeof *bias);
    for (int64_t n = 0; n < k->at.images; n++)
        for (int64_t i = 0; i < k->at.down; i += r->group_down)
            for (int64_t j = 0; j < k->at.across; j += r->group_across) {
                panel.image = k->at.image + n;
                write_group(k, &panel, r->q->bias ? bias : NULL, (n * k->at.down + i) * k->at.across + j, k->at.top + i,
                            k->at.left + j, min64(r->group_down, k->at.down - i),
                            min64(r->group_across, k->at.across - j));
            }
}

static void run_task(struct task *k, int64_t cut) {
    const struct pe_winograd_run *r = k->r;
    int64_t in = r->q->in, first = r->panel_count * cut / r->cuts, end = r->panel_count * (cut + 1) / r->cuts;
    for (int64_t i = 0; i < in; i += r->depth)
        pe_winograd_transform(&k->x, &r->kernels->gemm, &k->at, i, min64(r->depth, in - i), r->depth, k->gathered,
                              k->v + i / r->depth * PE_WINOGRAD_POSITIONS * k->v_apart, k->v_apart);
    for (int64_t p = first; p < end; p++) {
        int64_t channels = min64(r->nr, r->q->out - p * r->nr), width = parts(channels, r->lanes) * r->lanes;
        for (int64_t i = 0; i < in; i += r->depth) {
            int64_t deep = min64(r->depth, in - i);
            transform_weight(k, p, width, i, deep);
            multiply(k, width, i, deep);
        }
        write_panel(k, (struct area){ .channel = p * r->nr, .channels = channels, .width = width });
    }
}

void pe_winograd_run_tasks(const struct pe_winograd_run *r, int64_t begin, int64_t end, float *memory) {
    struct task k = { .r = r, .x = pe_winograd_view_x(r->q, &r->kernels->winograd), .u_panel = -1 };
    size_t floats;
    share_memory(&k, memory, &floats);
    for (int64_t x = begin; x < end; x++) {
        k.at = pe_winograd_find_block(&r->cut, x / r->cuts);
        if (k.at.tiles > 0) run_task(&k, x % r->cuts);
    }
}
