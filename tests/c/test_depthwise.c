/* Depthwise convolution and its gradients against plain loops in double precision, over random shapes, layouts and
 * options: bit equal for 1 to 3 threads, for both layouts and for a part of the batch; nothing is written beside y, dx
 * and dw; NaN and infinity lie where the equation has them. Bounds: (T + 4) u sum |terms| of T terms a chain. */
#include "../../csrc/depthwise.h"
#include "guarded.h"

enum { CASES = 700 };
static const double U = 1.0 / 16777216;

enum order { FIRST, LAST, ODD, ORDERS }; /* channels first, channels last, neither lies close */

/* An array of axes (n, c, s0, s1, s2) between bytes that must stay. */
struct array {
    float *memory, *data;
    int64_t floats, size[5], stride[5];
};

static struct array make_array(int64_t n, int64_t c, const int64_t *s, enum order order) {
    struct array a = { .size = { n, c, s[0], s[1], s[2] } };
    static const int first[] = { 4, 3, 2, 1, 0 }, last[] = { 1, 4, 3, 2, 0 }, odd[] = { 3, 1, 4, 0, 2 };
    const int *by = order == FIRST ? first : order == LAST ? last : odd;
    int64_t stride = order == ODD ? 3 : 1, offset = 16;
    for (int i = 0; i < 5; i++) {
        a.stride[by[i]] = stride;
        stride *= a.size[by[i]] > 0 ? a.size[by[i]] : 1;
        if (order == ODD) stride++;
    }
    a.floats = stride + 32;
    a.memory = malloc((size_t)a.floats * sizeof *a.memory);
    for (int64_t i = 0; i < a.floats; i++) a.memory[i] = 12345.0f;
    for (int i = 0; i < 5; i++) {
        if (order != ODD || draw(2) || !a.size[i]) continue;
        offset += a.stride[i] * (a.size[i] - 1);
        a.stride[i] = -a.stride[i];
    }
    a.data = a.memory + offset;
    return a;
}

static float *at(const struct array *a, int64_t n, int64_t c, int64_t i, int64_t j, int64_t k) {
    return a->data + n * a->stride[0] + c * a->stride[1] + i * a->stride[2] + j * a->stride[3] + k * a->stride[4];
}
#define EACH(a)                                              \
    for (int64_t n = 0; n < (a)->size[0]; n++)               \
        for (int64_t c = 0; c < (a)->size[1]; c++)           \
            for (int64_t i = 0; i < (a)->size[2]; i++)       \
                for (int64_t j = 0; j < (a)->size[3]; j++)   \
                    for (int64_t k = 0; k < (a)->size[4]; k++)

static void fill(struct array *a) {
    EACH(a) *at(a, n, c, i, j, k) = draw_float();
}
static void copy_array(struct array *to, const struct array *from) {
    EACH(to) *at(to, n, c, i, j, k) = *at(from, n, c, i, j, k);
}
static int equal(const struct array *x, const struct array *y) {
    EACH(x) if (!same(*at(x, n, c, i, j, k), *at(y, n, c, i, j, k))) return 0;
    return 1;
}
/* the floats that are no element are as they were; destroys the elements */
static int untouched(struct array *a) {
    EACH(a) *at(a, n, c, i, j, k) = 12345.0f;
    for (int64_t i = 0; i < a->floats; i++)
        if (a->memory[i] != 12345.0f) return 0;
    return 1;
}

struct sample {
    struct pe_conv_problem q;
    struct array x, w, y, g, residual, start;
};
static float biases[512];
static pe_loop *relu(void) { return pe_default_context()->kernels->elementwise.loop[PE_OP_relu]; }

static void point(struct sample *s, const struct array *x, const struct array *y) {
    s->q.x = x->data, s->q.x_n = x->stride[0], s->q.x_c = x->stride[1];
    s->q.y = y->data, s->q.y_n = y->stride[0], s->q.y_c = y->stride[1];
    for (int d = 0; d < 3; d++) s->q.x_s[d] = x->stride[2 + d], s->q.y_s[d] = y->stride[2 + d];
}

static void draw_space(struct pe_conv_problem *q) {
    int axes = draw(8) ? 2 : draw(2) ? 1 : 3, small = draw(2);
    for (int d = 0; d < 3; d++) {
        q->size[d] = q->kernel[d] = q->step[d] = q->spacing[d] = q->places[d] = 1;
        q->before[d] = 0;
        if (d < 3 - axes) continue;
        q->kernel[d] = draw(3) ? 3 : 1 + draw(axes == 3 ? 3 : 7);
        q->step[d] = draw(2) ? 1 : 1 + draw(3);
        q->spacing[d] = draw(3) ? 1 : 2;
        int64_t reach = (q->kernel[d] - 1) * q->spacing[d], after = draw((uint32_t)reach + 2);
        q->before[d] = draw((uint32_t)reach + 2);
        q->size[d] = 1 + draw(axes == 3 ? 6 : small ? 10 : axes == 1 ? 300 : 40);
        while (q->size[d] + q->before[d] + after < reach + 1) q->size[d]++;
        q->places[d] = (q->size[d] + q->before[d] + after - reach - 1) / q->step[d] + 1;
    }
}

static struct sample make_sample(void) {
    struct sample s = { .q = { .images = 1 + draw(3), .groups = draw(2) ? 1 + draw(6) : 1 + draw(70), .in = 1,
                               .out = draw(3) ? 1 : 1 + draw(3) } };
    struct pe_conv_problem *q = &s.q;
    draw_space(q);
    s.x = make_array(q->images, q->groups, q->size, FIRST);
    s.w = make_array(q->groups * q->out, 1, q->kernel, (enum order)draw(ORDERS));
    s.y = make_array(q->images, q->groups * q->out, q->places, FIRST);
    s.g = make_array(q->images, q->groups * q->out, q->places, FIRST);
    s.residual = make_array(q->images, q->groups * q->out, q->places, FIRST);
    s.start = make_array(q->images, q->groups * q->out, q->places, FIRST);
    fill(&s.x), fill(&s.w), fill(&s.g), fill(&s.residual), fill(&s.start);
    for (int i = 0; i < 512; i++) biases[i] = draw_float();
    q->w = s.w.data, q->w_o = s.w.stride[0], q->w_g = q->out * s.w.stride[0], q->w_i = s.w.stride[1];
    for (int d = 0; d < 3; d++) q->w_k[d] = s.w.stride[2 + d];
    q->bias = draw(2) ? biases : NULL;
    q->accumulate = !draw(4);
    q->activation = draw(2) ? NULL : relu();
    if (!draw(2)) q->residual = s.residual.data;
    return s;
}

static void drop_sample(struct sample *s) {
    struct array *all[] = { &s->x, &s->w, &s->y, &s->g, &s->residual, &s->start };
    for (int i = 0; i < 6; i++) free(all[i]->memory);
}

/* ---- what must be ---- */

/* one tap of one place: the place in x, or 0 outside */
static int meets(const struct pe_conv_problem *q, const int64_t p[3], const int64_t k[3], int64_t u[3]) {
    int inside = 1;
    for (int d = 0; d < 3; d++) {
        u[d] = p[d] * q->step[d] + k[d] * q->spacing[d] - q->before[d];
        inside &= u[d] >= 0 && u[d] < q->size[d];
    }
    return inside;
}

static int close_to(float got, double want, double room) {
    if (isnan(want) || isinf(want)) return isnan(want) ? isnan(got) : (double)got == want;
    return fabs((double)got - want) <= room;
}

#define EACH_TAP(q, k)                                       \
    for (k[0] = 0; k[0] < (q)->kernel[0]; k[0]++)            \
        for (k[1] = 0; k[1] < (q)->kernel[1]; k[1]++)        \
            for (k[2] = 0; k[2] < (q)->kernel[2]; k[2]++)

static void check_forward(const struct sample *s, const struct array *y) {
    const struct pe_conv_problem *q = &s->q;
    const double terms = (double)(q->kernel[0] * q->kernel[1] * q->kernel[2]) * 2 + 8;
    EACH(y) {
        int64_t p[3] = { i, j, k }, t[3], u[3];
        double sum = q->accumulate ? *at(&s->start, n, c, i, j, k) : 0, room = fabs(sum);
        EACH_TAP(q, t) {
            int in = meets(q, p, t, u);
            double x = in ? (double)*at(&s->x, n, c / q->out, u[0], u[1], u[2]) : 0.0;
            double term = x * (double)*at(&s->w, c, 0, t[0], t[1], t[2]);
            sum += term, room += fabs(term);
        }
        if (q->bias) sum += q->bias[c], room += fabs(q->bias[c]);
        if (q->activation) sum = sum > 0 || isnan(sum) ? sum : 0;
        if (q->residual) sum += *at(&s->residual, n, c, i, j, k), room += fabs(*at(&s->residual, n, c, i, j, k));
        CHECK(close_to(*at(y, n, c, i, j, k), sum, terms * U * room));
    }
}

/* dx and dw by scattering */
static void check_backward(const struct sample *s, const struct array *dx, const struct array *dw) {
    const struct pe_conv_problem *q = &s->q;
    const int64_t taps = q->kernel[0] * q->kernel[1] * q->kernel[2], space = q->size[0] * q->size[1] * q->size[2];
    const int64_t images = q->images * q->groups * space, weights = q->groups * q->out * taps;
    double *sum = calloc((size_t)(images + weights) * 2, sizeof *sum), *room = sum + images + weights;
    EACH(&s->g) {
        int64_t p[3] = { i, j, k }, t[3], u[3];
        double g = *at(&s->g, n, c, i, j, k);
        EACH_TAP(q, t) {
            int64_t to_w = images + c * taps + (t[0] * q->kernel[1] + t[1]) * q->kernel[2] + t[2];
            int in = meets(q, p, t, u);
            double x = in ? (double)*at(&s->x, n, c / q->out, u[0], u[1], u[2]) : 0.0;
            double w = *at(&s->w, c, 0, t[0], t[1], t[2]);
            sum[to_w] += g * x, room[to_w] += fabs(g * x);
            if (!in) continue;
            int64_t to_x = (n * q->groups + c / q->out) * space + (u[0] * q->size[1] + u[1]) * q->size[2] + u[2];
            sum[to_x] += g * w, room[to_x] += fabs(g * w);
        }
    }
    int64_t a = 0;
    EACH(dx) {
        CHECK(close_to(*at(dx, n, c, i, j, k), sum[a], (double)(2 * taps * q->out + 4) * U * room[a]));
        a++;
    }
    double chain = (double)(q->places[0] * q->places[1] * q->places[2]) + 20;
    EACH(dw) {
        CHECK(close_to(*at(dw, n, c, i, j, k), sum[a], chain * U * room[a]));
        a++;
    }
    free(sum);
}

/* ---- one sample in every order and number of threads ---- */

struct results { struct array y, dx, dw; };

static struct results run_as(struct sample *s, enum order order, int threads) {
    pe_context *ctx = pe_default_context();
    struct pe_conv_problem *q = &s->q;
    const int64_t channels = q->groups * q->out;
    struct sample own = *s;
    struct array x = make_array(q->images, q->groups, q->size, order);
    struct array g = make_array(q->images, channels, q->places, order);
    struct results r = { make_array(q->images, channels, q->places, order),
                         make_array(q->images, q->groups, q->size, order), make_array(channels, 1, q->kernel, FIRST) };
    struct array residual = make_array(q->images, channels, q->places, order);
    /* strides are shared: odd orders draw their signs */
    memcpy(residual.stride, r.y.stride, sizeof r.y.stride);
    residual.data = residual.memory + (r.y.data - r.y.memory);
    memcpy(r.dx.stride, x.stride, sizeof x.stride);
    r.dx.data = r.dx.memory + (x.data - x.memory);
    copy_array(&x, &s->x), copy_array(&g, &s->g), copy_array(&residual, &s->residual);
    if (q->accumulate) copy_array(&r.y, &s->start);
    pe_set_num_threads(ctx, threads);
    point(&own, &x, &r.y);
    if (q->residual) own.q.residual = residual.data;
    CHECK(pe_depthwise_suits(&own.q));
    CHECK(!pe_depthwise(ctx, &own.q, NULL));
    point(&own, &x, &g);
    own.q.w = s->w.data;
    CHECK(!pe_depthwise_input(ctx, &own.q, r.dx.data, NULL));
    own.q.w_o = r.dw.stride[0], own.q.w_g = q->out * r.dw.stride[0];
    for (int d = 0; d < 3; d++) own.q.w_k[d] = r.dw.stride[2 + d];
    CHECK(!pe_depthwise_weight(ctx, &own.q, r.dw.data, NULL));
    free(x.memory), free(g.memory), free(residual.memory);
    return r;
}

static void drop_results(struct results *r, int check) {
    if (check) {
        CHECK(untouched(&r->y));
        CHECK(untouched(&r->dx));
        CHECK(untouched(&r->dw));
    }
    free(r->y.memory), free(r->dx.memory), free(r->dw.memory);
}

static void check_sample(struct sample *s) {
    struct results first = run_as(s, FIRST, 1);
    long before = checks_failed;
    check_forward(s, &first.y);
    check_backward(s, &first.dx, &first.dw);
    for (int order = 0; order < ORDERS; order++) {
        struct results r = run_as(s, (enum order)order, 1 + (int)draw(3));
        CHECK(equal(&r.y, &first.y));
        CHECK(equal(&r.dx, &first.dx));
        CHECK(equal(&r.dw, &first.dw));
        if (s->q.images > 1) { /* one image alone */
            struct sample one = *s;
            one.q.images = one.x.size[0] = one.g.size[0] = 1;
            struct results alone = run_as(&one, (enum order)order, 2);
            CHECK(equal(&alone.y, &r.y));
            CHECK(equal(&alone.dx, &r.dx));
            drop_results(&alone, 0);
        }
        drop_results(&r, 1);
    }
    drop_results(&first, 1);
    if (checks_failed != before && checks_failed < 200)
        for (int d = 0; d < 3; d++)
            fprintf(stderr, "  n %d g %d o %d: size %d kernel %d step %d spacing %d before %d places %d\n",
                    (int)s->q.images,
                    (int)s->q.groups, (int)s->q.out, (int)s->q.size[d], (int)s->q.kernel[d], (int)s->q.step[d],
                    (int)s->q.spacing[d], (int)s->q.before[d], (int)s->q.places[d]);
}

/* a NaN or an infinity in one of the operands */
static void poison(struct sample *s) {
    struct array *all[] = { &s->x, &s->w, &s->g };
    struct array *a = all[draw(3)];
    int64_t total = 1, from = 0;
    for (int i = 0; i < 5; i++) total *= a->size[i];
    int64_t which = draw((uint32_t)total);
    EACH(a) if (from++ == which) *at(a, n, c, i, j, k) = draw(2) ? NAN : INFINITY;
}

int main(void) {
    pe_context *ctx = pe_default_context();
    struct sharing sharing = begin_sharing(ctx);
    for (int x = 0; x < CASES; x++) {
        struct sample s = make_sample();
        if (x % 4 == 0) poison(&s);
        check_sample(&s);
        drop_sample(&s);
    }
    end_sharing(ctx, &sharing);
    return check_report();
}
