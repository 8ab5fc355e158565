/* One task of a product: its rectangle of c, with all of k. Every chain over k runs in order. */
#include "gemm_task.h"
#include "half.h"
#include "sizes.h"
#include "windows.h"

#include <string.h>

#define STREAM_AHEAD 2048 /* floats */
#define STREAM_LINES 4    /* of each half page: they start the hardware, and all of them cost 28 % at 2 rows (Zen 4) */
#define FEW_TILES 3

/* One task at work: its part of c, its block of k, and where a and b of that block lie. */
struct task {
    const struct pe_gemm_run *r;
    const struct pe_gemm_problem *g; /* of this product of the batch */
    int64_t i0, i1, j0, j1, p0, p1;
    float *own_a, *own_b, *own_c, *wide;
    struct pe_gemm_tile tile; /* what all tiles of a panel share */
};

/* Where row i of c and of the residual lies, and how many rows from there on, up to `rows`, are c_i apart. */
struct run_of_rows {
    int64_t rows, c, residual;
};

static struct run_of_rows rows_from(const struct pe_gemm_problem *g, int64_t i, int64_t rows) {
    const struct pe_gemm_grid *grid = g->grid;
    if (!grid) return (struct run_of_rows){ rows, i * g->c_i, i * g->residual_i };
    int last = grid->axes - 1;
    struct run_of_rows run = { min64(grid->size[last] - i % grid->size[last], rows), 0, 0 };
    for (int d = last; d >= 0; d--) {
        int64_t at = d ? i % grid->size[d] : i;
        i /= grid->size[d];
        run.c += at * grid->c[d];
        run.residual += at * grid->residual[d];
    }
    return run;
}

/* act(scale * tile + bias) + residual over a finished tile or row; lanes that are dropped later take part. */
static void finish(const struct pe_gemm_run *r, const struct pe_gemm_problem *g, float *tile, int64_t tile_row,
                   int64_t i, int64_t j, int64_t rows, int64_t columns) {
    const struct pe_gemm_kernels *kernels = r->kernels;
    if (g->scale) kernels->scale(tile, (size_t)(rows * tile_row), *g->scale);
    if (g->bias)
        kernels->add(tile, tile_row, g->bias + i * g->bias_i + j * g->bias_j, g->bias_i, g->bias_j,
                     (size_t)rows, (size_t)columns);
    if (g->activation) {
        const void *in[1] = { tile };
        const ptrdiff_t step[1] = { 1 };
        g->activation(tile, in, step, (size_t)(rows * tile_row));
    }
    struct run_of_rows run;
    for (int64_t y = 0; g->residual && y < rows; y += run.rows) {
        run = rows_from(g, i + y, rows - y);
        kernels->add(tile + y * tile_row, tile_row, g->residual + run.residual + j * g->residual_j, g->residual_i,
                     g->residual_j, (size_t)run.rows, (size_t)columns);
    }
}

void pe_gemm_write(const struct pe_gemm_kernels *kernels, float *c, int64_t c_i, int64_t c_j, const float *from,
                   int64_t width, int64_t rows, int64_t columns) {
    if (c_j == 1) kernels->copy(c, c_i, from, width, 1, (size_t)rows, (size_t)columns);
    else if (c_i == 1) kernels->copy(c, c_j, from, 1, width, (size_t)columns, (size_t)rows);
    else
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < columns; x++) c[y * c_i + x * c_j] = from[y * width + x];
}

/* What the tiles left at `from` (rows of `width` floats) to where c lies. */
static void write_out(const struct pe_gemm_run *r, const struct pe_gemm_problem *g, const float *from, int64_t width,
                      int64_t i, int64_t j, int64_t rows, int64_t columns) {
    struct run_of_rows run;
    for (int64_t y = 0; y < rows; y += run.rows) {
        run = rows_from(g, i + y, rows - y);
        pe_gemm_write(r->kernels, g->c + run.c + j * g->c_j, g->c_i, g->c_j, from + y * width, width, run.rows,
                      columns);
    }
}

/* The task's own panel of c from column j on. */
static float *own_panel(const struct task *k, int64_t j) {
    return k->own_c + (k->r->plan.own_panels ? (j - k->j0) * (k->i1 - k->i0) : 0);
}

/* rows x columns of c from row i, column j. The tile writes c itself when it may; else a copy of
 * c's part on the stack, cut on its way back, or the task's own panel of c. */
static void run_tile(struct task *k, int64_t i, int64_t j, int64_t rows, int64_t columns, int vectors) {
    const struct pe_gemm_run *r = k->r;
    const struct pe_gemm_problem *g = k->g;
    struct pe_gemm_tile *t = &k->tile;
    int abreast = vectors / r->kernels->vectors - 1;
    pe_gemm_tile_kernel *kernel = abreast > 0 ? r->kernels->abreast[abreast] : r->kernels->tile[vectors - 1][rows - 1];
    int64_t width = vectors * r->lanes;
    int last = k->p1 == g->k;
    float *c = g->c + i * g->c_i + j * g->c_j;
    t->from_c = k->p0 > 0 || g->accumulate;
    t->c_row = width;
    t->bias = NULL, t->clamp = 0;
    if (r->plan.own_c) {
        t->c = own_panel(k, j) + (i - k->i0) * width;
        t->next_c = t->c;
        kernel(t);
        return;
    }
    if (columns == width && (!(last && r->finishes) || (r->in_tile && abreast <= 0))) {
        if (last && g->bias) t->bias = g->bias + j;
        t->clamp = last && g->activation, t->most = r->most;
        t->c = c;
        t->c_row = g->c_i;
        t->next_c = i + rows < k->i1 ? c + rows * g->c_i : c;
        kernel(t);
        return;
    }
    float buffer[PE_GEMM_MAX_TILE] __attribute__((aligned(64)));
    if (t->from_c) {
        if (columns < width) memset(buffer, 0, (size_t)(rows * width) * sizeof *buffer);
        r->kernels->copy(buffer, width, c, g->c_i, 1, (size_t)rows, (size_t)columns);
    }
    t->c = buffer;
    t->next_c = buffer;
    kernel(t);
    if (last) finish(r, g, buffer, width, i, j, rows, columns);
    write_out(r, g, buffer, width, i, j, rows, columns);
}

/* The block of an a that is seen through windows: lines along what is contiguous in the image, `step` apart. */
static void gather(struct task *k, int along_rows, int64_t step) {
    const struct pe_gemm_problem *g = k->g;
    int64_t to_row = along_rows ? 1 : step, to_k = along_rows ? step : 1;
    if (g->windows_down)
        pe_windows_gather(k->r->kernels, g->windows, g->a, k->p0, k->p1, k->i0, k->i1, k->own_a, to_k, to_row);
    else pe_windows_gather(k->r->kernels, g->windows, g->a, k->i0, k->i1, k->p0, k->p1, k->own_a, to_row, to_k);
}

/* The task's rows of a in this block of k, in place, or copied (and widened) along the axis that is contiguous. */
static void place_a(struct task *k) {
    const struct pe_gemm_problem *g = k->g;
    const struct pe_gemm_kernels *kernels = k->r->kernels;
    int64_t rows = k->i1 - k->i0, depth = k->p1 - k->p0;
    const void *a = pe_gemm_at(g->a, k->i0 * g->a_i + k->p0 * g->a_p, g->a_half);
    struct pe_gemm_tile *t = &k->tile;
    t->k = (size_t)depth;
    if (!k->r->plan.copy_a) {
        t->a = a, t->a_row = g->a_i, t->a_k = g->a_p;
        return;
    }
    int along_rows = g->windows ? (g->windows->x_c == 1) == g->windows_down : g->a_i == 1;
    int64_t step = along_rows ? parts(rows, 16) * 16 : depth, down = along_rows ? depth : rows;
    int64_t across = along_rows ? rows : depth, far = along_rows ? g->a_p : g->a_i, near = along_rows ? 1 : g->a_p;
    if (g->windows) gather(k, along_rows, step);
    else if (g->a_half) kernels->widen(k->own_a, step, a, far, near, (size_t)down, (size_t)across);
    else kernels->copy(k->own_a, step, a, far, near, (size_t)down, (size_t)across);
    t->a = k->own_a, t->a_row = along_rows ? 1 : step, t->a_k = along_rows ? step : 1;
}

/* bfloat16: a packed panel is widened as it lies; else b's part is widened along the axis that is contiguous,
 * and packed. */
static void widen_b(struct task *k, const void *b, int64_t j, int64_t columns, int64_t width) {
    const struct pe_gemm_problem *g = k->g;
    const struct pe_gemm_kernels *kernels = k->r->kernels;
    if (k->g->packed) {
        if (pe_half_has_tile(k->r->ctx))
            pe_half_widen(k->r->ctx, k->g->packed, g->k, j, columns, k->p0, (int64_t)k->tile.k, k->own_b, width);
        else
            kernels->widen(k->own_b, width, pe_gemm_at(k->g->packed, j * g->k + k->p0 * width, 1), width, 1, k->tile.k,
                           (size_t)width);
        return;
    }
    int along_k = g->b_p == 1;
    int64_t step = along_k ? (int64_t)k->tile.k : columns;
    kernels->widen(k->wide, step, b, along_k ? g->b_j : g->b_p, along_k ? 1 : g->b_j,
                   along_k ? (size_t)columns : k->tile.k, (size_t)step);
    kernels->pack(k->own_b, (size_t)width, k->wide, along_k ? 1 : step, along_k ? step : 1, k->tile.k,
                  (size_t)columns);
}

/* The panel of b from column j on in this block of k; `width` is its columns in whole vectors. */
static void place_b(struct task *k, int64_t j, int64_t columns, int64_t width) {
    const struct pe_gemm_problem *g = k->g;
    const void *b = pe_gemm_at(g->b, k->p0 * g->b_p + j * g->b_j, g->b_half);
    struct pe_gemm_tile *t = &k->tile;
    switch (k->r->plan.b) {
    case PE_GEMM_IN_PLACE:
        t->b = b, t->b_k = g->b_p;
        return;
    case PE_GEMM_SHARED:
    case PE_GEMM_GIVEN:
        t->b = (const float *)k->g->packed + j * g->k + k->p0 * width, t->b_k = width;
        return;
    case PE_GEMM_OWN:
        k->r->kernels->pack(k->own_b, (size_t)width, b, g->b_p, g->b_j, t->k, (size_t)columns);
        break;
    case PE_GEMM_WIDENED:
        widen_b(k, b, j, columns, width);
        break;
    }
    t->b = k->own_b, t->b_k = width;
}

/* Tile number x of `tiles` asks for its share of the b that comes next, `columns` from column j, steps from
 * p. Packed, that is one run of lines; else the tile goes down along the far rows, and from tile to tile one
 * line (16 floats) further across. */
static void look_ahead(struct task *k, int64_t x, int64_t tiles, int64_t j, int64_t columns, int64_t p) {
    const struct pe_gemm_problem *g = k->g;
    struct pe_gemm_tile *t = &k->tile;
    int64_t depth = min64(k->r->plan.kc, g->k - p), turns = parts((int64_t)t->k, PE_GEMM_AHEAD);
    t->ahead_lines = 0, t->ahead_row = 16;
    /* Lines on their way to the first cache hold its few buffers for as long as memory takes, and the tiles wait:
     * with little to do for each line, into the second (8 x 4096 x 4096: 3.0 -> 1.9 ms, Zen 4). */
    t->ahead_far = tiles <= FEW_TILES;
    int64_t width = parts(columns, k->r->lanes) * k->r->lanes;
    if (k->r->plan.b == PE_GEMM_GIVEN && tiles == 1) { /* b streams by once: its own lines two pages from here,
                                       * where the hardware, which follows within a page, does not look yet */
        t->ahead_lines = STREAM_LINES;
        t->ahead_step = width * PE_GEMM_AHEAD;
        t->ahead = t->b + STREAM_AHEAD;
        return;
    }
    if (columns <= 0 || depth <= 0) return;
    if (k->g->packed) {
        int64_t lines = depth * width / (g->b_half ? 32 : 16);
        t->ahead_lines = (int)parts(lines, tiles * turns);
        t->ahead_step = t->ahead_lines * 16;
        t->ahead = (const float *)pe_gemm_at(k->g->packed, j * g->k + p * width, g->b_half) + x * turns * t->ahead_step;
        return;
    }
    int across_columns = g->b_j == 1;
    if (g->b_half || (!across_columns && g->b_p != 1)) return;
    int64_t lines = parts(across_columns ? columns : depth, 16), down = x / lines * turns;
    if (down >= (across_columns ? depth : columns)) return;
    t->ahead_lines = 1;
    t->ahead_step = across_columns ? g->b_p : g->b_j;
    t->ahead = (const float *)g->b + p * g->b_p + j * g->b_j + down * t->ahead_step + x % lines * 16;
}

/* The same for an a that streams by in place: `rows` of it from row i on, half a line of each at a time. */
static void look_ahead_a(struct task *k, int64_t i, int64_t rows) {
    struct pe_gemm_tile *t = &k->tile;
    t->ahead = (const float *)k->g->a + i * t->a_row + k->p0;
    t->ahead_lines = (int)rows, t->ahead_row = t->a_row, t->ahead_step = PE_GEMM_AHEAD;
}

static void read_in(struct task *k, float *own, int64_t j, int64_t columns, int64_t width) {
    const struct pe_gemm_problem *g = k->g;
    int64_t rows = k->i1 - k->i0;
    struct run_of_rows run;
    memset(own, 0, (size_t)(rows * width) * sizeof(float));
    for (int64_t y = 0; y < rows; y += run.rows) {
        run = rows_from(g, k->i0 + y, rows - y);
        k->r->kernels->copy(own + y * width, width, g->c + run.c + j * g->c_j, g->c_i, g->c_j, (size_t)run.rows,
                            (size_t)columns);
    }
}

/* All rows of the task against one panel of b, in tiles of nearly equal height. */
static void run_panel(struct task *k, int64_t j, int64_t columns, int vectors) {
    const struct pe_gemm_plan *plan = &k->r->plan;
    const struct pe_gemm_tile shared = k->tile;
    int64_t rows = k->i1 - k->i0, tiles = parts(rows, k->r->kernels->rows[vectors - 1]), i = k->i0;
    int64_t width = vectors * k->r->lanes;
    float *own = own_panel(k, j);
    if (plan->own_c && k->p0 == 0 && k->g->accumulate) read_in(k, own, j, columns, width);
    int64_t next = plan->panels_first ? columns : min64(plan->nr, k->j1 - j - columns);
    for (int64_t x = 0; x < tiles; x++) {
        int64_t height = rows / tiles + (x < rows % tiles);
        k->tile.a = shared.a + (i - k->i0) * shared.a_row;
        if (plan->fetch_b) look_ahead(k, x, tiles, plan->panels_first ? j : j + columns, next,
                                      plan->panels_first ? k->p1 : k->p0);
        else if (plan->fetch_a) look_ahead_a(k, i + height, j == k->j0 ? min64(height, k->i1 - i - height) : 0);
        run_tile(k, i, j, height, columns, vectors);
        i += height;
    }
    k->tile.a = shared.a;
    if (plan->own_c && k->p1 == k->g->k) {
        finish(k->r, k->g, own, width, k->i0, j, rows, columns);
        write_out(k->r, k->g, own, width, k->i0, j, rows, columns);
    }
}

static void go_to_block(struct task *k, int64_t p) {
    if (p == k->p0 && k->tile.a) return;
    k->p0 = p, k->p1 = min64(p + k->r->plan.kc, k->g->k);
    place_a(k);
}

/* The panel from column j on, in the block of k from step p on. */
static void run_block(struct task *k, int64_t j, int64_t p) {
    const struct pe_gemm_run *r = k->r;
    int64_t columns = min64(r->plan.nr, k->j1 - j);
    int vectors = (int)parts(columns, r->lanes);
    go_to_block(k, p);
    place_b(k, j, columns, vectors * r->lanes);
    run_panel(k, j, columns, vectors);
}

/* One row: from column j on as many panels as there are, up to plan.abreast; gives their columns. */
static int64_t run_abreast(struct task *k, int64_t j) {
    const struct pe_gemm_plan *plan = &k->r->plan;
    int64_t columns = min64((k->j1 - j) / plan->nr, plan->abreast) * plan->nr;
    if (columns <= plan->nr) {
        run_block(k, j, 0);
        return plan->nr;
    }
    go_to_block(k, 0);
    place_b(k, j, columns, plan->nr);
    k->tile.b_panel = plan->nr * k->g->k;
    run_tile(k, k->i0, j, 1, columns, (int)(columns / k->r->lanes));
    return columns;
}

/* With k = 0 there is one empty block: c is 0, and what follows the chain. */
static void run_task(struct task *k) {
    int64_t kc = k->r->plan.kc, nr = k->r->plan.nr, depth = k->g->k > 0 ? k->g->k : 1;
    if (k->r->plan.abreast > 1) {
        for (int64_t j = k->j0; j < k->j1;) j += run_abreast(k, j);
    } else if (k->r->plan.panels_first) {
        for (int64_t j = k->j0; j < k->j1; j += nr)
            for (int64_t p = 0; p < depth; p += kc) run_block(k, j, p);
    } else {
        for (int64_t p = 0; p < depth; p += kc)
            for (int64_t j = k->j0; j < k->j1; j += nr) run_block(k, j, p);
    }
}

static void run_row(const struct pe_gemm_run *r, const struct pe_gemm_problem *g, int64_t j0, int64_t j1) {
    float *y = g->c + j0;
    r->kernels->row(y, (size_t)(j1 - j0), g->a, g->a_p, (const float *)g->b + j0, g->b_p, (size_t)g->k, g->accumulate);
    finish(r, g, y, j1 - j0, 0, j0, 1, j1 - j0);
}

/* The rectangle of task x of one product: blocks of rows, the first half of them cut by cuts[0]. */
static void find_task(const struct pe_gemm_run *r, struct task *k, int64_t x) {
    const struct pe_gemm_plan *plan = &r->plan;
    int64_t few = plan->blocks / 2 * plan->cuts[0], late = x >= few, cuts = plan->cuts[late];
    int64_t block = late ? plan->blocks / 2 + (x - few) / cuts : x / cuts, cut = (late ? x - few : x) % cuts;
    int64_t unit = plan->nr * plan->abreast, panels = parts(r->g.n, unit);
    k->i0 = min64(block * plan->rows, r->g.m);
    k->i1 = min64(k->i0 + plan->rows, r->g.m);
    k->j0 = min64(panels * cut / cuts * unit, r->g.n);
    k->j1 = min64(panels * (cut + 1) / cuts * unit, r->g.n);
}

static size_t whole_lines(size_t floats) { return (floats + 15) / 16 * 16; }

size_t pe_gemm_task_floats(const struct pe_gemm_plan *plan) {
    return whole_lines(plan->b_floats) + whole_lines(plan->c_floats) + whole_lines(plan->wide_floats) +
           plan->a_floats;
}

void pe_gemm_run_task(const struct pe_gemm_run *r, const struct pe_gemm_problem *g, int64_t x, float *memory) {
    const struct pe_gemm_plan *plan = &r->plan;
    if (plan->path == PE_GEMM_ROW) {
        run_row(r, g, x * plan->nr, min64((x + 1) * plan->nr, g->n));
        return;
    }
    struct task k = { .r = r, .g = g, .own_b = memory };
    k.own_c = k.own_b + whole_lines(plan->b_floats);
    k.wide = k.own_c + whole_lines(plan->c_floats);
    k.own_a = k.wide + whole_lines(plan->wide_floats);
    find_task(r, &k, x);
    run_task(&k);
}
