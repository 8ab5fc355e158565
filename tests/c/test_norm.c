/* Layer and RMS norm against double precision over random shapes and layouts, with operands that touch
 * unreadable pages; the same bits on every number of threads; and what they refuse.
 *
 * Bounds, with u = 2^-24, h the normalized elements of a row, p = g weight, and P the rows of a part:
 *   out      16 u ((1 + |mean| rstd + |h|) |weight| + |bias|)
 *   dx       32 u rstd k (|p| + mean|p| + (1 + |h|) (mean|p h| + mean|p|))
 *   dbias    (P + 16) u sum|g|
 *   dweight  (P + 32) u sum|g| k
 * with k = (1 + largest |h| + |mean| rstd): what rounding the mean to float32 costs. */
#include "guarded.h"

enum { CASES = 300, PARTS = 16384 };
static const double U = 1.0 / 16777216;

static float *at(const pe_tensor *t, int64_t i, int64_t j) {
    return (float *)((char *)t->data + i * t->strides[0] + j * t->strides[1]);
}
static pe_tensor vector(struct operand *o) {
    pe_tensor t = o->t;
    t.ndim = 1;
    t.shape[0] = o->t.shape[1];
    t.strides[0] = o->t.strides[1];
    return t;
}

struct operands {
    struct operand x, g, y, dx, w, b, dw, db, mean, rstd;
    pe_tensor tw, tb, tdw, tdb, tmean, trstd;
    int64_t rows, n;
    float eps;
    int centred, weighted;
};

static void fill(const pe_tensor *t, float scale, float offset) {
    for (int64_t i = 0; i < t->shape[0]; i++)
        for (int64_t j = 0; j < t->shape[1]; j++) *at(t, i, j) = draw_float() * scale + offset;
}

static struct operands make(int64_t rows, int64_t n, int plain) {
    struct operands o = {.rows = rows, .n = n, .eps = 1e-5f, .centred = (int)draw(2), .weighted = (int)draw(2)};
#define ANY (plain ? ROWS : any_layout()), (int)draw(2)
    o.x = make_guarded(PE_FLOAT32, rows, n, ANY);
    o.g = make_guarded(PE_FLOAT32, rows, n, ANY);
    o.y = make_guarded(PE_FLOAT32, rows, n, ANY);
    o.dx = make_guarded(PE_FLOAT32, rows, n, ANY);
    o.w = make_guarded(PE_FLOAT32, 1, n, ANY);
    o.b = make_guarded(PE_FLOAT32, 1, n, ANY);
    o.dw = make_guarded(PE_FLOAT32, 1, n, ANY);
    o.db = make_guarded(PE_FLOAT32, 1, n, ANY);
#undef ANY
    o.mean = make_guarded(PE_FLOAT32, 1, rows, ROWS, (int)draw(2));
    o.rstd = make_guarded(PE_FLOAT32, 1, rows, ROWS, (int)draw(2));
    fill(&o.x.t, 1.5f, draw(4) ? 0.5f : 100.0f);
    fill(&o.g.t, 1.0f, 0.1f);
    fill(&o.w.t, 1.0f, 0.0f);
    fill(&o.b.t, 1.0f, 0.0f);
    o.tw = vector(&o.w), o.tb = vector(&o.b), o.tdw = vector(&o.dw), o.tdb = vector(&o.db);
    o.tmean = vector(&o.mean), o.trstd = vector(&o.rstd);
    return o;
}

static void drop_all(struct operands *o) {
    struct operand *const all[] = {&o->x, &o->g, &o->y, &o->dx, &o->w, &o->b, &o->dw, &o->db, &o->mean, &o->rstd};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop(all[i]);
}

static pe_status forward(struct operands *o) {
    pe_context *ctx = pe_default_context();
    const pe_tensor *w = o->weighted ? &o->tw : NULL, *b = o->weighted ? &o->tb : NULL;
    if (o->centred)
        return pe_layer_norm(ctx, &(pe_layer_norm_args){&o->x.t, w, b, &o->y.t, &o->tmean, &o->trstd, o->eps}, NULL);
    return pe_rms_norm(ctx, &(pe_rms_norm_args){&o->x.t, w, &o->y.t, &o->trstd, o->eps}, NULL);
}

static pe_status backward(struct operands *o) {
    pe_context *ctx = pe_default_context();
    const pe_tensor *w = o->weighted ? &o->tw : NULL;
    if (o->centred)
        return pe_layer_norm_backward(ctx, &(pe_layer_norm_backward_args){&o->x.t, &o->g.t, w, &o->tmean, &o->trstd,
                                           &o->dx.t, &o->tdw, &o->tdb}, NULL);
    return pe_rms_norm_backward(ctx, &(pe_rms_norm_backward_args){&o->x.t, &o->g.t, w, &o->trstd, &o->dx.t, &o->tdw},
                                NULL);
}

/* what a row must be, in double, and its share of dweight and dbias with their bounds */
static void check_row(const struct operands *o, int64_t i, double *dw, double *db, double *dw_room, double *db_room) {
    const double n = (double)o->n;
    double mean = 0, square = 0, first = 0, second = 0, all = 0, along = 0, most = 0;
    for (int64_t j = 0; j < o->n && o->centred; j++) mean += *at(&o->x.t, i, j) / n;
    for (int64_t j = 0; j < o->n; j++) square += pow(*at(&o->x.t, i, j) - mean, 2) / n;
    const double r = 1 / sqrt(square + (double)o->eps), shift = fabs(mean) * r;
    for (int64_t j = 0; j < o->n; j++) {
        const double h = (*at(&o->x.t, i, j) - mean) * r, w = o->weighted ? *at(&o->w.t, 0, j) : 1;
        const double b = o->weighted && o->centred ? *at(&o->b.t, 0, j) : 0, p = *at(&o->g.t, i, j) * w;
        CHECK(fabs(*at(&o->y.t, i, j) - (h * w + b)) <= 16 * U * ((1 + shift + fabs(h)) * fabs(w) + fabs(b)));
        first += p / n, second += p * h / n, all += fabs(p) / n, along += fabs(p * h) / n;
        most = fmax(most, fabs(h));
    }
    const double k = 1 + most + shift;
    for (int64_t j = 0; j < o->n; j++) {
        const double h = (*at(&o->x.t, i, j) - mean) * r, g = *at(&o->g.t, i, j);
        const double p = g * (o->weighted ? *at(&o->w.t, 0, j) : 1);
        const double dx = r * (p - (o->centred ? first : 0) - h * second);
        CHECK(fabs(*at(&o->dx.t, i, j) - dx) <= 32 * U * r * k * (fabs(p) + all + (1 + fabs(h)) * (along + all)));
        dw[j] += g * h, db[j] += g;
        dw_room[j] += fabs(g) * k, db_room[j] += fabs(g);
    }
}

static void against_double(struct operands *o) {
    CHECK(!forward(o));
    CHECK(!backward(o));
    double *sums = calloc((size_t)o->n * 4, sizeof *sums);
    for (int64_t i = 0; i < o->rows; i++)
        check_row(o, i, sums, sums + o->n, sums + 2 * o->n, sums + 3 * o->n);
    const double chain = fmin((double)o->rows, fmax((double)o->rows / 64 + 1, (double)(PARTS / o->n + 1)));
    for (int64_t j = 0; j < o->n; j++) {
        CHECK(fabs(*at(&o->dw.t, 0, j) - sums[j]) <= (chain + 32) * U * sums[2 * o->n + j]);
        if (o->centred) CHECK(fabs(*at(&o->db.t, 0, j) - sums[o->n + j]) <= (chain + 16) * U * sums[3 * o->n + j]);
    }
    free(sums);
}

/* Results of one thread in the operands, those of more beside them; again until two threads have met. */
static void threads(int64_t rows, int64_t n) {
    pe_context *ctx = pe_default_context();
    struct operands o = make(rows, n, 1);
    o.centred = o.weighted = 1;
    const struct sharing before = begin_sharing(ctx);
    const size_t size = (size_t)(rows * n) * sizeof(float), width = (size_t)n * sizeof(float);
    char *first = malloc(2 * size + 2 * width);
    for (int turn = 0, count = 1; count <= 4 && turn < 500; turn++, count += count < 4 || was_shared(ctx, &before)) {
        pe_set_num_threads(ctx, count);
        CHECK(!forward(&o));
        CHECK(!backward(&o));
        const void *results[] = {o.y.t.data, o.dx.t.data, o.dw.t.data, o.db.t.data};
        const size_t sizes[] = {size, size, width, width};
        char *to = first;
        for (int k = 0; k < 4; to += sizes[k++])
            if (count == 1) memcpy(to, results[k], sizes[k]);
            else CHECK(!memcmp(to, results[k], sizes[k]));
    }
    end_sharing(ctx, &before);
    free(first);
    drop_all(&o);
}

static void corners(void) {
    pe_context *ctx = pe_default_context();
    pe_error err;
    struct operands o = make(3, 70, 1);
    o.centred = o.weighted = 1;
    for (int64_t j = 0; j < 70; j++) *at(&o.x.t, 0, j) = 1e6f + 0.1f; /* a row without variance: the bias */
    *at(&o.x.t, 1, 5) = NAN;
    CHECK(!forward(&o));
    for (int64_t j = 0; j < 70; j++) CHECK(*at(&o.y.t, 0, j) == *at(&o.b.t, 0, j) && isnan(*at(&o.y.t, 1, j)));
    CHECK(!isnan(*at(&o.y.t, 2, 0)));
    pe_layer_norm_args a = {&o.x.t, &o.tw, &o.tb, &o.y.t, &o.tmean, &o.trstd, o.eps};
    o.tw.shape[0] = 69;
    CHECK(pe_layer_norm(ctx, &a, &err) == PE_ERR_SHAPE && strstr(err.message, "weight has the shape (69"));
    o.tw.shape[0] = 70;
    o.tmean.shape[0] = 2;
    CHECK(pe_layer_norm(ctx, &a, &err) == PE_ERR_SHAPE);
    o.tmean.shape[0] = 3;
    o.tmean.strides[0] = 8;
    CHECK(pe_layer_norm(ctx, &a, &err) == PE_ERR_SHAPE && strstr(err.message, "dense"));
    o.tmean.strides[0] = 4;
    o.x.t.dtype = PE_INT32;
    CHECK(pe_layer_norm(ctx, &a, &err) == PE_ERR_DTYPE);
    o.x.t.dtype = PE_FLOAT32;
    for (int64_t j = 0; j < 70; j++) *at(&o.dw.t, 0, j) = *at(&o.db.t, 0, j) = 7; /* no rows: sums of nothing */
    o.x.t.shape[0] = o.g.t.shape[0] = o.dx.t.shape[0] = o.tmean.shape[0] = o.trstd.shape[0] = 0;
    CHECK(!backward(&o) && *at(&o.dw.t, 0, 0) == 0 && *at(&o.db.t, 0, 69) == 0);
    drop_all(&o);
}

int main(void) {
    static const int64_t sizes[] = {1, 2, 3, 7, 8, 15, 16, 17, 33, 63, 64, 65, 100, 128, 200, 768, 4096, 4097, 9000};
    for (int i = 0; i < CASES; i++) {
        const int64_t n = sizes[draw(sizeof sizes / sizeof *sizes)], rows = 1 + draw(n > 1000 ? 4 : 40);
        struct operands o = make(rows, n, 0);
        against_double(&o);
        drop_all(&o);
    }
    struct operands tall = make(20000, 3, 1);
    against_double(&tall);
    drop_all(&tall);
    threads(700, 768);
    threads(64, 9000);
    threads(30000, 20);
    corners();
    return check_report();
}
