/* A block of tiles against panels of output channels: V, the transformed input, is made once. For each panel, some
 * channels at a time, the weights are transformed into U, and 36 products V U go on with M, which stays in L2; M
 * becomes y. */
#include "gemm_task.h"
#include "kernels/winograd.h"
#include "sizes.h"
#include "winograd_plan.h"

#include <string.h>

#define PLACES PE_WINOGRAD_PLACES
#define APART 16 /* floats more from position to position: a power of two would have them evict each other */

/* A block, and where its parts of memory lie. */
struct block {
    const struct pe_winograd_run *r;
    int64_t image, images, top, down, left, across; /* the last four in tiles */
    int64_t tiles;
    float *v, *u, *m, *gathered, *results, *more;
    int64_t v_apart, u_apart, m_apart;
    int64_t u_panel, u_channel; /* what U holds; -1: nothing */
};

static int64_t gathered_floats(const struct pe_winograd_run *r) {
    return r->q->x_c == 1 ? 0 : (PLACES * r->block_down + 2) * (PLACES * r->block_across + 2) * r->depth;
}
static int64_t result_floats(const struct pe_winograd_run *r) {
    return PLACES * PLACES * r->group_down * r->group_across * r->nr;
}

static void share_memory(struct block *b, float *memory, size_t *floats) {
    const struct pe_winograd_run *r = b->r;
    b->v_apart = r->tiles * r->depth + APART;
    b->u_apart = r->depth * r->nr + APART;
    b->m_apart = r->tiles * r->nr + APART;
    const int64_t sizes[] = {
        parts(r->q->in, r->depth) * PE_WINOGRAD_POSITIONS * b->v_apart, PE_WINOGRAD_POSITIONS * b->u_apart,
        PE_WINOGRAD_POSITIONS * b->m_apart, gathered_floats(r), result_floats(r), result_floats(r),
    };
    float **const starts[] = { &b->v, &b->u, &b->m, &b->gathered, &b->results, &b->more };
    *floats = 0;
    for (int i = 0; i < 6; i++) {
        if (memory) *starts[i] = memory + *floats;
        *floats += (size_t)parts(sizes[i], 16) * 16;
    }
}

size_t pe_winograd_task_floats(const struct pe_winograd_run *r) {
    struct block b = { .r = r };
    size_t floats;
    share_memory(&b, NULL, &floats);
    return floats;
}

/* The channels of the block's part of one image, gathered with the channels last; then x is what lies there. */
struct source {
    const float *x; /* the place (top, left) */
    int64_t row, column, top, left, bottom, right; /* places that it holds */
};

static struct source find_source(const struct block *b, int64_t image, int64_t channel, int64_t deep) {
    const struct pe_conv_problem *q = b->r->q;
    struct source s = {
        .top = max64(PLACES * b->top - q->before[1], 0), .left = max64(PLACES * b->left - q->before[2], 0),
        .bottom = min64(PLACES * (b->top + b->down) + 2 - q->before[1], q->size[1]),
        .right = min64(PLACES * (b->left + b->across) + 2 - q->before[2], q->size[2]),
        .row = q->x_s[1], .column = q->x_s[2],
    };
    int64_t rows = s.bottom - s.top, columns = s.right - s.left;
    if (rows <= 0 || columns <= 0) {
        s.bottom = s.top, s.x = q->x;
        return s;
    }
    s.x = q->x + image * q->x_n + channel * q->x_c + s.top * s.row + s.left * s.column;
    if (q->x_c == 1) return s;
    if (s.row == columns * s.column) columns *= rows, rows = 1;
    for (int64_t y = 0; y < rows; y++)
        b->r->kernels->gemm.copy(b->gathered + y * columns * deep, deep, s.x + y * s.row, s.column, q->x_c,
                                 (size_t)columns, (size_t)deep);
    s.x = b->gathered, s.column = deep, s.row = (s.right - s.left) * deep;
    return s;
}

static int within_tile(int64_t at) { return (int)max64(min64(at, PE_WINOGRAD_SIDE), 0); }

/* V of some channels: [position][tile][channel] */
static void transform_input(const struct block *b, int64_t channel, int64_t deep) {
    const struct pe_conv_problem *q = b->r->q;
    float *v = b->v + channel / b->r->depth * PE_WINOGRAD_POSITIONS * b->v_apart;
    for (int64_t n = 0; n < b->images; n++) {
        const struct source s = find_source(b, b->image + n, channel, deep);
        for (int64_t y = b->top; y < b->top + b->down; y++)
            for (int64_t x = b->left; x < b->left + b->across; x++, v += b->r->depth) {
                int64_t row = PLACES * y - q->before[1], column = PLACES * x - q->before[2];
                const int low[2] = { within_tile(s.top - row), within_tile(s.left - column) };
                const int high[2] = { within_tile(s.bottom - row), within_tile(s.right - column) };
                b->r->kernels->winograd.input(v, b->v_apart, s.x + (row - s.top) * s.row + (column - s.left) * s.column,
                                              s.row, s.column, low, high, (size_t)deep);
            }
    }
}

/* U of a panel's columns and some channels: [position][channel][column], from the packed taps */
static void transform_weight(struct block *b, int64_t panel, int64_t width, int64_t channel, int64_t deep) {
    const struct pe_winograd_run *r = b->r;
    if (b->u_panel == panel && b->u_channel == channel) return;
    r->kernels->winograd.weight(b->u, b->u_apart, r->panels + panel * r->nr * 9 * r->q->in + channel * width,
                                r->q->in * width, (size_t)(deep * width));
    b->u_panel = panel, b->u_channel = channel;
}

/* M[position] += V[position] U[position] over some channels, which are the first where `channel` is 0. */
static void multiply(const struct block *b, int64_t width, int64_t channel, int64_t deep) {
    const struct pe_winograd_run *r = b->r;
    int vectors = (int)(width / r->lanes);
    int64_t tiles = parts(b->tiles, r->kernels->gemm.rows[vectors - 1]);
    pe_gemm_tile_kernel *const *kernels = r->kernels->gemm.tile[vectors - 1];
    const float *v = b->v + channel / r->depth * PE_WINOGRAD_POSITIONS * b->v_apart;
    struct pe_gemm_tile t = { .k = (size_t)deep, .a_row = r->depth, .a_k = 1, .b_k = width, .c_row = width,
                              .from_c = channel > 0 };
    for (int64_t position = 0; position < PE_WINOGRAD_POSITIONS; position++) {
        int64_t i = 0;
        t.b = b->u + position * b->u_apart;
        for (int64_t x = 0; x < tiles; x++) {
            int64_t height = b->tiles / tiles + (x < b->tiles % tiles);
            t.a = v + position * b->v_apart + i * r->depth;
            t.c = b->m + position * b->m_apart + i * width;
            t.next_c = i + height < b->tiles ? t.c + height * width : t.c;
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

static void add_lines(const struct block *b, const float *from, const struct area *a, int64_t line, int64_t places) {
    const struct pe_conv_problem *q = b->r->q;
    const struct pe_gemm_kernels *kernels = &b->r->kernels->gemm;
    for (int64_t y = 0; y * places < a->rows * a->columns; y++) {
        float *to = b->results + y * places * a->width;
        kernels->copy(b->more, a->width, from + y * line, q->y_s[2], q->y_c, (size_t)places, (size_t)a->channels);
        kernels->add(to, a->width, b->more, a->width, 1, (size_t)places, (size_t)a->channels);
    }
}

/* act(results + y, where it accumulates) + residual to y: runs of places that lie evenly */
static void finish(const struct block *b, const struct area *a) {
    const struct pe_conv_problem *q = b->r->q;
    const struct pe_gemm_kernels *kernels = &b->r->kernels->gemm;
    int64_t places = a->columns, line = q->y_s[1], start = at_y(q, a);
    if (line == places * q->y_s[2]) places *= a->rows;
    if (q->accumulate) add_lines(b, q->y + start, a, line, places);
    if (q->activation) {
        const void *in[1] = { b->results };
        const ptrdiff_t step[1] = { 1 };
        q->activation(b->results, in, step, (size_t)(a->rows * a->columns * a->width));
    }
    if (q->residual) add_lines(b, q->residual + start, a, line, places);
    for (int64_t y = 0; y * places < a->rows * a->columns; y++)
        pe_gemm_write(kernels, q->y + start + y * line, q->y_s[2], q->y_c, b->results + y * places * a->width, a->width,
                      places, a->channels);
}

/* The results of a group of tiles, the first of which is number `tile` of the block, at row y and column x of tiles. */
static void write_group(const struct block *b, const struct area *panel, const float *bias, int64_t tile, int64_t y,
                        int64_t x, int64_t down, int64_t across) {
    const struct pe_conv_problem *q = b->r->q;
    struct area a = *panel;
    a.row = PLACES * y, a.column = PLACES * x;
    a.rows = min64(PLACES * down, q->places[1] - a.row), a.columns = min64(PLACES * across, q->places[2] - a.column);
    int direct = q->y_c == 1 && !q->accumulate && !q->activation && !q->residual;
    float *to = direct ? q->y + at_y(q, &a) : b->results;
    int64_t to_row = direct ? q->y_s[1] : a.columns * a.width, to_column = direct ? q->y_s[2] : a.width;
    for (int64_t i = 0; i < down; i++)
        for (int64_t j = 0; j < across; j++)
            b->r->kernels->winograd.output(to + PLACES * (i * to_row + j * to_column), to_row, to_column,
                                           b->m + (tile + i * b->across + j) * a.width, b->m_apart, bias,
                                           (int)min64(a.rows - PLACES * i, PLACES),
                                           (int)min64(a.columns - PLACES * j, PLACES),
                                           (size_t)(direct ? a.channels : a.width));
    if (!direct) finish(b, &a);
}

static void write_panel(const struct block *b, struct area panel) {
    const struct pe_winograd_run *r = b->r;
    float bias[PE_GEMM_MAX_TILE] = { 0 };
    if (r->q->bias) memcpy(bias, r->q->bias + panel.channel, (size_t)panel.channels * sizeof *bias);
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t i = 0; i < b->down; i += r->group_down)
            for (int64_t j = 0; j < b->across; j += r->group_across) {
                panel.image = b->image + n;
                write_group(b, &panel, r->q->bias ? bias : NULL, (n * b->down + i) * b->across + j, b->top + i,
                            b->left + j, min64(r->group_down, b->down - i), min64(r->group_across, b->across - j));
            }
}

static void find_block(struct block *b, int64_t x) {
    const struct pe_winograd_run *r = b->r;
    int64_t across = x % r->blocks_across, rest = x / r->blocks_across;
    b->left = across * r->block_across, b->across = min64(r->block_across, r->across - b->left);
    b->top = rest % r->blocks_down * r->block_down, b->down = min64(r->block_down, r->down - b->top);
    b->image = rest / r->blocks_down * r->block_images, b->images = min64(r->block_images, r->q->images - b->image);
    b->tiles = b->images * b->down * b->across;
}

static void run_task(struct block *b, int64_t cut) {
    const struct pe_winograd_run *r = b->r;
    int64_t in = r->q->in, first = r->panel_count * cut / r->cuts, end = r->panel_count * (cut + 1) / r->cuts;
    for (int64_t i = 0; i < in; i += r->depth) transform_input(b, i, min64(r->depth, in - i));
    for (int64_t p = first; p < end; p++) {
        int64_t channels = min64(r->nr, r->q->out - p * r->nr), width = parts(channels, r->lanes) * r->lanes;
        for (int64_t i = 0; i < in; i += r->depth) {
            int64_t deep = min64(r->depth, in - i);
            transform_weight(b, p, width, i, deep);
            multiply(b, width, i, deep);
        }
        write_panel(b, (struct area){ .channel = p * r->nr, .channels = channels, .width = width });
    }
}

void pe_winograd_run_tasks(const struct pe_winograd_run *r, int64_t begin, int64_t end, float *memory) {
    struct block b = { .r = r, .u_panel = -1 };
    size_t floats;
    share_memory(&b, memory, &floats);
    for (int64_t x = begin; x < end; x++) {
        find_block(&b, x / r->cuts);
        if (b.tiles > 0) run_task(&b, x % r->cuts);
    }
}
