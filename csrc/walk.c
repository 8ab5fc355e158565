/* Cuts a walk into tiles, brings what lies scattered into scratch, and runs the tiles on the pool.
 *
 * A tile is `rows` steps along axis 1 of `cols` steps along axis 0, handed to the body as one run
 * of cols * rows elements. Which tile is best depends on the walk:
 *   inner runs long and in order         one row, as long as a chunk: no scratch at all
 *   inner runs shorter than SHORT        whole rows, as many as fit: the body's start is paid once
 *   an input in order along axis 1 only  a small rectangle, so that a cache line fetched for one
 *     (a transpose)                      row is used up by the next ones
 *   anything else strided                one row of PE_TILE
 */
#include "broadcast.h"

#include <string.h>

enum {
    SHORT = 16,
    LONG_SIDE = 64,   /* of the rectangle for transposes, */
    SHORT_SIDE = 16,  /* floats in a cache line */
    PAGE = 4096,
    MAX_ELEMENT = 8
};
/* a chunk long enough (nanoseconds) that claiming it costs nothing, short enough that the shortest call two
 * threads get (2 us each) is shared fairly */
static const double chunk_ns = 1000;
/* A copy of so many bytes is in no cache any more when somebody reads it: it is written past them, which saves reading
 * its lines before they are written: 1.2 to 1.5 times as fast (16 M floats, Emerald Rapids). What is computed is not:
 * by way of scratch that gained nothing or lost a tenth. */
static const int64_t past_caches_bytes = 32 << 20;
/* what moving one scattered element costs, nanoseconds; EPYC (Zen 4), strides within L2 */
static const double scattered_ns = 0.7;

typedef struct {
    const pe_walk *w;
    pe_tile_body *body;
    const void *arg;
    int64_t cols, rows;
    int64_t tiles[PE_MAX_DIMS];
    int past_caches;               /* a copy in order that is written past the caches */
    const struct pe_convert_kernels *kernels;
    int in_place[PE_MAX_OPERANDS]; /* handed to the body as it lies */
    ptrdiff_t step[PE_MAX_OPERANDS];
} plan;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t magnitude(int64_t a) { return a < 0 ? -a : a; }

/* ---- scratch ---- */

#define MOVE(bytes)                                                                              \
    typedef uint##bytes##_t __attribute__((may_alias)) element##bytes;                           \
    static void move_##bytes(char *to, int64_t t0, int64_t t1, const char *from, int64_t f0,     \
                             int64_t f1, int64_t n0, int64_t n1) {                               \
        for (int64_t i = 0; i < n1; i++)                                                         \
            for (int64_t j = 0; j < n0; j++)                                                     \
                *(element##bytes *)(to + i * t1 + j * t0) =                                      \
                    *(const element##bytes *)(from + i * f1 + j * f0);                           \
    }
MOVE(8)
MOVE(16)
MOVE(32)
MOVE(64)

/* to[i*t1 + j*t0] = from[i*f1 + j*f0], i < n1, j < n0; strides in bytes */
static void move(char *to, int64_t t0, int64_t t1, const char *from, int64_t f0, int64_t f1,
                 int64_t n0, int64_t n1, int size) {
    if (f0 == size && t0 == size && n0 >= SHORT) {
        for (int64_t i = 0; i < n1; i++) memcpy(to + i * t1, from + i * f1, (size_t)(n0 * size));
        return;
    }
    /* the far side's shorter stride runs inside */
    if (n1 > 1 && magnitude(f1) + magnitude(t1) < magnitude(f0) + magnitude(t0)) {
        int64_t t = t0, f = f0, n = n0;
        t0 = t1, f0 = f1, n0 = n1;
        t1 = t, f1 = f, n1 = n;
    }
    switch (size) {
    case 1: move_8(to, t0, t1, from, f0, f1, n0, n1); break;
    case 2: move_16(to, t0, t1, from, f0, f1, n0, n1); break;
    case 4: move_32(to, t0, t1, from, f0, f1, n0, n1); break;
    default: move_64(to, t0, t1, from, f0, f1, n0, n1); break;
    }
}

/* ---- tiles ---- */

typedef struct {
    _Alignas(64) char memory[PE_MAX_OPERANDS][PE_TILE * MAX_ELEMENT];
} scratch;

/* A transpose goes through scratch: the rows of out may all fall into one set of the cache (a
 * power of two apart), so each of its lines is written once and whole. */
static void copy_tile(const plan *p, char *const *at, int64_t cols, int64_t rows, char *own) {
    const pe_walk *w = p->w;
    const int64_t size = w->size[0], out_1 = w->ndim > 1 ? w->stride[0][1] : 0;
    const int64_t in_1 = w->ndim > 1 ? w->stride[1][1] : 0;
    const char *from = at[1];
    int64_t from_0 = w->stride[1][0], from_1 = in_1;
    if (rows > 1 && magnitude(from_1) < magnitude(from_0)) {
        move(own, size, cols * size, from, from_0, from_1, cols, rows, (int)size);
        from = own, from_0 = size, from_1 = cols * size;
    }
    move(at[0], w->stride[0][0], out_1, from, from_0, from_1, cols, rows, (int)size);
}

static void run_tile(const plan *p, char *const *at, int64_t cols, int64_t rows, scratch *s) {
    const pe_walk *w = p->w;
    const int second = w->ndim > 1;
    char *data[PE_MAX_OPERANDS];
    if (p->past_caches) {
        p->kernels->stream(at[0], at[1], (size_t)(cols * w->size[0]));
        return;
    }
    if (!p->body) {
        copy_tile(p, at, cols, rows, s->memory[0]);
        return;
    }
    for (int i = 0; i < w->operands; i++) {
        data[i] = p->in_place[i] ? at[i] : s->memory[i];
        if (i && !p->in_place[i])
            move(data[i], w->size[i], cols * w->size[i], at[i], w->stride[i][0],
                 second ? w->stride[i][1] : 0, cols, rows, w->size[i]);
    }
    p->body(p->arg, data, p->step, (size_t)(cols * rows));
    if (!p->in_place[0])
        move(at[0], w->stride[0][0], second ? w->stride[0][1] : 0, data[0], w->size[0],
             cols * w->size[0], cols, rows, w->size[0]);
}

static int64_t tile_extent(const plan *p, int axis) { return axis == 0 ? p->cols : axis == 1 ? p->rows : 1; }

static void run_tiles(int64_t begin, int64_t end, void *arg) {
    const plan *p = arg;
    const pe_walk *w = p->w;
    int64_t at[PE_MAX_DIMS], rest = begin;
    char *data[PE_MAX_OPERANDS];
    scratch s;
    memcpy(data, w->data, sizeof data);
    for (int axis = 0; axis < w->ndim; axis++) {
        at[axis] = rest % p->tiles[axis];
        rest /= p->tiles[axis];
        for (int i = 0; i < w->operands; i++) data[i] += at[axis] * tile_extent(p, axis) * w->stride[i][axis];
    }
    for (int64_t tile = begin; tile < end; tile++) {
        int64_t cols = smaller(p->cols, w->shape[0] - at[0] * p->cols);
        int64_t rows = w->ndim > 1 ? smaller(p->rows, w->shape[1] - at[1] * p->rows) : 1;
        run_tile(p, data, cols, rows, &s);
        for (int axis = 0; axis < w->ndim; axis++) {
            int64_t extent = tile_extent(p, axis);
            int wraps = ++at[axis] == p->tiles[axis];
            int64_t steps = wraps ? 1 - p->tiles[axis] : 1;
            for (int i = 0; i < w->operands; i++) data[i] += steps * extent * w->stride[i][axis];
            if (!wraps) break;
            at[axis] = 0;
        }
    }
    if (p->past_caches) p->kernels->stream_end();
}

/* ---- the choice of the tile ---- */

static int is_scattered(const pe_walk *w, int i) {
    return w->shape[0] > 1 && w->stride[i][0] != w->size[i] && (i == 0 || w->stride[i][0] != 0);
}

static void bring_to_axis_1(pe_walk *w, int axis) {
    int64_t kept = w->shape[1];
    w->shape[1] = w->shape[axis], w->shape[axis] = kept;
    for (int i = 0; i < w->operands; i++) {
        kept = w->stride[i][1];
        w->stride[i][1] = w->stride[i][axis], w->stride[i][axis] = kept;
    }
}

/* an outer axis along which some scattered operand runs closer than along axis 0; 0: none */
static int transposed_axis(const pe_walk *w) {
    for (int axis = 1; axis < w->ndim; axis++)
        for (int i = 0; i < w->operands; i++)
            if (is_scattered(w, i) && w->stride[i][axis] &&
                magnitude(w->stride[i][axis]) < magnitude(w->stride[i][0]))
                return axis;
    return 0;
}

static int longest_axis(const pe_walk *w) {
    int longest = 1;
    for (int axis = 2; axis < w->ndim; axis++)
        if (w->shape[axis] > w->shape[longest]) longest = axis;
    return longest;
}

/* Where every column starts on a page of its own, more of each page is taken at a time: at
 * 2048^2 floats 1.7 ns an element against 3.7, while at 1000^2 the other way is 0.65 against 0.85
 * (EPYC Zen 4 in a virtual machine, small pages). */
static void choose_rectangle(plan *p, pe_walk *w, int axis) {
    int pages = 0;
    for (int i = 0; i < w->operands; i++) pages |= is_scattered(w, i) && magnitude(w->stride[i][0]) >= PAGE;
    bring_to_axis_1(w, axis);
    p->cols = smaller(w->shape[0], pages ? SHORT_SIDE : LONG_SIDE);
    p->rows = smaller(w->shape[1], pages ? LONG_SIDE : SHORT_SIDE);
}

static void choose_tile(plan *p, pe_walk *w, int any_scattered, int64_t chunk) {
    p->rows = 1;
    if (w->ndim > 1 && w->shape[0] < SHORT) {
        p->cols = w->shape[0];
        if (w->shape[1] < PE_TILE / p->cols) bring_to_axis_1(w, longest_axis(w));
        p->rows = smaller(w->shape[1], PE_TILE / p->cols);
    } else if (!any_scattered) {
        p->cols = smaller(w->shape[0], chunk);
    } else {
        int axis = transposed_axis(w);
        p->cols = smaller(w->shape[0], PE_TILE);
        if (axis) choose_rectangle(p, w, axis);
    }
}

/* may the body take operand i as it lies: in order through the whole tile, or one element */
static void choose_access(plan *p, const pe_walk *w, int i) {
    const int64_t inner = w->stride[i][0], outer = p->rows > 1 ? w->stride[i][1] : 0;
    const int one_row = p->rows == 1;
    const int whole_rows = p->cols == w->shape[0] && outer == p->cols * w->size[i];
    const int constant = i > 0 && inner == 0 && outer == 0;
    const int in_order = (inner == w->size[i] || p->cols == 1) && (one_row || whole_rows);
    p->in_place[i] = constant || in_order;
    p->step[i] = constant ? 0 : 1;
}

static int goes_past_caches(const plan *p) {
    return !p->body && p->rows == 1 && p->in_place[0] && p->in_place[1] && p->step[1] &&
           p->w->count * p->w->size[0] >= past_caches_bytes;
}

void pe_walk_run(pe_context *ctx, pe_walk *w, double ns, pe_tile_body *body, const void *arg) {
    plan p = {.w = w, .body = body, .arg = arg, .kernels = &ctx->kernels->convert};
    int64_t tiles = 1;
    int any_scattered = 0;
    if (!w->count) return;
    for (int i = 0; i < w->operands; i++) any_scattered |= is_scattered(w, i);
    /* a multiple of 64, so that chunks keep the alignment of vectors */
    const int64_t chunk = ((int64_t)(chunk_ns / ns) + 63) / 64 * 64;
    choose_tile(&p, w, any_scattered, chunk);
    for (int i = 0; i < w->operands; i++) {
        choose_access(&p, w, i);
        if (!p.in_place[i]) ns += scattered_ns;
    }
    p.past_caches = goes_past_caches(&p);
    for (int axis = 0; axis < w->ndim; axis++) {
        int64_t extent = tile_extent(&p, axis);
        p.tiles[axis] = (w->shape[axis] + extent - 1) / extent;
        tiles *= p.tiles[axis];
    }
    const int64_t elements = p.cols * p.rows;
    const int64_t grain = elements < chunk ? chunk / elements : 1;
    const int threads = tiles <= grain ? 1 : pe_threads_for(ctx, ns * (double)w->count);
    /* one thread: one range, but still through the pool, which sets the floating-point state */
    pe_parallel_for(ctx, tiles, threads > 1 ? grain : tiles, threads, run_tiles, &p);
}
