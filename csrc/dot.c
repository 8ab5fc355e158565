/* The tasks of a product in words along k, by its shape: see dot.h. */
#include "dot.h"
#include "sizes.h"

enum { TASK_ROWS = 96 };     /* where the tile takes its own rows: int32 of a panel's columns, 24 KB of stack */
enum { STRIP_WORDS = 8192 }; /* and where it takes all: 256 rows of 32 columns */
enum { SLICE = 96 };         /* groups: few rows use 24 KB of a panel in turn, from L1 */
enum { FEW_ROWS = 32 };
enum { STREAM_AHEAD = 8192 }; /* bytes: two pages, where the hardware, which follows in a page, does not look */

/* the size of equal parts, none above `most`, in whole `unit`s */
static int64_t equal_part(int64_t n, int64_t most, int64_t unit) {
    int64_t units = max64(parts(n, unit), 1);
    return parts(units, parts(units, max64(most / unit, 1))) * unit;
}

static int64_t whole_groups(const struct pe_dot_kernels *kernels, int64_t groups) {
    return parts(groups, kernels->deep) * kernels->deep;
}

size_t pe_dot_row_bytes(const struct pe_dot_kernels *kernels, int64_t groups) {
    size_t lines = ((size_t)whole_groups(kernels, groups) * (size_t)kernels->group + 63) / 64;
    return (lines | 1) * 64;
}

size_t pe_dot_panel_bytes(const struct pe_dot_kernels *kernels, int64_t groups) {
    return (size_t)(whole_groups(kernels, groups) * 4 * kernels->nr);
}

/* Of one thread: what the tile does, or the bytes of weights that one draws from memory (12 a nanosecond from DRAM,
 * more from L3: Ice Lake at 2.8 GHz, Emerald Rapids). */
static double nanoseconds(const struct pe_dot_kernels *kernels, int64_t m, int64_t n, int64_t groups) {
    double words = (double)m * (double)n * (double)groups / kernels->rate;
    double stream = (double)n * (double)groups * 4 / 16.0;
    return 200.0 + (words > stream ? words : stream);
}

/* Rows of a task. Of strips, as many as leave half of L2 to the rest. */
static int64_t most_rows(const struct pe_dot_run *q) {
    const struct pe_dot_kernels *kernels = q->kernels;
    if (!kernels->strip) return TASK_ROWS / kernels->mr * kernels->mr;
    int64_t fit = (int64_t)(pe_machine_cached()->l2 / 2 / q->a_row);
    return max64(min64(fit, kernels->mr) / kernels->strip, 1) * kernels->strip;
}

/* About 48 tasks of a large product, each worth 5 us or more; few rows are one task high. */
static void cut_tasks(struct pe_dot_run *q) {
    const struct pe_dot_kernels *kernels = q->kernels;
    int64_t depth = max64(q->groups, 16);
    q->task_m = equal_part(q->m, most_rows(q), kernels->strip ? kernels->strip : kernels->mr);
    double all = nanoseconds(kernels, q->m, q->n, depth), goal = all / 48 > 5e3 ? all / 48 : 5e3;
    double panel = nanoseconds(kernels, min64(q->task_m, q->m), kernels->nr, depth) - 200.0;
    int64_t across = max64((int64_t)(goal / panel), 1);
    q->task_n = equal_part(q->n, min64(across, parts(q->n, kernels->nr)) * kernels->nr, kernels->nr);
}

int pe_dot_past_caches(struct pe_dot_run *q, size_t bytes) {
    return q->past_caches = q->ctx->kernels->half.stream && q->kernels->strip && bytes > pe_machine_cached()->l2 / 2;
}

/* One panel's columns of a task. */
struct strip {
    const struct pe_dot_run *q;
    int64_t i0, i1, j, columns;
    int32_t *words; /* the task's own memory for c */
};

static void hand_on(const struct pe_dot_tile *t, const int32_t *from, int y, int rows) {
    const struct strip *s = t->who;
    const struct pe_dot_rows finished = { (int32_t *)from, t->c_row, s->i0 + y, rows, s->j, s->columns };
    s->q->take(s->q->who, &finished);
}

/* Tile x of `tiles` asks for its share of the block of weights that follows this one: panels lie end to end.
 * Where one strip or tile has all rows, weights stream, and it asks for its own. */
static void look_ahead(const struct strip *s, struct pe_dot_tile *t, int64_t x, int64_t tiles) {
    const struct pe_dot_kernels *kernels = s->q->kernels;
    int64_t strips = kernels->strip ? parts(t->rows, kernels->strip) : 1, lines = (int64_t)t->groups * kernels->nr / 16;
    int64_t turns = max64(parts((int64_t)t->groups, kernels->turn), 1) * strips;
    t->ahead_lines = (int)parts(lines, tiles * turns);
    t->ahead = tiles * strips == 1 ? t->b + STREAM_AHEAD : t->b + (lines + x * turns * t->ahead_lines) * 64;
}

static int64_t block_depth(const struct pe_dot_run *q, int64_t tiles, int64_t rows) {
    int64_t all = max64(whole_groups(q->kernels, q->groups), 1);
    if (q->kernels->strip) return rows <= q->kernels->strip ? all : q->kernels->depth;
    return tiles == 1 ? all : q->m <= FEW_ROWS ? SLICE : q->kernels->depth;
}

/* Rows i0 .. i1 of one panel's columns. The weights pass once, whatever the rows. */
static void run_strip(const struct strip *s) {
    const struct pe_dot_run *q = s->q;
    const struct pe_dot_kernels *kernels = q->kernels;
    int64_t nr = kernels->nr, lanes = q->ctx->kernels->vector_floats, rows = s->i1 - s->i0;
    int64_t groups = whole_groups(kernels, q->groups);
    int64_t high = kernels->strip ? rows : equal_part(rows, kernels->mr, 1); /* 8 rows: 4 and 4, not 6 and 2 */
    int direct = q->direct && !kernels->strip && s->columns % lanes == 0;
    int64_t tiles = parts(rows, high), depth = block_depth(q, tiles, rows);
    const int8_t *panel = q->panels + (size_t)(s->j / nr) * q->panel_bytes;
    struct pe_dot_tile t = { .a_row = (ptrdiff_t)q->a_row, .sums = q->sums ? q->sums + s->j : NULL, .who = s,
                             .c_row = direct ? q->direct_row : nr, .vectors = (int)parts(s->columns, lanes) };
    if (q->start) q->start(q->who, &(struct pe_dot_rows){ s->words, nr, s->i0, rows, s->j, s->columns });
    for (int64_t g = 0; g < max64(groups, 1); g += depth) {
        int last = g + depth >= groups;
        t.groups = (size_t)(last ? groups - g : depth);
        t.b = panel + g * 4 * nr;
        t.from_c = g > 0 || q->start;
        t.finish = last && kernels->strip ? hand_on : NULL;
        for (int64_t i = s->i0; i < s->i1; i += high) {
            t.rows = (int)min64(high, s->i1 - i);
            t.a = q->a + (size_t)i * q->a_row + (size_t)(g * kernels->group);
            t.zero = q->zero ? q->zero + i : NULL;
            t.c = direct ? q->direct + i * q->direct_row + s->j : s->words + (i - s->i0) * nr;
            look_ahead(s, &t, (i - s->i0) / high, tiles);
            kernels->tile(&t);
            if (last && !direct && !kernels->strip) hand_on(&t, t.c, (int)(i - s->i0), t.rows);
        }
    }
}

static void task_body(int64_t begin, int64_t end, void *arg) {
    const struct pe_dot_run *q = arg;
    int32_t words[STRIP_WORDS] __attribute__((aligned(64)));
    int64_t nr = q->kernels->nr, across = parts(q->n, q->task_n), entered = 0;
    for (int64_t task = begin; task < end; task++) {
        struct strip s = { .q = q, .i0 = task / across * q->task_m, .words = words };
        int64_t panel = task % across * (q->task_n / nr), stop = min64(panel + q->task_n / nr, parts(q->n, nr));
        s.i1 = min64(s.i0 + q->task_m, q->m);
        int64_t rows = min64(s.i1 - s.i0, q->kernels->strip);
        if (q->kernels->enter && rows != entered) q->kernels->enter((int)rows), entered = rows;
        for (; panel < stop; panel++) {
            s.j = panel * nr, s.columns = min64(nr, q->n - s.j);
            run_strip(&s);
        }
    }
    if (q->kernels->leave) q->kernels->leave();
    if (q->past_caches) q->ctx->kernels->half.fence();
}

void pe_dot_run(struct pe_dot_run *q) {
    cut_tasks(q);
    int threads = pe_threads_for(q->ctx, nanoseconds(q->kernels, q->m, q->n, q->groups));
    pe_parallel_for(q->ctx, parts(q->m, q->task_m) * parts(q->n, q->task_n), 1, threads, task_body, q);
}
