/* Batch normalization and its gradients against double precision over random shapes of two to five axes: bit equal in
 * both memory formats and for 1 to 3 threads; operands touch unreadable pages; channels without variance, with a number
 * far off the others, with NaN; and what is refused.
 *
 * Bounds, with u = 2^-24, h the normalized elements of a channel, p = g weight, and
 * k = 1 + largest |h| + |mean| rstd, what rounding the mean to float32 costs:
 *   y        32 u ((1 + |mean| rstd + |h|) |weight| + |bias|)
 *   dx       64 u rstd k (|p| + mean|p| + (1 + |h|) (mean|p h| + mean|p|))
 *   dbias    100 u sum|g|
 *   dweight  100 u sum|g| k */
#include "images.h"

enum { CASES = 300 };
static const double U = 1.0 / 16777216;

struct operands {
    struct image x, y, g, dx, w, b, mean, rstd, running_mean, running_var, dw, db;
    int training, weighted, with_bias, tracked;
    float eps, momentum;
};

static struct operands make(const pe_tensor *shape, int last) {
    const pe_tensor channels = { .dtype = PE_FLOAT32, .ndim = 1, .shape = { shape->shape[1] } };
    struct operands o = { .eps = 1e-5f, .momentum = 0.3f };
    struct image *const images[] = { &o.x, &o.y, &o.g, &o.dx };
    struct image *const vectors[] = { &o.w, &o.b, &o.mean, &o.rstd, &o.running_mean, &o.running_var, &o.dw, &o.db };
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) *images[i] = make_image(PE_FLOAT32, shape, last);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) *vectors[i] = make_image(PE_FLOAT32, &channels, 0);
    fill_image(&o.w, 1, 0), fill_image(&o.b, 1, 0), fill_image(&o.running_mean, 1, 0);
    for (int64_t c = 0; c < shape->shape[1]; c++) *real(&o.running_var, c) = 0.5f + (float)draw(100) / 50;
    return o;
}
static void drop_all(struct operands *o) {
    struct image *const all[] = { &o->x, &o->y, &o->g, &o->dx, &o->w, &o->b, &o->mean, &o->rstd, &o->running_mean,
                                  &o->running_var, &o->dw, &o->db };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop(&all[i]->memory);
}
static void draw_options(struct operands *o) {
    o->training = (int)draw(3) > 0, o->weighted = (int)draw(2), o->with_bias = (int)draw(2);
    o->tracked = !o->training || draw(2);
}
static struct operands beside(const struct operands *o, int last) {
    struct operands p = make(&o->x.t, last);
    p.training = o->training, p.weighted = o->weighted, p.with_bias = o->with_bias, p.tracked = o->tracked;
    copy_image(&p.x, &o->x), copy_image(&p.g, &o->g), copy_image(&p.w, &o->w), copy_image(&p.b, &o->b);
    copy_image(&p.running_mean, &o->running_mean), copy_image(&p.running_var, &o->running_var);
    return p;
}

static void run(struct operands *o) {
    pe_context *ctx = pe_default_context();
    pe_error err;
    pe_batch_norm_args a = { .x = &o->x.t, .y = &o->y.t, .weight = o->weighted ? &o->w.t : NULL,
                             .bias = o->with_bias ? &o->b.t : NULL, .mean = &o->mean.t, .rstd = &o->rstd.t,
                             .running_mean = o->tracked ? &o->running_mean.t : NULL,
                             .running_var = o->tracked ? &o->running_var.t : NULL, .eps = o->eps,
                             .momentum = o->momentum, .training = o->training };
    const pe_status status = pe_batch_norm(ctx, &a, &err);
    if (status) fprintf(stderr, "%s\n", err.message);
    CHECK(!status);
    pe_batch_norm_backward_args b = { .x = &o->x.t, .g = &o->g.t, .weight = a.weight, .mean = a.mean, .rstd = a.rstd,
                                      .dx = &o->dx.t, .dweight = &o->dw.t, .dbias = &o->db.t,
                                      .training = o->training };
    CHECK(!pe_batch_norm_backward(ctx, &b, NULL));
}

/* ---- the definition, a channel at a time; `old` holds what the running statistics were ---- */

struct channel { double count, mean, var, rstd, largest, sum, along, all, all_along; };
/* i over the elements of channel c, upwards, where `space` elements of one image and channel lie side by side */
#define EACH(o, c, i)                                                                                  \
    for (int64_t image = 0; image < (o)->x.t.shape[0]; image++)                                        \
        for (int64_t i = (image * (o)->x.t.shape[1] + (c)) * space, end = i + space; i < end; i++)

static int64_t space_of(const struct operands *o) {
    int64_t space = 1;
    for (int i = 2; i < o->x.t.ndim; i++) space *= o->x.t.shape[i];
    return space;
}

static struct channel measure(const struct operands *o, const struct operands *old, int64_t c) {
    const int64_t space = space_of(o);
    struct channel s = { .count = (double)(o->x.t.shape[0] * space) };
    EACH(o, c, i) s.mean += *real(&o->x, i) / s.count;
    EACH(o, c, i) s.var += pow(*real(&o->x, i) - s.mean, 2) / s.count;
    if (!o->training) s.mean = *real(&old->running_mean, c), s.var = *real(&old->running_var, c);
    s.rstd = 1 / sqrt(s.var + o->eps);
    EACH(o, c, i) {
        const double h = (*real(&o->x, i) - s.mean) * s.rstd, g = *real(&o->g, i);
        s.largest = fmax(s.largest, fabs(h));
        s.sum += g, s.along += g * h, s.all += fabs(g), s.all_along += fabs(g * h);
    }
    return s;
}

static void check_channel(const struct operands *o, const struct operands *old, int64_t c) {
    const int64_t space = space_of(o);
    const struct channel s = measure(o, old, c);
    const double w = o->weighted ? *real(&o->w, c) : 1, b = o->with_bias ? *real(&o->b, c) : 0;
    const double k = 1 + s.largest + fabs(s.mean) * s.rstd, n = s.count;
    EACH(o, c, i) {
        const double h = (*real(&o->x, i) - s.mean) * s.rstd, g = *real(&o->g, i);
        const double room = (1 + fabs(s.mean) * s.rstd + fabs(h)) * fabs(w) + fabs(b);
        CHECK(fabs(*real(&o->y, i) - (h * w + b)) <= 32 * U * room);
        const double dx = o->training ? s.rstd * w * (g - s.sum / n - h * s.along / n) : s.rstd * w * g;
        const double all = fabs(g) + s.all / n + (1 + fabs(h)) * (s.all_along / n + s.all / n);
        CHECK(fabs(*real(&o->dx, i) - dx) <= 64 * U * s.rstd * k * fabs(w) * all);
    }
    CHECK(fabs(*real(&o->db, c) - s.sum) <= 100 * U * s.all);
    CHECK(fabs(*real(&o->dw, c) - s.along) <= 100 * U * s.all * k);
    CHECK(fabs(*real(&o->mean, c) - s.mean) <= 4 * U * (fabs(s.mean) + 1 / s.rstd));
    CHECK(fabs(*real(&o->rstd, c) - s.rstd) <= 32 * U * s.rstd * (1 + fabs(s.mean) * s.rstd));
    if (!o->training || !o->tracked) return;
    const double was = *real(&old->running_mean, c), was_var = *real(&old->running_var, c), m = (double)o->momentum;
    const double var = s.var * n / (n - 1);
    const double mean = (1 - m) * was + m * s.mean, room = fabs(was) + fabs(s.mean) + 1 / s.rstd;
    CHECK(fabs(*real(&o->running_mean, c) - mean) <= 8 * U * room);
    CHECK(fabs(*real(&o->running_var, c) - ((1 - m) * was_var + m * var)) <= 64 * U * (was_var + var));
}

static int same_results(const struct operands *a, const struct operands *b) {
    return equal_images(&a->y, &b->y) && equal_images(&a->dx, &b->dx) && equal_images(&a->dw, &b->dw) &&
           equal_images(&a->db, &b->db) && equal_images(&a->mean, &b->mean) && equal_images(&a->rstd, &b->rstd) &&
           equal_images(&a->running_mean, &b->running_mean) && equal_images(&a->running_var, &b->running_var);
}

static pe_tensor draw_shape(void) {
    pe_tensor t = { .dtype = PE_FLOAT32, .ndim = 2 + (int)draw(4) };
    t.shape[0] = 2 + draw(draw(4) ? 4 : 60);
    t.shape[1] = 1 + draw(draw(2) ? 40 : draw(4) ? 6 : 270);
    for (int i = 2; i < t.ndim; i++) t.shape[i] = 1 + draw(t.ndim == 3 ? 700 : t.ndim == 4 ? 20 : 7);
    return t;
}

static void one(void) {
    const pe_tensor shape = draw_shape();
    struct operands o = make(&shape, 0);
    draw_options(&o);
    fill_image(&o.x, 1.5f, draw(4) ? 0.5f : 100.0f);
    fill_image(&o.g, 1, 0.1f);
    if (draw(3) == 0) *real(&o.x, 0) = 3000; /* far off, and the first one */
    struct operands last = beside(&o, 1), old = beside(&o, 0);
    run(&o);
    run(&last);
    CHECK(same_results(&o, &last));
    for (int64_t c = 0; c < shape.shape[1]; c += 1 + draw(20)) check_channel(&o, &old, c);
    drop_all(&o), drop_all(&last), drop_all(&old);
}

/* Shapes on both sides of the bound where a channel stays in L2. */
static void threads(int64_t images, int64_t channels, int64_t side, int last) {
    pe_context *ctx = pe_default_context();
    const pe_tensor shape = { .dtype = PE_FLOAT32, .ndim = 4, .shape = { images, channels, side, side } };
    struct operands o = make(&shape, last);
    o.training = o.tracked = o.weighted = o.with_bias = 1;
    fill_image(&o.x, 1, 0.3f), fill_image(&o.g, 1, 0.1f);
    struct operands fresh = beside(&o, last), old = beside(&o, last);
    struct sharing before = begin_sharing(ctx);
    pe_set_num_threads(ctx, 1);
    run(&o);
    pe_set_num_threads(ctx, 3);
    for (int again = 0; again < 200 && (again < 3 || !was_shared(ctx, &before)); again++) {
        copy_image(&fresh.running_mean, &old.running_mean), copy_image(&fresh.running_var, &old.running_var);
        run(&fresh);
        CHECK(same_results(&o, &fresh));
    }
    end_sharing(ctx, &before);
    drop_all(&o), drop_all(&fresh), drop_all(&old);
}

static void corners(void) {
    pe_context *ctx = pe_default_context();
    pe_error err;
    const pe_tensor shape = { .dtype = PE_FLOAT32, .ndim = 3, .shape = { 4, 3, 50 } };
    struct operands o = make(&shape, 0), last = make(&shape, 1);
    o.training = o.with_bias = 1;
    fill_image(&o.x, 1, 0);
    for (int64_t i = 0; i < elements(&o.x); i++)
        if (i / 50 % 3 == 0) *real(&o.x, i) = 1e6f + 0.1f; /* a channel without variance: the bias */
    *real(&o.x, 60) = NAN;
    run(&o);
    for (int64_t i = 0; i < elements(&o.x); i++) {
        if (i / 50 % 3 == 0) CHECK(*real(&o.y, i) == *real(&o.b, 0));
        CHECK(isnan(*real(&o.y, i)) == (i / 50 % 3 == 1));
    }
    o.training = 0, o.tracked = 1, *real(&o.x, 160) = INFINITY; /* given statistics: x takes no part in dx */
    run(&o);
    for (int64_t i = 0; i < elements(&o.x); i++) CHECK(!isnan(*real(&o.dx, i)));
    pe_batch_norm_args a = { .x = &o.x.t, .y = &last.y.t, .eps = 1e-5f, .training = 1 };
    CHECK(pe_batch_norm(ctx, &a, &err) == PE_ERR_ARGUMENT && strstr(err.message, "memory format"));
    a.y = &o.y.t, a.weight = &o.x.t;
    CHECK(pe_batch_norm(ctx, &a, &err) == PE_ERR_SHAPE && strstr(err.message, "weight of shape (4, 3, 50)"));
    a.weight = NULL;
    CHECK(!pe_batch_norm(ctx, &a, &err));
    a.training = 0;
    CHECK(pe_batch_norm(ctx, &a, &err) == PE_ERR_ARGUMENT && strstr(err.message, "running_mean is missing"));
    for (int64_t c = 0; c < 3; c++) *real(&o.dw, c) = *real(&o.db, c) = 7; /* nothing: sums of nothing */
    o.x.t.shape[0] = o.g.t.shape[0] = o.dx.t.shape[0] = 0;
    pe_batch_norm_backward_args b = { .x = &o.x.t, .g = &o.g.t, .mean = &o.mean.t, .rstd = &o.rstd.t, .dx = &o.dx.t,
                                      .dweight = &o.dw.t, .dbias = &o.db.t, .training = 1 };
    CHECK(!pe_batch_norm_backward(ctx, &b, &err) && *real(&o.dw, 2) == 0 && *real(&o.db, 0) == 0);
    drop_all(&o), drop_all(&last);
}

int main(void) {
    for (int i = 0; i < CASES; i++) one();
    threads(4, 70, 40, 0);
    threads(12, 70, 40, 1);
    threads(40, 3, 100, 0);
    corners();
    return check_report();
}
