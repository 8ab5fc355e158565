/* Convolutions and their gradients against their definition in float64, within (terms) eps sum |x||w| or, where
 * Winograd takes them, within the bound of winograd.h: any layout, step, spacing, border and groups; the same bits in
 * every layout, for any threads and any batch; and what they refuse. */
#include "../../csrc/winograd.h"
#include "conv_images.h"

static pe_context *ctx;

enum { MOST = 480000 };

struct sums {
    double *sum, *magnitude;
};
static struct sums make_sums(int64_t n) {
    return (struct sums){ calloc((size_t)n + 1, sizeof(double)), calloc((size_t)n + 1, sizeof(double)) };
}

/* Calls visit for every product x w of the definition. */
typedef void visit(void *arg, const struct shape *s, int64_t n, int64_t xc, const int64_t *xp, int64_t oc,
                   const int64_t *op, int64_t i, const int64_t *tap);
static void for_each_product(const struct shape *s, visit *body, void *arg) {
    int64_t op[3], tap[3], xp[3], places = volume(s->places, s->space), taps = volume(s->kernel, s->space);
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t o = 0; o < s->groups * s->out; o++)
            for (int64_t p = 0; p < places; p++)
                for (int64_t k = 0; k < taps; k++) {
                    int inside = 1;
                    place(p, s->places, s->space, op);
                    place(k, s->kernel, s->space, tap);
                    for (int d = 0; d < s->space; d++) {
                        xp[d] = op[d] * s->step[d] + tap[d] * s->spacing[d] - s->before[d];
                        inside &= xp[d] >= 0 && xp[d] < s->size[d];
                    }
                    for (int64_t i = 0; inside && i < s->in; i++)
                        body(arg, s, n, o / s->out * s->in + i, xp, o, op, i, tap);
                }
}

enum which { FORWARD, INPUT, WEIGHT };
struct trial {
    enum which which;
    const struct image *x, *w, *y;
    struct sums sums;
};

static int64_t flat(const int64_t *p, const int64_t *size, int n) {
    int64_t i = 0;
    for (int d = 0; d < n; d++) i = i * size[d] + p[d];
    return i;
}

static void add_product(void *arg, const struct shape *s, int64_t n, int64_t xc, const int64_t *xp, int64_t oc,
                        const int64_t *op, int64_t i, const int64_t *tap) {
    struct trial *t = arg;
    double x = *at(t->x, n, xc, xp), w = *at(t->w, oc, i, tap), y = *at(t->y, n, oc, op), product;
    int64_t to;
    if (t->which == FORWARD) {
        product = x * w;
        to = (n * s->groups * s->out + oc) * volume(s->places, s->space) + flat(op, s->places, s->space);
    } else if (t->which == INPUT) {
        product = y * w;
        to = (n * s->groups * s->in + xc) * volume(s->size, s->space) + flat(xp, s->size, s->space);
    } else {
        product = x * y;
        to = (oc * s->in + i) * volume(s->kernel, s->space) + flat(tap, s->kernel, s->space);
    }
    t->sums.sum[to] += product;
    t->sums.magnitude[to] += fabs(product);
}

static pe_status run(enum which which, const pe_conv_args *args) {
    pe_error err = { 0 };
    pe_status status = which == FORWARD ? pe_conv(ctx, args, &err)
                       : which == INPUT ? pe_conv_input(ctx, args, &err) : pe_conv_weight(ctx, args, &err);
    if (status) fprintf(stderr, "%s\n", err.message);
    return status;
}

static int guards_hold(const struct image *m, const float *before) {
    return memcmp(m->data, before, 16 * sizeof(float)) == 0 &&
           memcmp(m->data + m->floats + 16, before + m->floats + 16, 16 * sizeof(float)) == 0;
}

/* Whether the result is made by Winograd: the gradient to x is a convolution of y. */
static int is_winograd(enum which which, const struct shape *s) {
    struct pe_conv_problem q = { .groups = s->groups, .in = s->in, .out = s->out, .size = { 1, 1, 1 },
                                 .kernel = { 1, 1, 1 }, .step = { 1, 1, 1 }, .spacing = { 1, 1, 1 },
                                 .places = { 1, 1, 1 } };
    if (which == INPUT) q.in = s->out, q.out = s->in;
    for (int i = 0; i < s->space; i++) {
        int d = 3 - s->space + i;
        q.size[d] = which == INPUT ? s->places[i] : s->size[i];
        q.places[d] = which == INPUT ? s->size[i] : s->places[i];
        q.kernel[d] = s->kernel[i], q.step[d] = s->step[i], q.spacing[d] = s->spacing[i];
        q.before[d] = which == INPUT ? s->kernel[i] - 1 - s->before[i] : s->before[i];
    }
    q.images = s->images;
    return which == WEIGHT ? pe_winograd_weight_suits(&q) : pe_winograd_suits(&q);
}

/* How far the sum x of image a, channel c, may be from the definition, where n of them are one channel. */
static double most_error(const struct trial *t, const struct shape *s, int64_t x, int64_t n, double size) {
    int64_t terms = volume(s->kernel, s->space) * (t->which == INPUT ? s->out : s->in);
    if (t->which == WEIGHT) terms = s->images * volume(s->places, s->space);
    if (!is_winograd(t->which, s)) return (double)(terms + 4) * 1.2e-7 * size + 1e-30;
    double most = 0;
    for (int64_t i = x / n * n; i < x / n * n + n; i++) most = fmax(most, t->sums.magnitude[i]);
    int64_t chain = t->which == INPUT ? s->out : s->in;
    if (t->which == WEIGHT) /* the tiles of the last two axes */
        chain = s->images * ((s->places[s->space - 2] + 3) / 4) * ((s->places[s->space - 1] + 3) / 4);
    return PE_WINOGRAD_ERROR(chain) * ldexp(most, -24) + 4 * 1.2e-7 * size + 1e-30;
}

/* act(sum + bias) + residual of every element of the result; the result before is `before` */
static void check_result(struct trial *t, const struct shape *s, const struct image *result, const float *before,
                         const pe_conv_args *args) {
    const pe_tensor *r = &result->t;
    int64_t inner = volume(r->shape + 2, r->ndim - 2), far = 0;
    for (int64_t a = 0; a < r->shape[0]; a++)
        for (int64_t c = 0; c < r->shape[1]; c++)
            for (int64_t i = 0; i < inner; i++) {
                int64_t p[3], x = (a * r->shape[1] + c) * inner + i;
                place(i, r->shape + 2, r->ndim - 2, p);
                float *got = at(result, a, c, p);
                double sum = t->sums.sum[x], size = t->sums.magnitude[x];
                if (args->accumulate) {
                    double start = before[got - result->data];
                    sum += start, size += fabs(start);
                }
                if (args->bias) sum += ((float *)args->bias->data)[c], size += fabs(((float *)args->bias->data)[c]);
                if (args->activation != PE_NO_ACTIVATION) sum = sum > 0 ? sum : 0;
                if (args->residual) {
                    double more = *(float *)((char *)args->residual->data + ((char *)got - (char *)r->data));
                    sum += more, size += fabs(more);
                }
                if (!(fabs(*got - sum) <= most_error(t, s, x, inner, size))) far++;
            }
    CHECK(far == 0);
    if (far)
        fprintf(stderr, "  %d: %lld far; images %lld groups %lld in %lld out %lld space %d\n", t->which, (long long)far,
                (long long)s->images, (long long)s->groups, (long long)s->in, (long long)s->out, s->space);
}

static struct shape any_shape(void) {
    struct shape s;
    do {
        s = (struct shape){ .images = draw(4), .groups = draw(3) ? 1 : 1 + draw(4), .in = 1 + draw(draw(2) ? 4 : 40),
                            .out = 1 + draw(draw(2) ? 5 : 70), .space = 1 + (int)draw(3) };
        for (int d = 0; d < s.space; d++) {
            s.size[d] = 1 + draw(s.space == 1 ? 70 : s.space == 2 ? 20 : 7);
            s.kernel[d] = 1 + draw(4), s.step[d] = 1 + draw(3), s.spacing[d] = 1 + draw(3);
            s.before[d] = (int64_t)draw(4) - (draw(8) == 0);
            if (draw(3) == 0) s.kernel[d] = s.step[d] = s.spacing[d] = 1, s.before[d] = 0;
            s.places[d] = 1 + draw((uint32_t)(s.size[d] / s.step[d] + 3));
            if (draw(3) == 0 && s.kernel[d] == 1) s.places[d] = s.size[d];
        }
    } while (s.images * s.groups * s.in * s.out * volume(s.places, s.space) * volume(s.kernel, s.space) > MOST);
    return s;
}

/* groups of 2, 4 or 8 channels that become as many */
static struct shape any_narrow_groups(void) {
    struct shape s = any_shape();
    s.groups = 1 + draw(11), s.in = s.out = INT64_C(1) << (1 + draw(3));
    return s;
}

static struct shape any_winograd_shape(enum which which) {
    struct shape s;
    do {
        s = (struct shape){ .images = 1 + draw(which == WEIGHT ? 20 : 3), .groups = 1,
                            .in = 32 + draw(draw(2) ? 39 : 130), .out = 32 + draw(draw(2) ? 39 : 130),
                            .size = { 1 }, .kernel = { 1 }, .places = { 1 },
                            .space = 2 + (int)draw(2) };
        for (int d = 0; d < s.space; d++) {
            s.step[d] = s.spacing[d] = 1;
            if (s.space == 3 && d == 0) continue;
            s.size[d] = 4 + draw(17), s.kernel[d] = 3, s.before[d] = draw(3);
            s.places[d] = s.size[d] + 2 * s.before[d] - 2 - (draw(4) == 0);
        }
    } while (!is_winograd(which, &s) || s.images * s.in * s.out * volume(s.places, s.space) > 1200000);
    return s;
}

static pe_conv_args args_for(const struct shape *s, const struct image *x, const struct image *w,
                             const struct image *y) {
    pe_conv_args args = { .x = &x->t, .w = &w->t, .y = &y->t, .groups = s->groups, .activation = PE_NO_ACTIVATION };
    for (int d = 0; d < s->space; d++)
        args.step[d] = s->step[d], args.spacing[d] = s->spacing[d], args.before[d] = s->before[d];
    return args;
}

static float *copy_of(const struct image *m) {
    float *copy = malloc((m->floats + 32) * sizeof *copy);
    memcpy(copy, m->data, (m->floats + 32) * sizeof *copy);
    return copy;
}

/* Sums of one sign only grow: the worst that a chain meets. */
static void make_positive(struct image *m) {
    for (size_t i = 0; i < m->floats + 32; i++) m->data[i] = fabsf(m->data[i]);
}

static void one_trial(enum which which, const struct shape s) {
    struct image x = make_image(s.images, s.groups * s.in, s.size, s.space, (int)draw(3), 0);
    struct image w = make_image(s.groups * s.out, s.in, s.kernel, s.space, (int)draw(3), 0);
    struct image y = make_image(s.images, s.groups * s.out, s.places, s.space, (int)draw(3), 0);
    struct image *result = which == FORWARD ? &y : which == INPUT ? &x : &w, residual = *result;
    if (is_winograd(which, &s) && draw(2)) make_positive(&x), make_positive(&w), make_positive(&y);
    pe_conv_args args = args_for(&s, &x, &w, &y);
    struct trial t = { which, &x, &w, &y, make_sums((int64_t)result->floats + 1) };
    float *before = copy_of(result), bias[400];
    const pe_tensor bias_tensor = { bias, PE_FLOAT32, 1, { result->t.shape[1] }, { 4 } };
    for (int i = 0; i < 400; i++) bias[i] = draw_float();
    args.accumulate = (int)draw(2);
    if (which != WEIGHT) {
        if (draw(2)) args.bias = &bias_tensor;
        if (draw(2)) args.activation = pe_elementwise_find("relu");
        residual.data = copy_of(result);
        residual.t.data = residual.data + 16;
        if (draw(2)) args.residual = &residual.t;
    }
    for_each_product(&s, add_product, &t);
    CHECK(run(which, &args) == PE_OK);
    CHECK(guards_hold(result, before));
    check_result(&t, &s, result, before, &args);
    if (which != WEIGHT) free(residual.data);
    free(before), free(t.sums.sum), free(t.sums.magnitude), free(x.data), free(w.data), free(y.data);
}

static void fill_like(const struct image *to, const struct image *from) {
    int64_t p[3], inner = volume(to->t.shape + 2, to->t.ndim - 2);
    for (int64_t n = 0; n < to->t.shape[0]; n++)
        for (int64_t c = 0; c < to->t.shape[1]; c++)
            for (int64_t i = 0; i < inner; i++) {
                place(i, to->t.shape + 2, to->t.ndim - 2, p);
                *at(to, n, c, p) = *at(from, n, c, p);
            }
}
static int equal(const struct image *a, const struct image *b, int64_t images) {
    int64_t p[3], inner = volume(a->t.shape + 2, a->t.ndim - 2), wrong = 0;
    for (int64_t n = 0; n < images; n++)
        for (int64_t c = 0; c < a->t.shape[1]; c++)
            for (int64_t i = 0; i < inner; i++) {
                place(i, a->t.shape + 2, a->t.ndim - 2, p);
                wrong += !same(*at(a, n, c, p), *at(b, n, c, p));
            }
    return wrong == 0;
}

/* pe_conv with its weight packed, where there is something to pack */
static pe_status run_packed(pe_conv_args *args) {
    size_t bytes;
    pe_error err;
    CHECK(pe_conv_pack_bytes(ctx, args, &bytes, &err) == PE_OK);
    void *packed = bytes ? pe_alloc(ctx, bytes) : NULL;
    if (bytes) CHECK(pe_conv_pack(ctx, args, packed, &err) == PE_OK);
    args->packed = packed;
    pe_status status = run(FORWARD, args);
    pe_free(ctx, packed);
    return status;
}

/* One set of operands in every layout, one to three threads, packed or not, alone and in a batch. */
static void same_bits(enum which which, struct shape s) {
    struct image first[3];
    for (int round = 0; round < 12; round++) {
        int layouts[3] = { round % 3, round / 3 % 3, (round + round / 3) % 3 };
        struct image m[3] = {
            make_image(s.images, s.groups * s.in, s.size, s.space, layouts[0], 0),
            make_image(s.groups * s.out, s.in, s.kernel, s.space, layouts[1], 0),
            make_image(s.images, s.groups * s.out, s.places, s.space, layouts[2], 0),
        };
        struct image *result = &m[which == FORWARD ? 2 : which == INPUT ? 0 : 1];
        for (int i = 0; i < 3; i++)
            if (round) fill_like(&m[i], &first[i]);
        pe_conv_args args = args_for(&s, &m[0], &m[1], &m[2]);
        pe_set_num_threads(ctx, 1 + round % 3);
        if (which != WEIGHT && round == 11) m[0].t.shape[0] = m[2].t.shape[0] = 1;
        CHECK((which == FORWARD && round % 2 ? run_packed(&args) : run(which, &args)) == PE_OK);
        if (round) CHECK(equal(result, &first[result - m], result->t.shape[0]));
        for (int i = 0; i < 3; i++) {
            if (round) free(m[i].data);
            else first[i] = m[i];
        }
    }
    for (int i = 0; i < 3; i++) free(first[i].data);
}

static void test_same_bits(void) {
    struct sharing before = begin_sharing(ctx);
    for (int which = FORWARD; which <= WEIGHT; which++) {
        /* images, groups, in, out, size, kernel, step, spacing, before, places, space */
        static const struct shape shapes[] = {
            { 3, 1, 40, 70, { 14, 14 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 14, 14 }, 2 },
            { 2, 1, 64, 96, { 9, 7 }, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1 }, { 5, 4 }, 2 },
            { 4, 1, 3, 33, { 40, 40 }, { 5, 5 }, { 2, 2 }, { 1, 1 }, { 2, 2 }, { 20, 20 }, 2 },
            { 2, 3, 24, 20, { 20, 20 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0 }, { 20, 20 }, 2 },
            { 2, 33, 1, 1, { 15, 14 }, { 3, 3 }, { 1, 2 }, { 1, 1 }, { 1, 1 }, { 15, 7 }, 2 },
            { 2, 9, 4, 4, { 13, 11 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 13, 11 }, 2 },
            { 2, 3, 8, 8, { 12, 31 }, { 3, 2 }, { 2, 1 }, { 1, 2 }, { 1, 0 }, { 6, 29 }, 2 },
            { 2, 2, 9, 17, { 300 }, { 9 }, { 1 }, { 2 }, { 8 }, { 300 }, 1 },
        };
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) same_bits(which, shapes[i]);
    }
    end_sharing(ctx, &before);
}

/* A depthwise weight is read as it lies: what has no bytes to be packed into must not be written. */
static void test_nothing_to_pack(void) {
    const struct shape s = { 1, 5, 1, 1, { 4, 4 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 4, 4 }, 2 };
    struct image x = make_image(1, 5, s.size, 2, 0, 0), w = make_image(5, 1, s.kernel, 2, 0, 0);
    struct image y = make_image(1, 5, s.places, 2, 0, 0);
    const pe_conv_args args = args_for(&s, &x, &w, &y);
    _Alignas(64) char memory[64] = { 0 }, before[64] = { 0 };
    size_t bytes = 1;
    pe_error err;
    CHECK(pe_conv_pack_bytes(ctx, &args, &bytes, &err) == PE_OK && bytes == 0);
    CHECK(pe_conv_pack(ctx, &args, memory, &err) == PE_ERR_ARGUMENT);
    CHECK(memcmp(memory, before, sizeof memory) == 0);
    free(x.data), free(w.data), free(y.data);
}

static void test_refusals(void) {
    const struct shape s = { 1, 1, 2, 3, { 4, 4 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 4, 4 }, 2 };
    struct image x = make_image(1, 2, s.size, 2, 0, 0), w = make_image(3, 2, s.kernel, 2, 0, 0);
    struct image y = make_image(1, 3, s.places, 2, 0, 0);
    pe_error err;
    pe_conv_args good = args_for(&s, &x, &w, &y), bad = good;
    CHECK(pe_conv(ctx, NULL, &err) == PE_ERR_ARGUMENT);
    bad.groups = 0;
    CHECK(pe_conv(ctx, &bad, &err) == PE_ERR_SHAPE);
    bad = good, bad.step[1] = 0;
    CHECK(pe_conv_input(ctx, &bad, &err) == PE_ERR_ARGUMENT);
    bad = good, bad.before[0] = INT64_MIN;
    CHECK(pe_conv_weight(ctx, &bad, &err) == PE_ERR_ARGUMENT);
    bad = good, bad.activation = 1 << 20;
    CHECK(pe_conv(ctx, &bad, &err) == PE_ERR_ARGUMENT);
    bad = good, bad.residual = &x.t;
    CHECK(pe_conv(ctx, &bad, &err) == PE_ERR_SHAPE);
    bad = good, bad.bias = &(const pe_tensor){ x.data, PE_FLOAT32, 1, { 2 }, { 4 } };
    CHECK(pe_conv(ctx, &bad, &err) == PE_ERR_SHAPE);
    x.t.shape[1] = 3;
    CHECK(pe_conv(ctx, &good, &err) == PE_ERR_SHAPE);
    x.t.ndim = 6;
    CHECK(pe_conv(ctx, &good, &err) == PE_ERR_SHAPE);
    free(x.data), free(w.data), free(y.data);
}

int main(void) {
    ctx = pe_default_context();
    for (int i = 0; i < 900; i++) one_trial((enum which)(i % 3), any_shape());
    for (int i = 0; i < 200; i++) one_trial((enum which)(i % 3), any_narrow_groups());
    for (int i = 0; i < 60; i++) one_trial((enum which)(i % 3), any_winograd_shape((enum which)(i % 3)));
    test_same_bits();
    test_nothing_to_pack();
    test_refusals();
    return check_report();
}
