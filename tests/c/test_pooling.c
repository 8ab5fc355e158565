/* Pooling and its gradients against plain loops in double precision over random windows of one to three axes: bit equal
 * in both memory formats and for 1 to 3 threads; operands touch unreadable pages; NaN, -inf, windows with nothing
 * inside; and what is refused. Bound of a mean and of a sum: (T + 4) u sum |terms| of T terms. */
#include "images.h"

enum { CASES = 600 };
static const double U = 1.0 / 16777216;

struct pooling { pe_pool_args a; pe_tensor x, y; int maximum; };

static struct pooling draw_pooling(void) {
    struct pooling p = { .maximum = (int)draw(2) };
    const int axes = 1 + (int)draw(3);
    p.x = p.y = (pe_tensor){ .dtype = PE_FLOAT32, .ndim = 2 + axes };
    p.x.shape[0] = p.y.shape[0] = draw(12) ? 1 + draw(3) : 0;
    p.x.shape[1] = p.y.shape[1] = 1 + draw(draw(2) ? 40 : 3);
    for (int i = 0; i < axes; i++) {
        const int64_t size = 1 + draw(i == axes - 1 && draw(3) == 0 ? 70 : 9);
        const int64_t kernel = draw(5) ? 1 + draw(4) : 0, spacing = p.maximum ? 1 + draw(2) : 1, step = 1 + draw(3);
        const int64_t reach = (kernel - 1) * spacing + 1, before = kernel ? draw((uint32_t)(reach / 2 + 1)) : 0;
        int64_t places = 1 + draw((uint32_t)size + 3);
        if (kernel) {
            places = size + 2 * before >= reach ? (size + 2 * before - reach) / step + 1 : 1;
            if (draw(2) && places * step < size + before) places++; /* ceil_mode: it still starts inside */
        }
        p.x.shape[2 + i] = size, p.y.shape[2 + i] = places;
        p.a.kernel[i] = kernel, p.a.step[i] = step, p.a.spacing[i] = spacing, p.a.before[i] = before;
    }
    p.a.include_padding = (int)draw(2);
    p.a.divisor = draw(3) ? 0 : 1 + draw(9);
    return p;
}

struct operands { struct image x, y, g, dx, place; };

static struct operands make(const struct pooling *p, int last) {
    return (struct operands){ make_image(PE_FLOAT32, &p->x, last), make_image(PE_FLOAT32, &p->y, last),
                              make_image(PE_FLOAT32, &p->y, last), make_image(PE_FLOAT32, &p->x, last),
                              make_image(PE_INT32, &p->y, last) };
}
static void drop_all(struct operands *o) {
    struct image *const all[] = { &o->x, &o->y, &o->g, &o->dx, &o->place };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop(&all[i]->memory);
}

static void run(const struct pooling *p, struct operands *o, int placed) {
    pe_context *ctx = pe_default_context();
    pe_pool_args a = p->a, back = p->a;
    a.x = &o->x.t, a.y = &o->y.t, a.place = p->maximum && placed ? &o->place.t : NULL;
    back.x = &o->dx.t, back.y = &o->g.t, back.place = p->maximum ? &o->place.t : NULL;
    pe_error err;
    const pe_status status = p->maximum ? pe_max_pool(ctx, &a, &err) : pe_avg_pool(ctx, &a, &err);
    if (status) fprintf(stderr, "%s\n", err.message);
    CHECK(!status);
    if (placed) CHECK(!(p->maximum ? pe_max_pool_input(ctx, &back, NULL) : pe_avg_pool_input(ctx, &back, NULL)));
}

/* ---- the definition ---- */

struct span { int64_t start, taps, spacing; double counted; };

static struct span span_of(const struct pooling *p, int axis, int64_t at) {
    const int64_t n = p->x.shape[2 + axis], places = p->y.shape[2 + axis], k = p->a.kernel[axis];
    if (!k) {
        const int64_t start = at * n / places, end = ((at + 1) * n + places - 1) / places;
        return (struct span){ start, end - start, 1, (double)(end - start) };
    }
    const int64_t start = at * p->a.step[axis] - p->a.before[axis];
    struct span s = { start, k, p->a.spacing[axis], 0 };
    for (int64_t i = start; i < start + k; i++)
        s.counted += p->a.include_padding ? i < n + p->a.before[axis] : i >= 0 && i < n;
    return s;
}

/* visit(number in x's space, arg) for the elements of a window, in order; gives what it counts */
static double each(const struct pooling *p, int64_t place, int64_t *numbers, int *count) {
    struct span s[3] = { { 0, 1, 1, 1 }, { 0, 1, 1, 1 }, { 0, 1, 1, 1 } };
    int64_t size[3] = { 1, 1, 1 };
    const int axes = p->x.ndim - 2;
    for (int i = axes - 1; i >= 0; i--) {
        s[3 - axes + i] = span_of(p, i, place % p->y.shape[2 + i]);
        place /= p->y.shape[2 + i];
        size[3 - axes + i] = p->x.shape[2 + i];
    }
    *count = 0;
    for (int64_t a = 0; a < s[0].taps; a++)
        for (int64_t b = 0; b < s[1].taps; b++)
            for (int64_t c = 0; c < s[2].taps; c++) {
                const int64_t i = s[0].start + a * s[0].spacing, j = s[1].start + b * s[1].spacing;
                const int64_t k = s[2].start + c * s[2].spacing;
                if (i >= 0 && i < size[0] && j >= 0 && j < size[1] && k >= 0 && k < size[2])
                    numbers[(*count)++] = (i * size[1] + j) * size[2] + k;
            }
    return s[0].counted * s[1].counted * s[2].counted;
}

static void check_window(const struct pooling *p, const struct operands *o, int64_t image, int64_t y, int64_t space,
                         const int64_t *numbers, int count, double counted, double *dx, double *room) {
    const double got = *real(&o->y, y), g = *real(&o->g, y);
    if (p->maximum) {
        int64_t best = count ? numbers[0] : -1;
        double most = -INFINITY;
        for (int i = 0; i < count; i++) {
            const double x = *real(&o->x, image * space + numbers[i]);
            if (x > most || isnan(x)) most = x, best = numbers[i];
        }
        const int32_t place = *(int32_t *)element(&o->place.t, y);
        CHECK((isnan(most) && isnan(got)) || most == got);
        CHECK(place == best && place < space);
        if (place < 0) return;
        dx[image * space + place] += g;
        room[image * space + place] += fabs(g);
        return;
    }
    const double divisor = p->a.divisor != 0 ? p->a.divisor : counted;
    double sum = 0, all = 0;
    for (int i = 0; i < count; i++) {
        const double x = *real(&o->x, image * space + numbers[i]);
        sum += x, all += fabs(x);
        dx[image * space + numbers[i]] += g / (p->a.divisor != 0 ? p->a.divisor : 1);
        room[image * space + numbers[i]] += fabs(g) / (p->a.divisor != 0 ? p->a.divisor : 1);
    }
    if (counted == 0 && p->a.divisor == 0) CHECK(isnan(got));
    else CHECK(fabs(got - sum / divisor) <= (count + 4) * U * all / divisor);
}

static void against_double(const struct pooling *p, const struct operands *o) {
    int64_t space = 1, places = 1, most = 1, numbers[8192];
    for (int i = 2; i < p->x.ndim; i++) space *= p->x.shape[i], places *= p->y.shape[i];
    for (int i = 2; i < p->x.ndim; i++) most *= p->y.shape[i];
    double *dx = calloc((size_t)elements(&o->x) + 1, sizeof *dx);
    double *room = calloc((size_t)elements(&o->x) + 1, sizeof *room);
    for (int64_t y = 0; y < elements(&o->y); y++) {
        int count;
        const double counted = each(p, y % places, numbers, &count);
        check_window(p, o, y / places, y, space, numbers, count, counted, dx, room);
    }
    for (int64_t i = 0; i < elements(&o->x); i++)
        CHECK(fabs(*real(&o->dx, i) - dx[i]) <= ((double)most + 4) * U * room[i]);
    free(dx);
    free(room);
}

static void spoil(struct image *x) {
    for (int64_t i = 0; i < elements(x); i++) {
        const uint32_t kind = draw(20);
        *real(x, i) = kind == 0 ? NAN : kind == 1 ? INFINITY : kind < 8 ? -INFINITY : (float)draw(3) - 1.0f;
    }
}

static void one(void) {
    const struct pooling p = draw_pooling();
    struct operands a = make(&p, 0), b = make(&p, 1), c = make(&p, 1);
    fill_image(&a.x, 1, 0.1f);
    if (p.maximum && draw(3) == 0) spoil(&a.x);
    fill_image(&a.g, 1, 0);
    copy_image(&b.x, &a.x), copy_image(&b.g, &a.g), copy_image(&c.x, &a.x);
    run(&p, &a, 1), run(&p, &b, 1), run(&p, &c, 0);
    against_double(&p, &a);
    CHECK(equal_images(&a.y, &b.y) && equal_images(&a.dx, &b.dx) && equal_images(&a.y, &c.y));
    if (p.maximum) CHECK(equal_images(&a.place, &b.place));
    drop_all(&a), drop_all(&b), drop_all(&c);
}

/* ---- threads ---- */

static void threads(int maximum, int last) {
    pe_context *ctx = pe_default_context();
    struct pooling p = { .maximum = maximum, .a = { .kernel = { 3, 3 }, .step = { 2, 2 }, .spacing = { 1, 1 },
                                                    .before = { 1, 1 } } };
    p.x = (pe_tensor){ .dtype = PE_FLOAT32, .ndim = 4, .shape = { 3, 70, 61, 60 } };
    p.y = (pe_tensor){ .dtype = PE_FLOAT32, .ndim = 4, .shape = { 3, 70, 31, 30 } };
    struct operands alone = make(&p, last), shared = make(&p, last);
    fill_image(&alone.x, 1, 0), fill_image(&alone.g, 1, 0);
    copy_image(&shared.x, &alone.x), copy_image(&shared.g, &alone.g);
    struct sharing before = begin_sharing(ctx);
    pe_set_num_threads(ctx, 1);
    run(&p, &alone, 1);
    pe_set_num_threads(ctx, 3);
    for (int again = 0; again < 200 && (again < 3 || !was_shared(ctx, &before)); again++) {
        run(&p, &shared, 1);
        CHECK(equal_images(&alone.y, &shared.y) && equal_images(&alone.dx, &shared.dx));
    }
    end_sharing(ctx, &before);
    drop_all(&alone), drop_all(&shared);
}

/* ---- what is refused ---- */

static void corners(void) {
    pe_context *ctx = pe_default_context();
    pe_error err;
    struct pooling p = { .maximum = 1, .a = { .kernel = { 2, 2 }, .step = { 2, 2 }, .spacing = { 1, 1 } } };
    p.x = (pe_tensor){ .dtype = PE_FLOAT32, .ndim = 4, .shape = { 2, 3, 4, 4 } };
    p.y = (pe_tensor){ .dtype = PE_FLOAT32, .ndim = 4, .shape = { 2, 3, 2, 2 } };
    struct operands rows = make(&p, 0), last = make(&p, 1);
    pe_pool_args a = p.a;
    a.x = &rows.x.t, a.y = &last.y.t;
    CHECK(pe_max_pool(ctx, &a, &err) == PE_ERR_ARGUMENT && strstr(err.message, "memory format"));
    a.y = &rows.y.t, a.step[1] = 0;
    CHECK(pe_avg_pool(ctx, &a, &err) == PE_ERR_ARGUMENT && strstr(err.message, "step 0"));
    a.step[1] = 2, a.kernel[0] = INT64_MAX / 2, a.spacing[0] = 4;
    CHECK(pe_max_pool(ctx, &a, &err) == PE_ERR_ARGUMENT);
    a.kernel[0] = 2, a.spacing[0] = 1, a.place = &rows.x.t;
    CHECK(pe_max_pool(ctx, &a, &err) == PE_ERR_DTYPE && strstr(err.message, "place must be int32"));
    a.place = NULL;
    CHECK(pe_max_pool_input(ctx, &a, &err) == PE_ERR_ARGUMENT && strstr(err.message, "place is missing"));
    rows.y.t.shape[1] = 2;
    CHECK(pe_max_pool(ctx, &a, &err) == PE_ERR_SHAPE && err.axis == 1);
    rows.y.t.shape[1] = 3, a.place = &rows.place.t;
    for (int64_t i = 0; i < elements(&rows.place); i++) /* places that are none are passed over */
        *(int32_t *)element(&rows.place.t, i) = i % 2 ? -1 : 16;
    CHECK(!pe_max_pool_input(ctx, &a, &err));
    for (int64_t i = 0; i < elements(&rows.x); i++) CHECK(*real(&rows.x, i) == 0);
    drop_all(&rows), drop_all(&last);
}

int main(void) {
    for (int i = 0; i < CASES; i++) one();
    for (int i = 0; i < 4; i++) threads(i & 1, i >> 1);
    corners();
    return check_report();
}
