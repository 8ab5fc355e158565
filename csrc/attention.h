/* Attention between its checks (attention_check.c), its panels of queries (attention_panel.c), and its forward and
 * backward runs (attention.c, attention_backward.c).
 *
 * Everything is computed the other way round: s^T = k q^T and o^T = v^T p^T. The tile's broadcast operand may lie in
 * any way, so keys and values are read where they are; only a panel of queries is packed, once for all keys. Lanes are
 * queries. A query's weights are summed over blocks of PE_ATTENTION_KEYS keys that are counted from key 0, so neither
 * other queries nor later keys change a bit of its output. */
#ifndef PE_ATTENTION_H
#define PE_ATTENTION_H

#include "internal.h"

#define PE_ATTENTION_KEYS 64 /* of a block */
#define PE_ATTENTION_PART 256 /* keys that a task takes where queries are few: counted from key 0, too */
#define PE_ATTENTION_FEW 4   /* rows that read the keys as they lie: for more, lanes of queries are faster */
#define PE_LOG2_E 1.4426950408889634

/* Strides in elements. Head h of q meets head h / group of k and v. */
struct pe_attention_problem {
    int64_t batch, heads, group, queries, keys, depth, width; /* depth of q and k, width of v and out */
    const float *q, *k, *v;
    float *out;
    int64_t q_b, q_h, q_i, k_b, k_h, k_j, v_b, v_h, v_j, out_b, out_h, out_i;
    float *lse; /* (batch, heads, queries), or NULL */
    const void *mask;
    int mask_is_bool;
    int64_t mask_b, mask_h, mask_i, mask_j;
    const int64_t *lengths; /* or NULL */
    const float *slopes;    /* or NULL */
    int64_t slope_step, length_step;
    float scale;
    int causal;
    int64_t start, window; /* window: INT64_MAX for none */
};

/* Rows of some heads of one (batch, key head) that are computed side by side: row r of a unit is query r % queries of
 * its head r / queries. */
struct pe_attention_unit {
    int64_t b, head, rows;
};

struct pe_attention_panel {
    const struct pe_attention_problem *p;
    const struct pe_kernels *kernels;
    struct pe_attention_unit unit;
    int64_t row;              /* the first of the unit's rows, and how many */
    int64_t rows;
    size_t lanes;             /* of a row of q, s, o: whole vectors */
    struct pe_attention_sight sight;
    int64_t first, last;      /* all keys that some row sees: first .. last-1 */
    float *q;                 /* (depth, lanes), times scale log2 e */
    float *s;                 /* (PE_ATTENTION_KEYS, lanes) */
    float *bias;              /* the same, of a mask */
    float *slope, *place;     /* (lanes) */
};

/* The keys that row r of the unit sees: *low .. *high-1. */
void pe_attention_row_sees(const struct pe_attention_problem *p, const struct pe_attention_unit *unit, int64_t r,
                           int64_t *low, int64_t *high);

/* attention_decode.c, for units of PE_ATTENTION_FEW rows at most: the part first .. last-1 of the keys, at most
 * PE_ATTENTION_PART. Each row leaves a record of width + 2 floats: its maximum (of a natural exponent), sum, and sums
 * over values. memory: PE_ATTENTION_FEW * PE_ATTENTION_PART floats. */
void pe_attention_decode(const struct pe_attention_problem *p, const struct pe_kernels *kernels,
                         struct pe_attention_unit unit, int64_t first, int64_t last, float *memory, float *records);

/* Fused multiply-adds of the scores and of the sums over values, for the cost model. */
double pe_attention_fmas(const struct pe_attention_problem *p);
/* Queries of a panel: as many lanes as the widest tile has, or as fit into a task's memory where each lane takes so
 * many floats. And how many heads that share keys lie side by side in a panel: all where each has
 * few queries, else 1. */
int64_t pe_attention_lanes(const struct pe_attention_problem *p, const struct pe_kernels *kernels, int64_t floats);
int64_t pe_attention_together(const struct pe_attention_problem *p, int64_t lanes);
/* Floats, whole cache lines, that pe_attention_open wants for its panel. */
int64_t pe_attention_panel_floats(const struct pe_attention_problem *p, int64_t lanes);
/* Rows row .. row+rows-1 of the unit; rows <= lanes. memory is on a cache line. */
void pe_attention_open(struct pe_attention_panel *, const struct pe_attention_problem *, const struct pe_kernels *,
                       struct pe_attention_unit, int64_t row, int64_t rows, float *memory);
/* The part of the panel from its row x on that lies in one head: its length, head and first query. */
int64_t pe_attention_run(const struct pe_attention_panel *, int64_t x, int64_t *head, int64_t *query);
/* to[e*lanes + x] = from the row x of the panel: a tensor like q, of `depth` elements */
void pe_attention_pack(const struct pe_attention_panel *, float *to, const float *from, int64_t from_b, int64_t from_h,
                       int64_t from_i, int64_t depth);
/* The other way, to a tensor like out. */
void pe_attention_unpack(const struct pe_attention_panel *, float *to, int64_t to_b, int64_t to_h, int64_t to_i,
                         const float *from, int64_t depth);
/* s[j*lanes + x] = a[j*a_row + .] . b[. *lanes + x] over depth, for the keys first .. first+keys-1 where x's vector
 * sees them */
void pe_attention_scores(const struct pe_attention_panel *, float *s, const float *a, int64_t a_row, const float *b,
                         int64_t depth, int64_t first, int64_t keys);
/* o[p*lanes + x] += sum over the block's keys j that x sees, in their order, of a[j*a_row + p] s[j*lanes + x] */
void pe_attention_gather(const struct pe_attention_panel *, float *o, int64_t rows, const float *a, int64_t a_row,
                         const float *s, int64_t first, int64_t keys);
/* c[j*c_j + y] += sum over the panel's rows x, in their order, of s[j*lanes + x] rows[x*wide + y], y < wide (whole
 * vectors), for the block's keys; s is 0 where a key is not seen */
void pe_attention_spread(const struct pe_attention_panel *, float *c, int64_t c_j, int64_t wide, const float *s,
                         const float *rows, int64_t first, int64_t keys);
/* Brings the mask of a block; 0 where it hides all of it, which then may be left out. */
int pe_attention_begin(const struct pe_attention_panel *, int64_t first, int64_t keys);
/* The block as the kernels take it. */
struct pe_attention_block pe_attention_block(const struct pe_attention_panel *, int64_t first, int64_t keys);

pe_status pe_attention_check(const pe_attention_args *args, struct pe_attention_problem *p, pe_error *err);
pe_status pe_attention_check_backward(const pe_attention_backward_args *args, struct pe_attention_problem *p,
                                      pe_error *err);

#endif
