/* Lanes are places: blocks of planes, copied into a thread's own memory, and from there tap by tap. Rows narrower than
 * a vector run together over the zeros between them. */
#include "depthwise_paths.h"

#include <string.h>

#define NOWHERE INT64_MIN
/* smaller planes are loaded many at a time: a vector cannot be read while its parts are on their way */
#define FEW_FLOATS 4096
#define SLACK 16 /* floats that whole vectors may read or write too much */
static const double TAP_NS = 0.06, ELEMENT_NS = 0.6, RANGE_NS = 20000;

struct job {
    const struct dw_task *task;
    int64_t n[PE_CONV_AXES], blocks[PE_CONV_AXES]; /* of places; blocks of them */
    int64_t abreast, lots;                         /* channels at a time, and how many times */
    int turned;                                    /* the channels lie closer than the places */
    int64_t deep, box_floats, out_floats, taps;    /* at most */
    int failed;
};

/* A thread's own memory and the block that it is set up for. */
struct bench {
    const struct job *job;
    const struct dw_task *task;
    struct dw_box box;
    int64_t number;           /* of the block, -1 at first */
    int64_t z;                /* the place of the first axis, in out */
    int merged;
    int w_dense;              /* every phase has weights side by side */
    int64_t side;             /* of a window that its kernel knows, or 0 */
    int64_t pitch, out;       /* of a row, of a phase of columns in `made` */
    int64_t *deep;            /* where a plane lies in source, or NOWHERE */
    int64_t *first;           /* the first tap of each phase */
    ptrdiff_t *offset;
    int64_t *w_at;
    float *w, *cells, *made, *start;
    const float *loaded;      /* the first plane that is in `cells` */
};

static int64_t phases(const struct dw_task *t) { return t->axis[1].step_out * t->axis[2].step_out; }

/* the taps of one plane that belong to phase (r1, r2) of out */
static int64_t list_taps(struct bench *b, int64_t count, int64_t plane, int64_t w_at, int64_t r1, int64_t r2) {
    const struct dw_task *t = b->task;
    const struct dw_axis *y = &t->axis[1], *x = &t->axis[2];
    int64_t base = plane * y->step_in * x->step_in * b->box.phase;
    for (int64_t i = 0; i < y->taps; i++) {
        int64_t a1 = i * y->spacing % y->step, e1 = i * y->spacing / y->step;
        if (t->backward && a1 != r1) continue;
        for (int64_t j = 0; j < x->taps; j++) {
            int64_t a2 = j * x->spacing % x->step, e2 = j * x->spacing / x->step;
            if (t->backward && a2 != r2) continue;
            b->offset[count] = t->backward
                ? base + (y->reach - e1) * b->box.cells[2] + x->reach - e2
                : base + (a1 * x->step + a2) * b->box.phase + e1 * b->box.cells[2] + e2;
            b->w_at[count++] = w_at + i * t->w_k[1] + j * t->w_k[2];
        }
    }
    return count;
}

/* the planes that the place z reads; with `pass` set, the taps in them of phase (r1, r2) */
static int64_t each_plane(struct bench *b, int64_t count, int pass, int64_t r1, int64_t r2) {
    const struct dw_task *t = b->task;
    const struct dw_axis *a = &t->axis[0];
    int64_t planes = 0, moved = b->z - a->out_shift;
    for (int64_t o = 0; o < t->sum; o++) {
        for (int64_t k = 0; k < a->taps; k++) {
            int64_t at = b->z * a->step + k * a->spacing + a->shift;
            if (t->backward) {
                if (moved - floored(moved, a->step) * a->step != k * a->spacing % a->step) continue;
                at = floored(moved, a->step) - k * a->spacing / a->step;
            }
            if (pass) count = list_taps(b, count, planes, o * t->w_o + k * t->w_k[0], r1, r2);
            else b->deep[planes] = at >= 0 && at < a->source ? o * t->source_c + at * a->s : NOWHERE;
            planes++;
        }
    }
    return pass ? count : planes;
}

static void set_block(struct bench *b, int64_t number) {
    const struct dw_task *t = b->task;
    const struct job *j = b->job;
    int64_t q[PE_CONV_AXES];
    b->number = number;
    b->z = number / (j->blocks[1] * j->blocks[2]);
    q[0] = t->axis[0].first;
    q[1] = t->axis[1].first + number / j->blocks[2] % j->blocks[1] * j->n[1];
    q[2] = t->axis[2].first + number % j->blocks[2] * j->n[2];
    int64_t planes = each_plane(b, 0, 0, 0, 0), count = 0, phase = 0;
    b->box = dw_box_at(t->axis, q, j->n, planes);
    const int64_t lanes = t->ctx->kernels->vector_floats, width = b->box.n[2];
    const int window = t->axis[1].step == 1 && t->axis[2].step == 1 && t->axis[1].spacing == 1 && planes == 1;
    const int64_t side = t->axis[1].taps;
    b->side = window && side == t->axis[2].taps && (side == 3 || side == 5) ? side : 0;
    b->merged = b->box.n[1] > 1 && (!b->side || b->box.n[1] < 4) && b->box.cells[2] + 2 < parts(width, lanes) * lanes;
    b->pitch = b->merged ? b->box.cells[2] : width;
    b->out = b->box.n[1] * b->pitch;
    for (int64_t r1 = 0; r1 < t->axis[1].step_out; r1++) {
        for (int64_t r2 = 0; r2 < t->axis[2].step_out; r2++) {
            b->first[phase++] = count;
            count = each_plane(b, count, 1, r1, r2);
        }
    }
    b->first[phase] = count;
    b->w_dense = phase == 1 && count > 0;
    for (int64_t i = 1; i < count; i++) b->w_dense &= b->w_at[i] == b->w_at[i - 1] + 1;
    memset(b->cells, 0, (size_t)(b->box.channel * j->abreast + SLACK) * sizeof *b->cells);
}

static void load_source(struct bench *b, int64_t image, int64_t c, int64_t channels) {
    const struct dw_task *t = b->task;
    const int64_t plane = t->axis[1].step_in * t->axis[2].step_in * b->box.phase;
    b->loaded = t->source + image * t->source_n + c * t->source_c;
    for (int64_t p = 0; p < b->box.cells[0]; p++) {
        if (b->deep[p] == NOWHERE) continue;
        for (int64_t i = 0, some; i < channels; i += some) {
            some = t->repeat == 1 && b->job->turned ? channels : 1;
            const float *from = t->source + image * t->source_n + (c + i) / t->repeat * t->sum * t->source_c +
                                b->deep[p];
            dw_box_load(t->ctx, t->axis, &b->box, from, t->sum * t->source_c, some,
                        b->cells + i * b->box.channel + p * plane);
        }
    }
}

/* The same block of the channel to come is asked for while this one is computed: loading and computing take turns, and
 * memory would rest meanwhile. */
static void look_ahead(const struct bench *b, int64_t channel, struct pe_depthwise_plane *plane) {
    const struct dw_task *t = b->task;
    const struct dw_axis *y = &t->axis[1], *x = &t->axis[2];
    const int64_t rows = b->box.n[1] * y->step_in, row = max64(b->box.q[1] * y->step_in + y->shift, 0);
    if (b->job->turned || x->s != 1 || y->s != x->source || t->repeat != 1) return;
    plane->ahead = b->loaded + (channel + b->job->abreast) * t->source_c + row * y->s;
    const int64_t vectors = parts(b->box.n[2], t->ctx->kernels->vector_floats);
    plane->ahead_lines = (size_t)parts(rows * y->s, parts(b->box.n[1], 4) * vectors * 16);
    plane->y_ahead = t->out_c;
}

/* One phase of one channel. */
static void run_plane(struct bench *b, int64_t channel, int64_t c, int64_t phase, float *y, int64_t y_row,
                      const float *start) {
    const struct dw_task *t = b->task;
    const int64_t first = b->first[phase], taps = b->first[phase + 1] - first;
    const float *w = t->w + c / t->repeat * t->w_group + c % t->repeat * t->w_o;
    if (b->w_dense) w += b->w_at[first];
    for (int64_t i = 0; !b->w_dense && i < taps; i++) b->w[i] = w[b->w_at[first + i]];
    struct pe_depthwise_plane plane = {
        .offset = b->offset + first, .w = b->w_dense ? w : b->w, .taps = (size_t)taps, .rows = (size_t)b->box.n[1],
        .columns = (size_t)b->box.n[2], .x_row = b->box.cells[2], .y_row = y_row, .start = start, .start_row = b->pitch,
        .side = (size_t)b->side, .bias = t->bias ? t->bias + c : NULL,
    };
    look_ahead(b, channel, &plane);
    if (b->merged && y_row == b->pitch) {
        plane.columns += (size_t)((b->box.n[1] - 1) * b->pitch);
        plane.rows = 1;
    }
    t->ctx->kernels->depthwise.plane(&plane, b->cells + channel * b->box.channel, y);
}

static void activate(const struct dw_task *t, float *y, int64_t y_row, int64_t rows, int64_t columns) {
    const ptrdiff_t step[1] = { 1 };
    if (y_row == columns) columns *= rows, rows = 1;
    for (int64_t i = 0; t->activation && i < rows; i++, y += y_row) {
        const void *in[1] = { y };
        t->activation(y, in, step, (size_t)columns);
    }
}

/* out place of the first column and row of the block in phase 0 */
static int64_t corner(const struct bench *b) {
    const struct dw_axis *a = b->task->axis;
    return b->z * a[0].t + (b->box.q[1] * a[1].step_out + a[1].out_shift) * a[1].t +
           (b->box.q[2] * a[2].step_out + a[2].out_shift) * a[2].t;
}

/* Columns [low, high) of out, counted from the block's corner over all phases. */
static void write_columns(struct bench *b, float *to, int64_t to_c, int64_t channels, const float *from, int64_t low,
                          int64_t high) {
    const struct dw_task *t = b->task;
    const struct dw_axis *x = &t->axis[2];
    const int64_t apart = x->step_out * b->out + SLACK;
    const struct pe_gemm_kernels *kernels = &t->ctx->kernels->gemm;
    if (channels == 1 && x->t == 1 && x->step_out == 2) {
        const float *even = from + low / 2, *odd = even + b->out;
        t->ctx->kernels->depthwise.merge(to + low, 0, low % 2 ? odd : even, low % 2 ? even + 1 : odd, 0, 1,
                                         (size_t)(high - low));
        return;
    }
    for (int64_t r = 0; r < x->step_out; r++, from += b->out) {
        int64_t first = low <= r ? 0 : parts(low - r, x->step_out), end = high <= r ? 0 : parts(high - r, x->step_out);
        float *y = to + (first * x->step_out + r) * x->t;
        if (first >= end) continue;
        if (to_c == 1 && channels > 1) {
            kernels->copy(y, x->step_out * x->t, from + first, 1, apart, (size_t)(end - first), (size_t)channels);
        } else if (x->step_out * x->t == 1) {
            kernels->copy(y, to_c, from + first, apart, 1, (size_t)channels, (size_t)(end - first));
        } else {
            for (int64_t c = 0; c < channels; c++)
                for (int64_t i = first; i < end; i++)
                    y[(i - first) * x->step_out * x->t + c * to_c] = from[c * apart + i];
        }
    }
}

/* Row phase r1 of the block from `made` to out. */
static void write_rows(struct bench *b, int64_t image, int64_t c, int64_t channels, const float *made, int64_t r1) {
    const struct dw_task *t = b->task;
    const struct dw_axis *y = &t->axis[1], *x = &t->axis[2];
    float *to = t->out + image * t->out_n + c * t->out_c + corner(b);
    const int64_t column = b->box.q[2] * x->step_out + x->out_shift;
    const int64_t low = max64(-column, 0), high = min64(b->box.n[2] * x->step_out, x->out - column);
    if (channels == 1 && x->t == 1 && x->step_out == 1 && y->step_out == 1) {
        t->ctx->kernels->gemm.copy(to, y->t, made, b->pitch, 1, (size_t)b->box.n[1], (size_t)b->box.n[2]);
        return;
    }
    for (int64_t i = 0; i < b->box.n[1]; i++) {
        int64_t row = i * y->step_out + r1, at = b->box.q[1] * y->step_out + y->out_shift + row;
        if (at >= 0 && at < y->out)
            write_columns(b, to + row * y->t, t->out_c, channels, made + i * b->pitch, low, high);
    }
}

/* The block of `start` as `made` will lie; convolutions only, so there is one phase. */
static void read_start(struct bench *b, int64_t image, int64_t c, int64_t channels) {
    const struct dw_task *t = b->task;
    const float *from = t->start + image * t->out_n + c * t->out_c + corner(b);
    for (int64_t i = 0; i < channels; i++)
        t->ctx->kernels->gemm.copy(b->start + i * (b->out + SLACK), b->pitch, from + i * t->out_c, t->axis[1].t,
                                   t->axis[2].t, (size_t)b->box.n[1], (size_t)b->box.n[2]);
}

static void run_made(struct bench *b, int64_t image, int64_t c, int64_t channels) {
    const struct dw_task *t = b->task;
    const struct dw_axis *y = &t->axis[1], *x = &t->axis[2];
    const int64_t apart = x->step_out * b->out + SLACK;
    if (t->start) read_start(b, image, c, channels);
    for (int64_t r1 = 0; r1 < y->step_out; r1++) {
        for (int64_t i = 0; i < channels; i++) {
            float *made = b->made + i * apart;
            for (int64_t r2 = 0; r2 < x->step_out; r2++)
                run_plane(b, i, c + i, r1 * x->step_out + r2, made + r2 * b->out, b->pitch,
                          t->start ? b->start + i * apart : NULL);
            activate(t, made, b->pitch, 1, (b->box.n[1] - 1) * b->pitch + b->box.n[2]);
            if (t->residual)
                t->ctx->kernels->gemm.add(made, b->pitch,
                                          t->residual + image * t->out_n + (c + i) * t->out_c + corner(b),
                                          y->t, x->t, (size_t)b->box.n[1], (size_t)b->box.n[2]);
        }
        const int64_t some = b->job->turned ? channels : 1; /* what lies along the rows is written plane by plane */
        for (int64_t i = 0; i < channels; i += some) write_rows(b, image, c + i, some, b->made + i * apart, r1);
    }
}

/* Where nothing is in the way, straight into out. */
static void run_direct(struct bench *b, int64_t image, int64_t c, int64_t channel) {
    const struct dw_task *t = b->task;
    const struct dw_axis *y = &t->axis[1], *x = &t->axis[2];
    const int64_t at = image * t->out_n + (c + channel) * t->out_c + corner(b);
    run_plane(b, channel, c + channel, 0, t->out + at, y->t, NULL);
    activate(t, t->out + at, y->t, b->box.n[1], b->box.n[2]);
    if (t->residual)
        t->ctx->kernels->gemm.add(t->out + at, y->t, t->residual + at, y->t, x->t, (size_t)b->box.n[1],
                                  (size_t)b->box.n[2]);
}

static void *carve(char **at, int64_t count, size_t size) {
    char *here = *at;
    *at += ((size_t)count * size + 63) / 64 * 64;
    return here;
}

/* With at NULL, only counts the bytes. */
static size_t set_memory(struct bench *b, char *at) {
    const struct job *j = b->job;
    char *end = at;
    b->deep = carve(&end, j->deep, sizeof *b->deep);
    b->first = carve(&end, phases(j->task) + 1, sizeof *b->first);
    b->offset = carve(&end, j->taps, sizeof *b->offset);
    b->w_at = carve(&end, j->taps, sizeof *b->w_at);
    b->w = carve(&end, j->taps, sizeof *b->w);
    b->cells = carve(&end, j->box_floats * j->abreast + SLACK, sizeof(float));
    b->made = carve(&end, (j->out_floats + SLACK) * j->abreast, sizeof(float));
    b->start = carve(&end, j->task->start ? (j->out_floats + SLACK) * j->abreast : 0, sizeof(float));
    return (size_t)(end - at);
}

static void body(int64_t begin, int64_t end, void *arg) {
    struct job *j = arg;
    const struct dw_task *t = j->task;
    struct bench b = { .job = j, .task = t, .number = -1 };
    char *memory = pe_alloc(t->ctx, set_memory(&b, NULL));
    if (!memory) {
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    set_memory(&b, memory);
    const int64_t share = t->images * j->lots;
    for (int64_t i = begin; i < end; i++) {
        if (i / share != b.number) set_block(&b, i / share);
        int64_t image = i % share / j->lots, c = i % j->lots * j->abreast;
        int64_t channels = min64(j->abreast, t->channels - c);
        load_source(&b, image, c, channels);
        if (phases(t) == 1 && t->axis[2].t == 1 && !t->start && !b.merged && !j->turned)
            for (int64_t k = 0; k < channels; k++) run_direct(&b, image, c, k);
        else run_made(&b, image, c, channels);
    }
    pe_free(t->ctx, memory);
}

/* Blocks of many columns, and as many rows as the thread's memory should hold. */
static void cut_blocks(struct job *j) {
    const struct dw_task *t = j->task;
    const struct dw_axis *a = t->axis;
    const int64_t apart = a[1].step_in * a[2].step_in;
    j->deep = t->sum * a[0].taps;
    j->taps = j->deep * a[1].taps * a[2].taps;
    j->n[0] = 1;
    j->n[2] = min64(a[2].count, PE_DW_COLUMNS);
    int64_t row = (j->n[2] + a[2].reach) * apart * max64(j->deep, 1);
    j->n[1] = min64(a[1].count, max64(PE_DW_FLOATS / row - a[1].reach, 1));
    j->n[1] = parts(a[1].count, parts(a[1].count, j->n[1]));
    j->box_floats = row * (j->n[1] + a[1].reach);
    j->out_floats = a[2].step_out * (j->n[2] + a[2].reach) * j->n[1];
    j->blocks[0] = a[0].out, j->blocks[1] = parts(a[1].count, j->n[1]), j->blocks[2] = parts(a[2].count, j->n[2]);
    j->turned = a[2].s != 1 || a[2].t != 1;
    int64_t most = j->turned ? PE_DW_ABREAST : min64(FEW_FLOATS / (j->box_floats + 1), PE_DW_ABREAST);
    j->abreast = min64(t->channels, max64(most, 1));
    j->lots = parts(t->channels, j->abreast);
}

pe_status dw_by_planes(struct dw_task *t, pe_error *err) {
    struct job j = { .task = t };
    if (!t->images || !t->channels || !t->axis[0].out || !t->axis[1].out || !t->axis[2].out) return PE_OK;
    cut_blocks(&j);
    const int64_t items = j.blocks[0] * j.blocks[1] * j.blocks[2] * t->images * j.lots;
    const double ns = (double)(j.n[1] * j.n[2] * j.abreast * phases(t)) * ((double)j.taps * TAP_NS + ELEMENT_NS);
    const int64_t grain = max64(min64((int64_t)(RANGE_NS / ns), items / 8), 1);
    pe_parallel_for(t->ctx, items, grain, pe_threads_for(t->ctx, ns * (double)items), body, &j);
    return j.failed ? pe_fail(err, PE_ERR_MEMORY, -1, "conv: no memory for blocks of the image") : PE_OK;
}
