/* A panel of queries: what it sees, its scores against a block of keys, its sums over their values. */
#include "attention.h"
#include "sizes.h"

#include <math.h>
#include <string.h>

#define TASK_FLOATS 200000 /* of all lanes: a task stays below 1 MB */

static int64_t line(int64_t floats) { return parts(floats, 16) * 16; }

double pe_attention_fmas(const struct pe_attention_problem *p) {
    double scores = (double)(p->batch * p->heads) * (double)p->queries * (double)p->keys;
    return scores * (double)(p->depth + p->width) * (p->causal ? 0.5 : 1);
}

int64_t pe_attention_lanes(const struct pe_attention_problem *p, const struct pe_kernels *kernels, int64_t floats) {
    int64_t vl = kernels->vector_floats, lanes = vl * min64(kernels->gemm.vectors, PE_ATTENTION_VECTORS);
    int64_t vectors = parts(p->queries * p->group, vl); /* fewer queries than lanes */
    lanes = min64(lanes, vl * vectors);
    while (lanes > vl && floats * lanes > TASK_FLOATS) lanes -= vl;
    return lanes;
}

int64_t pe_attention_together(const struct pe_attention_problem *p, int64_t lanes) {
    return p->queries * 2 <= lanes ? p->group : 1;
}

int64_t pe_attention_panel_floats(const struct pe_attention_problem *p, int64_t lanes) {
    return line((p->depth + PE_ATTENTION_KEYS * (p->mask ? 2 : 1)) * lanes) + 4 * line(lanes);
}

/* ---- opening ---- */

void pe_attention_row_sees(const struct pe_attention_problem *p, const struct pe_attention_unit *unit, int64_t r,
                           int64_t *low, int64_t *high) {
    *low = 0, *high = p->keys;
    if (p->lengths) *high = min64(*high, p->lengths[unit->b * p->length_step]);
    if (!p->causal) return;
    int64_t end = p->start + r % p->queries + 1;
    *high = max64(min64(*high, end), 0);
    if (p->window < end) *low = min64(end - p->window, *high);
}

static void open_sight(struct pe_attention_panel *panel, int lanes) {
    struct pe_attention_sight *sight = &panel->sight;
    panel->first = panel->p->keys, panel->last = 0;
    for (int v = 0; v < sight->vectors; v++) {
        int64_t seen_low = INT32_MAX, seen_high = 0, whole_low = 0, whole_high = INT32_MAX;
        for (int64_t x = v * lanes; x < (v + 1) * lanes; x++) {
            int64_t low, high; /* idle lanes do as the last row */
            pe_attention_row_sees(panel->p, &panel->unit, panel->row + min64(x, panel->rows - 1), &low, &high);
            sight->low[x] = (int32_t)low, sight->high[x] = (int32_t)high;
            whole_low = max64(whole_low, low), whole_high = min64(whole_high, high);
            if (low < high) seen_low = min64(seen_low, low), seen_high = max64(seen_high, high);
        }
        sight->seen_low[v] = (int32_t)min64(seen_low, seen_high), sight->seen_high[v] = (int32_t)seen_high;
        sight->whole_low[v] = (int32_t)whole_low, sight->whole_high[v] = (int32_t)whole_high;
        if (seen_high) panel->first = min64(panel->first, seen_low), panel->last = max64(panel->last, seen_high);
    }
}

static void open_slopes(struct pe_attention_panel *panel) {
    const struct pe_attention_problem *p = panel->p;
    for (int64_t x = 0; x < (int64_t)panel->lanes; x++) {
        int64_t r = panel->row + min64(x, panel->rows - 1);
        panel->slope[x] = (float)(p->slopes[(panel->unit.head + r / p->queries) * p->slope_step] * PE_LOG2_E);
        panel->place[x] = (float)(p->start + r % p->queries);
    }
}

int64_t pe_attention_run(const struct pe_attention_panel *panel, int64_t x, int64_t *head, int64_t *query) {
    int64_t r = panel->row + x, queries = panel->p->queries;
    *head = panel->unit.head + r / queries, *query = r % queries;
    return min64(panel->rows - x, queries - *query);
}

void pe_attention_pack(const struct pe_attention_panel *panel, float *to, const float *from, int64_t from_b,
                       int64_t from_h, int64_t from_i, int64_t depth) {
    int64_t head, query;
    if (panel->rows < (int64_t)panel->lanes) memset(to, 0, (size_t)depth * panel->lanes * sizeof *to);
    for (int64_t x = 0, run; x < panel->rows; x += run) {
        run = pe_attention_run(panel, x, &head, &query);
        panel->kernels->gemm.copy(to + x, (ptrdiff_t)panel->lanes,
                                  from + panel->unit.b * from_b + head * from_h + query * from_i, 1, from_i,
                                  (size_t)depth, (size_t)run);
    }
}

void pe_attention_unpack(const struct pe_attention_panel *panel, float *to, int64_t to_b, int64_t to_h, int64_t to_i,
                         const float *from, int64_t depth) {
    int64_t head, query;
    for (int64_t x = 0, run; x < panel->rows; x += run) {
        run = pe_attention_run(panel, x, &head, &query);
        panel->kernels->gemm.copy(to + panel->unit.b * to_b + head * to_h + query * to_i, to_i, from + x, 1,
                                  (ptrdiff_t)panel->lanes, (size_t)run, (size_t)depth);
    }
}

void pe_attention_open(struct pe_attention_panel *panel, const struct pe_attention_problem *p,
                       const struct pe_kernels *kernels, struct pe_attention_unit unit, int64_t row, int64_t rows,
                       float *memory) {
    int vl = kernels->vector_floats;
    int64_t lanes = parts(rows, vl) * vl;
    *panel = (struct pe_attention_panel){ .p = p, .kernels = kernels, .unit = unit, .row = row, .rows = rows,
                                          .lanes = (size_t)lanes, .q = memory };
    panel->s = panel->q + p->depth * lanes;
    if (p->mask) panel->bias = panel->s + PE_ATTENTION_KEYS * lanes;
    float *rest = memory + line((p->depth + PE_ATTENTION_KEYS * (p->mask ? 2 : 1)) * lanes);
    for (int64_t i = 0; p->mask && rows < lanes && i < PE_ATTENTION_KEYS * lanes; i++) panel->bias[i] = -INFINITY;
    panel->sight.vectors = (int)(lanes / vl);
    panel->sight.low = (int32_t *)rest, panel->sight.high = (int32_t *)(rest + line(lanes));
    open_sight(panel, vl);
    if (p->slopes) {
        panel->slope = rest + 2 * line(lanes), panel->place = rest + 3 * line(lanes);
        open_slopes(panel);
    }
    pe_attention_pack(panel, panel->q, p->q, p->q_b, p->q_h, p->q_i, p->depth);
    kernels->gemm.scale(panel->q, (size_t)(p->depth * lanes), (float)(p->scale * PE_LOG2_E));
}

/* ---- products ---- */

static void run_tiles(const struct pe_kernels *kernels, struct pe_gemm_tile *t, int64_t rows, int vectors) {
    int64_t tiles = parts(rows, kernels->gemm.rows[vectors - 1]);
    for (; tiles > 0; tiles--) {
        int64_t some = parts(rows, tiles);
        t->next_c = tiles > 1 ? t->c + some * t->c_row : t->c;
        kernels->gemm.tile[vectors - 1][some - 1](t);
        t->a += some * t->a_row, t->c += some * t->c_row;
        rows -= some;
    }
}

static void vectors_that_see(const struct pe_attention_sight *sight, int64_t from, int64_t to, int *low, int *high) {
    for (*low = 0; *low < sight->vectors; ++*low)
        if (sight->seen_low[*low] < to && from < sight->seen_high[*low]) break;
    for (*high = sight->vectors; *high > *low; --*high)
        if (sight->seen_low[*high - 1] < to && from < sight->seen_high[*high - 1]) break;
}

/* The end of the keys that come from `from` on, up to `to`, before a vector begins or ends to see; all of them are seen
 * by the vectors *low .. *high-1, by none where *low == *high. */
static int64_t seen_alike(const struct pe_attention_sight *sight, int64_t from, int64_t to, int *low, int *high) {
    for (int v = 0; v < sight->vectors; v++) {
        if (from < sight->seen_low[v]) to = min64(to, sight->seen_low[v]);
        if (from < sight->seen_high[v]) to = min64(to, sight->seen_high[v]);
    }
    vectors_that_see(sight, from, to, low, high);
    return to;
}

void pe_attention_scores(const struct pe_attention_panel *panel, float *s, const float *a, int64_t a_row,
                         const float *b, int64_t depth, int64_t first, int64_t keys) {
    int vl = panel->kernels->vector_floats, low, high;
    ptrdiff_t lanes = (ptrdiff_t)panel->lanes;
    for (int64_t j = first, end; j < first + keys; j = end) {
        end = seen_alike(&panel->sight, j, first + keys, &low, &high);
        if (low == high) continue;
        struct pe_gemm_tile t = { .k = (size_t)depth, .a = a + (j - first) * a_row, .a_row = a_row, .a_k = 1,
                                  .b = b + low * vl, .b_k = lanes, .c = s + (j - first) * lanes + low * vl,
                                  .c_row = lanes };
        run_tiles(panel->kernels, &t, end - j, high - low);
    }
}

void pe_attention_gather(const struct pe_attention_panel *panel, float *o, int64_t rows, const float *a, int64_t a_row,
                         const float *s, int64_t first, int64_t keys) {
    int vl = panel->kernels->vector_floats, low, high;
    ptrdiff_t lanes = (ptrdiff_t)panel->lanes;
    for (int64_t j = first, end; j < first + keys; j = end) {
        end = seen_alike(&panel->sight, j, first + keys, &low, &high);
        if (low == high) continue;
        struct pe_gemm_tile t = { .k = (size_t)(end - j), .a = a + (j - first) * a_row, .a_row = 1, .a_k = a_row,
                                  .b = s + (j - first) * lanes + low * vl, .b_k = lanes, .c = o + low * vl,
                                  .c_row = lanes, .from_c = 1 };
        run_tiles(panel->kernels, &t, rows, high - low);
    }
}

void pe_attention_spread(const struct pe_attention_panel *panel, float *c, int64_t c_j, int64_t wide, const float *s,
                         const float *rows, int64_t first, int64_t keys) {
    int vl = panel->kernels->vector_floats, low, high;
    ptrdiff_t lanes = (ptrdiff_t)panel->lanes;
    for (int64_t j = first, end; j < first + keys; j = end) {
        end = seen_alike(&panel->sight, j, first + keys, &low, &high);
        if (low == high) continue;
        for (int64_t y = 0; y < wide; y += panel->kernels->gemm.vectors * vl) {
            int vectors = (int)min64(panel->kernels->gemm.vectors, (wide - y) / vl);
            struct pe_gemm_tile t = { .k = (size_t)(min64(high * vl, panel->rows) - low * vl),
                                      .a = s + (j - first) * lanes + low * vl, .a_row = lanes, .a_k = 1,
                                      .b = rows + low * vl * wide + y, .b_k = wide, .c = c + (j - first) * c_j + y,
                                      .c_row = c_j, .from_c = 1 };
            run_tiles(panel->kernels, &t, end - j, vectors);
        }
    }
}

/* ---- the mask ---- */

static void bring_bools(const struct pe_attention_panel *panel, float *to, const uint8_t *from, int64_t keys,
                        int64_t run) {
    const struct pe_attention_problem *p = panel->p;
    float row[PE_ATTENTION_KEYS];
    uint8_t bytes[PE_ATTENTION_KEYS];
    for (int64_t x = 0; x < run; x++, from += p->mask_i) {
        for (int64_t j = 0; j < keys; j++) bytes[j] = from[j * p->mask_j];
        panel->kernels->attention.hide(row, bytes, (size_t)keys);
        panel->kernels->gemm.copy(to + x, (ptrdiff_t)panel->lanes, row, 1, 1, (size_t)keys, 1);
    }
}

int pe_attention_begin(const struct pe_attention_panel *panel, int64_t first, int64_t keys) {
    const struct pe_attention_problem *p = panel->p;
    int64_t head, query;
    if (!p->mask) return 1;
    for (int64_t x = 0, run; x < panel->rows; x += run) {
        run = pe_attention_run(panel, x, &head, &query);
        int64_t at = panel->unit.b * p->mask_b + head * p->mask_h + query * p->mask_i + first * p->mask_j;
        if (p->mask_is_bool) bring_bools(panel, panel->bias + x, (const uint8_t *)p->mask + at, keys, run);
        else
            panel->kernels->gemm.copy(panel->bias + x, (ptrdiff_t)panel->lanes, (const float *)p->mask + at, p->mask_j,
                                      p->mask_i, (size_t)keys, (size_t)run);
    }
    return panel->kernels->attention.ready(panel->bias, (size_t)keys * panel->lanes,
                                           p->mask_is_bool ? 1 : (float)PE_LOG2_E);
}

struct pe_attention_block pe_attention_block(const struct pe_attention_panel *panel, int64_t first, int64_t keys) {
    return (struct pe_attention_block){ .s = panel->s, .first = (int32_t)first, .keys = (int32_t)keys,
                                        .sight = &panel->sight, .bias = panel->bias, .slope = panel->slope,
                                        .place = panel->place };
}
