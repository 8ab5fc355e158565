/* Attention and its gradients against double precision over random shapes, layouts and masks, with operands that touch
 * unreadable pages; the same bits on every number of threads, and beside other rows and keys; what it refuses.
 *
 * The bounds are of values of about 1: some roundings of them, and of what a mask or slope adds to a score. */
#include "guarded.h"

enum { CASES = 120, MOST_KEYS = 400 };

/* A tensor (batch, heads, rows, columns): its rows side by side by head, or one under another. */
struct heads {
    struct operand o;
    pe_tensor t;
};

static struct heads make_heads(int64_t batch, int64_t heads, int64_t rows, int64_t columns) {
    int beside = (int)draw(2);
    int64_t pad = draw(2) ? 3 : 0;
    struct heads h = { .o = make_guarded(PE_FLOAT32, batch * (beside ? rows : rows * heads),
                                         (beside ? heads : 1) * columns + pad, ROWS, (int)draw(2)) };
    int64_t line = h.o.t.strides[0], head = beside ? columns * 4 : rows * line;
    int64_t sample = (beside ? 1 : heads) * rows * line;
    h.t = (pe_tensor){ h.o.t.data, PE_FLOAT32, 4, { batch, heads, rows, columns }, { sample, head, line, 4 } };
    for (size_t i = 0; i < h.o.span / 4; i++) ((float *)(void *)h.o.low)[i] = 0.5f * draw_float();
    return h;
}

static float *at(const pe_tensor *t, int64_t b, int64_t h, int64_t i, int64_t j) {
    return (float *)((char *)t->data + b * t->strides[0] + h * t->strides[1] + i * t->strides[2] + j * t->strides[3]);
}

struct problem {
    int64_t batch, heads, kv_heads, rows, keys, depth, width;
    struct heads q, k, v, out, g, dq, dk, dv;
    struct operand lse, lengths, slopes, mask;
    pe_tensor tlse, tlengths, tslopes, tmask;
    pe_attention_args args;
    double most; /* that a mask or slope adds */
};

static int64_t pick(const int64_t *of, uint32_t count) { return of[draw(count)]; }

static struct problem make(void) {
    static const int64_t rows[] = { 1, 2, 7, 33, 64, 70, 130 }, keys[] = { 1, 17, 64, 65, 130, MOST_KEYS };
    static const int64_t sizes[] = { 1, 8, 16, 20, 64, 70 };
    struct problem p = { .batch = 1 + draw(2), .kv_heads = 1 + draw(2), .rows = pick(rows, 7), .keys = pick(keys, 6),
                         .depth = pick(sizes, 6), .width = pick(sizes, 6), .most = 0 };
    p.heads = p.kv_heads * (1 + draw(3));
    p.q = make_heads(p.batch, p.heads, p.rows, p.depth), p.k = make_heads(p.batch, p.kv_heads, p.keys, p.depth);
    p.v = make_heads(p.batch, p.kv_heads, p.keys, p.width), p.out = make_heads(p.batch, p.heads, p.rows, p.width);
    p.g = make_heads(p.batch, p.heads, p.rows, p.width), p.dq = make_heads(p.batch, p.heads, p.rows, p.depth);
    p.dk = make_heads(p.batch, p.kv_heads, p.keys, p.depth), p.dv = make_heads(p.batch, p.kv_heads, p.keys, p.width);
    p.lse = make_guarded(PE_FLOAT32, 1, p.batch * p.heads * p.rows, ROWS, 0);
    p.tlse = (pe_tensor){ p.lse.t.data, PE_FLOAT32, 3, { p.batch, p.heads, p.rows },
                          { p.heads * p.rows * 4, p.rows * 4, 4 } };
    p.lengths = make_guarded(PE_INT64, 1, p.batch, ROWS, 0), p.slopes = make_guarded(PE_FLOAT32, 1, p.heads, ROWS, 0);
    p.tlengths = (pe_tensor){ p.lengths.t.data, PE_INT64, 1, { p.batch }, { 8 } };
    p.tslopes = (pe_tensor){ p.slopes.t.data, PE_FLOAT32, 1, { p.heads }, { 4 } };
    for (int64_t b = 0; b < p.batch; b++) ((int64_t *)p.tlengths.data)[b] = draw((uint32_t)p.keys + 1);
    for (int64_t h = 0; h < p.heads; h++) ((float *)p.tslopes.data)[h] = (float)h / 16;
    int dtype = draw(2) ? PE_BOOL : PE_FLOAT32, size = dtype == PE_BOOL ? 1 : 4, spread = (int)draw(3);
    p.mask = make_guarded(dtype, spread ? p.rows : 1, p.keys, draw(2) ? ROWS : COLUMNS, (int)draw(2));
    p.tmask = (pe_tensor){ p.mask.t.data, dtype, 4, { p.batch, p.heads, p.rows, p.keys },
                           { 0, 0, spread ? p.mask.t.strides[0] : 0, p.mask.t.strides[1] } };
    for (size_t i = 0; i < p.mask.span / (size_t)size; i++)
        if (size == 1) p.mask.low[i] = draw(3) > 0;
        else ((float *)(void *)p.mask.low)[i] = draw(9) ? draw_float() : -INFINITY;
    p.args = (pe_attention_args){ .scale = 0.3f, .causal = (int)draw(2) };
    if (p.args.causal) p.args.query_start = (int64_t)draw((uint32_t)p.keys + 4) - 4;
    if (p.args.causal && draw(2)) p.args.window = 1 + draw(90);
    return p;
}

static void take(struct problem *p) {
    p->args.q = &p->q.t, p->args.k = &p->k.t, p->args.v = &p->v.t, p->args.out = &p->out.t, p->args.lse = &p->tlse;
    if (!draw(3)) p->args.lengths = &p->tlengths;
    if (!draw(3)) p->args.slopes = &p->tslopes, p->most = (double)p->heads / 16 * MOST_KEYS;
    if (!draw(2)) p->args.mask = &p->tmask;
}

static void drop_all(struct problem *p) {
    struct heads *const all[] = { &p->q, &p->k, &p->v, &p->out, &p->g, &p->dq, &p->dk, &p->dv };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop(&all[i]->o);
    drop(&p->lse), drop(&p->lengths), drop(&p->slopes), drop(&p->mask);
}

static double score(const struct problem *p, int64_t b, int64_t h, int64_t i, int64_t j) {
    const pe_attention_args *a = &p->args;
    int64_t place = a->query_start + i, g = h / (p->heads / p->kv_heads);
    if (a->lengths && j >= ((int64_t *)p->tlengths.data)[b]) return -INFINITY;
    if (a->causal && (j > place || (a->window && j <= place - a->window))) return -INFINITY;
    double s = 0;
    for (int64_t e = 0; e < p->depth; e++) s += (double)*at(&p->q.t, b, h, i, e) * *at(&p->k.t, b, g, j, e);
    s *= (double)a->scale;
    if (a->slopes) s -= (double)((float *)p->tslopes.data)[h] * llabs(place - j);
    if (!a->mask) return s;
    const char *m = (const char *)p->tmask.data + i * p->tmask.strides[2] + j * p->tmask.strides[3];
    return p->tmask.dtype == PE_BOOL ? (*m ? s : -INFINITY) : s + (double)*(const float *)(const void *)m;
}

/* Row (b, h, i): its weights, whose logarithm of the sum before it was 1 is given. */
static double weigh(const struct problem *p, int64_t b, int64_t h, int64_t i, double *w) {
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < p->keys; j++) max = fmax(max, w[j] = score(p, b, h, i, j));
    for (int64_t j = 0; j < p->keys; j++) sum += w[j] = max == -INFINITY ? 0 : exp(w[j] - max);
    for (int64_t j = 0; j < p->keys; j++) w[j] /= sum > 0 ? sum : 1;
    return sum > 0 ? max + log(sum) : INFINITY;
}

/* Adds row (b, h, i)'s part to dk and dv of its head (keys x (depth + width) doubles), checks its output and dq. */
static void check_row(const struct problem *p, int64_t b, int64_t h, int64_t i, double *sums) {
    double w[MOST_KEYS], dw[MOST_KEYS], dot = 0, bound = 2e-6 * (8 + p->most);
    int64_t g = h / (p->heads / p->kv_heads);
    double lse = weigh(p, b, h, i, w);
    float mine = ((float *)p->tlse.data)[(b * p->heads + h) * p->rows + i];
    CHECK(lse == INFINITY ? mine == INFINITY : fabs(lse - (double)mine) < bound);
    for (int64_t x = 0; x < p->width; x++) {
        double y = 0;
        for (int64_t j = 0; j < p->keys; j++) y += w[j] * (double)*at(&p->v.t, b, g, j, x);
        CHECK(fabs(y - (double)*at(&p->out.t, b, h, i, x)) < bound);
    }
    for (int64_t j = 0; j < p->keys; j++) {
        dw[j] = 0;
        for (int64_t x = 0; x < p->width; x++) dw[j] += (double)*at(&p->g.t, b, h, i, x) * *at(&p->v.t, b, g, j, x);
        dot += w[j] * dw[j];
    }
    for (int64_t j = 0; j < p->keys; j++) {
        double *dk = sums + j * (p->depth + p->width), ds = w[j] * (dw[j] - dot) * (double)p->args.scale;
        for (int64_t e = 0; e < p->depth; e++) dk[e] += ds * (double)*at(&p->q.t, b, h, i, e);
        for (int64_t x = 0; x < p->width; x++) dk[p->depth + x] += w[j] * (double)*at(&p->g.t, b, h, i, x);
        dw[j] = ds;
    }
    for (int64_t e = 0; e < p->depth; e++) {
        double dq = 0;
        for (int64_t j = 0; j < p->keys; j++) dq += dw[j] * (double)*at(&p->k.t, b, g, j, e);
        CHECK(fabs(dq - (double)*at(&p->dq.t, b, h, i, e)) < 4 * bound);
    }
}

static void check_values(const struct problem *p) {
    int64_t together = p->heads / p->kv_heads, n = p->depth + p->width;
    double bound = 1e-5 * (8 + p->most) * sqrt((double)(together * p->rows));
    for (int64_t x = 0; x < p->batch * p->kv_heads; x++) {
        int64_t b = x / p->kv_heads, g = x % p->kv_heads;
        double *sums = calloc((size_t)(p->keys * n), sizeof *sums);
        for (int64_t r = 0; r < together * p->rows; r++)
            check_row(p, b, g * together + r / p->rows, r % p->rows, sums);
        for (int64_t j = 0; j < p->keys; j++) {
            for (int64_t e = 0; e < p->depth; e++)
                CHECK(fabs(sums[j * n + e] - (double)*at(&p->dk.t, b, g, j, e)) < bound);
            for (int64_t e = 0; e < p->width; e++)
                CHECK(fabs(sums[j * n + p->depth + e] - (double)*at(&p->dv.t, b, g, j, e)) < bound);
        }
        free(sums);
    }
}

static void run(struct problem *p) {
    pe_context *ctx = pe_default_context();
    CHECK(!pe_attention(ctx, &p->args, NULL));
    const pe_attention_backward_args back = { &p->args, &p->g.t, &p->dq.t, &p->dk.t, &p->dv.t };
    CHECK(!pe_attention_backward(ctx, &back, NULL));
}

/* The bytes of a result, gaps included, since the operands are the same. */
static void same_on_all_threads(struct problem *p) {
    struct heads *const all[] = { &p->out, &p->dq, &p->dk, &p->dv };
    pe_context *ctx = pe_default_context();
    char *before[4];
    for (int i = 0; i < 4; i++) {
        before[i] = malloc(all[i]->o.span);
        memcpy(before[i], all[i]->o.low, all[i]->o.span);
    }
    for (int threads = 1; threads <= 5; threads += 2) {
        pe_set_num_threads(ctx, threads);
        run(p);
        for (int i = 0; i < 4; i++) CHECK(!memcmp(before[i], all[i]->o.low, all[i]->o.span));
    }
    for (int i = 0; i < 4; i++) free(before[i]);
}

/* The first half of the rows alone, and no key behind the last that they see: not a bit changes. */
static void same_without_later_ones(struct problem *p) {
    int64_t rows = (p->rows + 1) / 2, seen = p->args.query_start + rows;
    if (!p->args.causal || seen < 1 || p->args.lengths) return;
    float *before = malloc((size_t)(p->batch * p->heads * rows * p->width) * sizeof *before), *next = before;
    for (int pass = 0; pass < 2; pass++, next = before) {
        if (pass) CHECK(!pe_attention(pe_default_context(), &p->args, NULL));
        for (int64_t x = 0; x < p->batch * p->heads * rows * p->width; x++, next++) {
            float y = *at(&p->out.t, x / p->width / rows / p->heads, x / p->width / rows % p->heads,
                          x / p->width % rows, x % p->width);
            if (pass) CHECK(same(*next, y));
            else *next = y;
        }
        p->q.t.shape[2] = p->out.t.shape[2] = p->tmask.shape[2] = rows;
        if (seen < p->keys) p->k.t.shape[2] = p->v.t.shape[2] = p->tmask.shape[3] = seen;
        p->args.lse = NULL;
    }
    free(before);
}

static void refusals(void) {
    pe_context *ctx = pe_default_context();
    float x[24] = { 0 };
    int64_t counts[1] = { 4 };
    pe_tensor q = { x, PE_FLOAT32, 4, { 1, 2, 3, 4 }, { 96, 48, 16, 4 } }, k = q, v = q, out = q, bad, n;
    pe_attention_args a = { .q = &q, .k = &k, .v = &v, .out = &out, .scale = 1 };
    pe_error err;
    CHECK(!pe_attention(ctx, &a, &err));
    CHECK(pe_attention(ctx, NULL, &err) == PE_ERR_ARGUMENT);
    k.shape[1] = v.shape[1] = 3;
    CHECK(pe_attention(ctx, &a, &err) == PE_ERR_SHAPE && strstr(err.message, "multiple"));
    k.shape[1] = 2;
    CHECK(pe_attention(ctx, &a, &err) == PE_ERR_SHAPE && strstr(err.message, "value"));
    v = k, v.strides[3] = 8;
    CHECK(pe_attention(ctx, &a, &err) == PE_ERR_ARGUMENT);
    v = k, a.window = 3;
    CHECK(pe_attention(ctx, &a, &err) == PE_ERR_ARGUMENT && strstr(err.message, "causal"));
    a.window = 0, a.query_start = INT64_MAX;
    CHECK(pe_attention(ctx, &a, &err) == PE_ERR_ARGUMENT);
    a.query_start = 0, a.mask = &bad, bad = q;
    CHECK(pe_attention(ctx, &a, &err) == PE_ERR_SHAPE && strstr(err.message, "mask"));
    bad.dtype = PE_INT32;
    CHECK(pe_attention(ctx, &a, &err) == PE_ERR_DTYPE);
    n = (pe_tensor){ counts, PE_INT64, 1, { 1 }, { 8 } };
    a.mask = NULL, a.lengths = &n;
    CHECK(pe_attention(ctx, &a, &err) == PE_ERR_INDEX && strstr(err.message, "lengths[0] is 4"));
    n.dtype = PE_FLOAT32;
    CHECK(pe_attention(ctx, &a, &err) == PE_ERR_DTYPE);
    a.lengths = NULL, a.slopes = &n;
    CHECK(pe_attention(ctx, &a, &err) == PE_ERR_SHAPE);
    a.slopes = NULL;
    const pe_attention_backward_args back = { &a, &q, &q, &k, &v };
    CHECK(pe_attention_backward(ctx, &back, &err) == PE_ERR_ARGUMENT && strstr(err.message, "lse"));
}

int main(void) {
    pe_context *ctx = pe_default_context();
    struct sharing sharing = begin_sharing(ctx);
    for (int x = 0; x < CASES; x++) {
        struct problem p = make();
        take(&p);
        run(&p);
        check_values(&p);
        if (x % 4 == 0) same_on_all_threads(&p);
        same_without_later_ones(&p);
        drop_all(&p);
    }
    refusals();
    end_sharing(ctx, &sharing);
    return check_report();
}
