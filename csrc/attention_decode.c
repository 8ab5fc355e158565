/* A few queries against a long cache of keys, which is read once, at the speed of memory: lanes run along the cache's
 * own rows, so that nothing is turned round. Parts of the cache are tasks. */
#include "attention.h"
#include "sizes.h"

#include <math.h>
#include <string.h>

#define NEAR_KEYS 64 /* so many rows stay in the first cache for the queries that share them */

/* What is added to the scores of row r, for the keys low .. low+n-1. */
static void add_rest(const struct pe_attention_problem *p, const struct pe_kernels *kernels,
                     const struct pe_attention_unit *unit, int64_t r, float *s, int64_t low, int64_t n) {
    int64_t head = unit->head + r / p->queries, query = r % p->queries;
    if (p->slopes) {
        float slope = p->slopes[head * p->slope_step];
        int64_t place = p->start + query;
        for (int64_t j = 0; j < n; j++) s[j] -= slope * (float)(place > low + j ? place - low - j : low + j - place);
    }
    if (!p->mask) return;
    int64_t at = unit->b * p->mask_b + head * p->mask_h + query * p->mask_i + low * p->mask_j;
    if (!p->mask_is_bool) {
        kernels->gemm.add(s, 0, (const float *)p->mask + at, 0, p->mask_j, 1, (size_t)n);
        return;
    }
    for (int64_t j = 0; j < n; j++)
        if (!((const uint8_t *)p->mask)[at + j * p->mask_j]) s[j] = -INFINITY;
}

/* The unit's rows and the keys of the part that each sees. */
struct part {
    const struct pe_attention_problem *p;
    const struct pe_kernels *kernels;
    struct pe_attention_unit unit;
    int64_t low[PE_ATTENTION_FEW], high[PE_ATTENTION_FEW];
    const float *q[PE_ATTENTION_FEW], *k, *v;
    float *s[PE_ATTENTION_FEW], *records; /* scores from the key low on */
};

static void open_part(struct part *t, int64_t first, int64_t last, float *memory) {
    const struct pe_attention_problem *p = t->p;
    int64_t kv_head = t->unit.head / p->group;
    t->k = p->k + t->unit.b * p->k_b + kv_head * p->k_h, t->v = p->v + t->unit.b * p->v_b + kv_head * p->v_h;
    for (int64_t r = 0; r < t->unit.rows; r++) {
        pe_attention_row_sees(p, &t->unit, r, &t->low[r], &t->high[r]);
        t->low[r] = min64(max64(t->low[r], first), last), t->high[r] = max64(min64(t->high[r], last), t->low[r]);
        t->q[r] = p->q + t->unit.b * p->q_b + (t->unit.head + r / p->queries) * p->q_h + r % p->queries * p->q_i;
        t->s[r] = memory + r * PE_ATTENTION_PART;
    }
}

/* Rows from r on that are evenly apart in memory and see the same keys. */
static int64_t alike(const struct part *t, int64_t r) {
    int64_t n = 1;
    while (r + n < t->unit.rows && t->low[r + n] == t->low[r] && t->high[r + n] == t->high[r] &&
           t->q[r + n] - t->q[r + n - 1] == t->q[r + 1] - t->q[r])
        n++;
    return n;
}

/* The rows r .. r+count-1, which are alike, against the keys from .. to-1. */
static void score(const struct part *t, int64_t r, int64_t count, int64_t from, int64_t to) {
    t->kernels->attention.meet(t->s[r] + from - t->low[r], PE_ATTENTION_PART, t->k + from * t->p->k_j, t->p->k_j,
                               (size_t)(to - from), t->q[r], count > 1 ? t->q[r + 1] - t->q[r] : 0, (size_t)count,
                               (size_t)t->p->depth);
}

static void sum_values(const struct part *t, int64_t r, int64_t count, int64_t from, int64_t to) {
    const struct pe_gemm_kernels *gemm = &t->kernels->gemm;
    const struct pe_attention_problem *p = t->p;
    int64_t record = p->width + 2, vl = t->kernels->vector_floats, x = 0;
    struct pe_gemm_tile tile = { .k = (size_t)(to - from), .a = t->s[r] + from - t->low[r], .a_row = PE_ATTENTION_PART,
                                 .a_k = 1, .b = t->v + from * p->v_j, .b_k = p->v_j,
                                 .c = t->records + r * record + 2, .c_row = record, .from_c = from > t->low[r] };
    for (int64_t vectors; (vectors = min64(gemm->vectors, (p->width - x) / vl)) > 0; x += vectors * vl) {
        tile.next_c = tile.c;
        gemm->tile[vectors - 1][count - 1](&tile);
        tile.b += vectors * vl, tile.c += vectors * vl;
    }
    for (int64_t y = 0; y < count && x < p->width; y++)
        gemm->row(tile.c + y * record, (size_t)(p->width - x), tile.a + y * tile.a_row, 1, tile.b, p->v_j, tile.k,
                  tile.from_c);
}

void pe_attention_decode(const struct pe_attention_problem *p, const struct pe_kernels *kernels,
                         struct pe_attention_unit unit, int64_t first, int64_t last, float *memory, float *records) {
    struct part t = { .p = p, .kernels = kernels, .unit = unit, .records = records };
    int64_t record = p->width + 2;
    open_part(&t, first, last, memory);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t j = first; j < last; j += NEAR_KEYS)
            for (int64_t r = 0, n; r < unit.rows; r += n) {
                n = alike(&t, r);
                int64_t from = max64(j, t.low[r]), to = min64(j + NEAR_KEYS, t.high[r]);
                if (from < to) (pass ? sum_values : score)(&t, r, n, from, to);
            }
        for (int64_t r = 0; !pass && r < unit.rows; r++) {
            int64_t n = t.high[r] - t.low[r];
            kernels->gemm.scale(t.s[r], (size_t)n, p->scale);
            add_rest(p, kernels, &unit, r, t.s[r], t.low[r], n);
            records[r * record + 1] = kernels->attention.weigh(t.s[r], (size_t)n, records + r * record);
            memset(records + r * record + 2, 0, (size_t)p->width * sizeof *records);
        }
    }
}
