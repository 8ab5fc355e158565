/* Rows of floats against packed weights, each bit as pyengine.h states it: quantization of rows, int8 and int4
 * products at every level and any threads; packs that are refused; packs back to floats. */
#include "typed_operands.h"

#include <float.h>

static pe_context *ctx;
static int two_roundings; /* the generic level multiplies, then adds */

static float chain(float a, float b, float c) {
    if (!two_roundings) return fmaf(a, b, c);
    volatile float product = a * b;
    return product + c;
}

/* ---- rows of floats to bytes ---- */

static const struct { int dtype; float least, most, zero; } kinds[] = {
    { PE_INT8, -127, 127, 0 }, { PE_UINT8, 0, 255, -1 }, { PE_UINT8, 1, 15, 8 }, { PE_UINT8, 0, 15, -1 },
};

static void check_row(const pe_tensor *x, const pe_tensor *q, int64_t i, int kind, float scale, int32_t zero) {
    float low = 0, high = 0;
    int64_t n = x->shape[1], wrong = 0;
    for (int64_t j = 0; j < n; j++) {
        low = fminf(low, real_at(x, i, j));
        high = fmaxf(high, real_at(x, i, j));
    }
    float steps = kinds[kind].most - kinds[kind].least;
    float expected = kinds[kind].zero >= 0 ? fmaxf(-low, high) / (steps / 2) : high / steps - low / steps;
    expected = fmaxf(expected, FLT_MIN);
    float inverse = 1 / expected, middle = kinds[kind].zero;
    if (middle < 0) middle = fminf(rintf(kinds[kind].least - low * inverse), kinds[kind].most);
    CHECK(scale == expected && (float)zero == middle);
    for (int64_t j = 0; j < n; j++) {
        float y = rintf(real_at(x, i, j) * inverse) + middle;
        y = fminf(fmaxf(y, kinds[kind].least), kinds[kind].most);
        wrong += (float)whole_at(q, i, j) != y;
    }
    CHECK(wrong == 0);
}

static void test_quantize(void) {
    for (int kind = 0; kind < 4; kind++)
        for (int round = 0; round < 60; round++) {
            int64_t m = 1 + draw(9), n = 1 + draw(round < 50 ? 70 : 3000);
            struct operand x = make_matrix(PE_FLOAT32, m, n, any_layout());
            struct operand q = make_matrix(kinds[kind].dtype, m, n, draw(2) ? ROWS : WIDE_ROWS);
            struct operand scale = make_vector(PE_FLOAT32, m, 2), zero = make_vector(PE_INT32, m, -1);
            float stretch = round % 5 == 0 ? 1e38f : round % 5 == 1 ? 1e-40f : 1.0f;
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < n; j++) {
                    float *e = at(&x.t, i, j);
                    *e = round % 7 == 3 ? fabsf(*e) : i == 1 ? 0.0f : *e * stretch;
                }
            pe_quantize_args args = { &x.t, &q.t, &scale.t, &zero.t, kind };
            CHECK(pe_quantize(ctx, &args, NULL) == PE_OK);
            for (int64_t i = 0; i < m; i++)
                check_row(&x.t, &q.t, i, kind, ((float *)scale.t.data)[2 * i], ((int32_t *)zero.t.data)[-i]);
            *(float *)at(&x.t, m - 1, n - 1) = round % 3 == 0 ? NAN : round % 3 == 1 ? INFINITY : -INFINITY;
            CHECK(pe_quantize(ctx, &args, NULL) == PE_OK);
            CHECK(isnan(((float *)scale.t.data)[2 * (m - 1)]));
            CHECK(whole_at(&q.t, m - 1, 0) == ((int32_t *)zero.t.data)[1 - m]);
            if (m > 1) check_row(&x.t, &q.t, 0, kind, ((float *)scale.t.data)[0], ((int32_t *)zero.t.data)[0]);
            drop(&x), drop(&q), drop(&scale), drop(&zero);
        }
}

/* ---- products ---- */

struct pack {
    struct operand b, scale, zero;
    void *memory;
    size_t bytes;
    int group;
};

/* group 0: int8. with_zero: int4 with zeros of its own. */
static struct pack make_pack(int64_t k, int64_t n, int group, int with_zero) {
    struct pack p = { .group = group, .b = make_matrix(group ? PE_UINT8 : PE_INT8, k, n, any_layout()) };
    int64_t groups = group ? (k + group - 1) / group : 1;
    p.scale = make_matrix(PE_FLOAT32, groups, n, any_layout());
    p.zero = make_matrix(PE_FLOAT32, groups, n, any_layout());
    for (int64_t i = 0; i < k && group; i++)
        for (int64_t j = 0; j < n; j++) *(uint8_t *)at(&p.b.t, i, j) &= 15;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t j = 0; j < n; j++) *(float *)at(&p.zero.t, g, j) = with_zero ? (float)draw(16) : 8.0f;
    pe_tensor row = { p.scale.t.data, PE_FLOAT32, 1, { n }, { p.scale.t.strides[1] } };
    pe_qpack_args args = { .b = &p.b.t, .scale = group ? &p.scale.t : &row, .zero = with_zero ? &p.zero.t : NULL,
                           .kind = group ? PE_QPACK_INT4 : PE_QPACK_INT8, .group = group };
    pe_error err = { 0 };
    CHECK(pe_qpack_bytes(ctx, &args, &p.bytes, &err) == PE_OK);
    p.memory = aligned_alloc(64, (p.bytes + 63) / 64 * 64);
    args.packed = p.memory, args.bytes = p.bytes;
    CHECK(pe_qpack(ctx, &args, &err) == PE_OK);
    return p;
}
static void drop_pack(struct pack *p) {
    free(p->memory);
    drop(&p->b), drop(&p->scale), drop(&p->zero);
}

static float defined_int4(const struct pack *p, const pe_tensor *x, int64_t i, int64_t j) {
    int64_t k = x->shape[1], padded = (k + p->group - 1) / p->group * p->group;
    float y = 0, sum = 0;
    for (int64_t step = 0; step < padded; step++) {
        if (step % p->group == 0) sum = 0;
        if (step < k) {
            float w = (float)whole_at(&p->b.t, step, j) - real_at(&p->zero.t, step / p->group, j);
            sum = chain(real_at(x, i, step), w, sum);
        }
        if (step % p->group == p->group - 1) y = chain(real_at(&p->scale.t, step / p->group, j), sum, y);
    }
    return y;
}

static float defined_int8(const struct pack *p, const pe_tensor *q, float scale, int32_t zero, int64_t i, int64_t j) {
    int32_t sum = 0;
    for (int64_t s = 0; s < q->shape[1]; s++) sum += (whole_at(q, i, s) - zero) * whole_at(&p->b.t, s, j);
    volatile float both = scale * real_at(&p->scale.t, 0, j), y = (float)sum * both;
    return y;
}

static void run(const pe_tensor *x, const struct pack *p, const pe_tensor *bias, const pe_tensor *out, int op) {
    pe_error err = { 0 };
    pe_qlinear_args args = { x, p->memory, p->bytes, bias, out, op };
    CHECK(pe_qlinear(ctx, &args, &err) == PE_OK);
    if (err.code) fprintf(stderr, "%s\n", err.message);
}

static void one_product(int64_t m, int64_t n, int64_t k, int group, int with_bias, const char *name) {
    int op = name ? pe_elementwise_find(name) : PE_NO_ACTIVATION;
    struct pack p = make_pack(k, n, group, (int)draw(2));
    struct operand x = make_matrix(PE_FLOAT32, m, k, any_layout()), out = make_matrix(PE_FLOAT32, m, n, any_layout());
    struct operand q = make_matrix(PE_UINT8, m, k, ROWS), scale = make_vector(PE_FLOAT32, m, 1);
    struct operand zero = make_vector(PE_INT32, m, 1), bias = make_vector(PE_FLOAT32, n, draw(2) ? 1 : -3);
    struct operand expected = make_matrix(PE_FLOAT32, m, n, ROWS);
    CHECK(pe_quantize(ctx, &(pe_quantize_args){ &x.t, &q.t, &scale.t, &zero.t, PE_QUANT_U8 }, NULL) == PE_OK);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float y = group ? defined_int4(&p, &x.t, i, j)
                            : defined_int8(&p, &q.t, ((float *)scale.t.data)[i], ((int32_t *)zero.t.data)[i], i, j);
            if (with_bias) y += *(float *)((char *)bias.t.data + j * bias.t.strides[0]);
            *(float *)at(&expected.t, i, j) = y;
        }
    if (name)
        CHECK(pe_elementwise(ctx, &(pe_elementwise_args){ op, 1, { &expected.t }, &expected.t }, NULL) == PE_OK);
    run(&x.t, &p, with_bias ? &bias.t : NULL, &out.t, op);
    int64_t wrong = 0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) wrong += !same(real_at(&out.t, i, j), real_at(&expected.t, i, j));
    if (wrong) fprintf(stderr, "m %d n %d k %d group %d: %d\n", (int)m, (int)n, (int)k, group, (int)wrong);
    CHECK(wrong == 0);
    struct operand back = make_matrix(PE_FLOAT32, k, n, any_layout());
    CHECK(pe_qunpack(ctx, &(pe_qunpack_args){ p.memory, p.bytes, &back.t }, NULL) == PE_OK);
    for (int64_t s = 0; s < k; s += 1 + k / 7)
        for (int64_t j = 0; j < n; j += 1 + n / 7) {
            float w = (float)whole_at(&p.b.t, s, j) - (group ? real_at(&p.zero.t, s / group, j) : 0.0f);
            CHECK(real_at(&back.t, s, j) == w * real_at(&p.scale.t, group ? s / group : 0, j));
        }
    drop_pack(&p);
    drop(&x), drop(&out), drop(&q), drop(&scale), drop(&zero), drop(&bias), drop(&expected), drop(&back);
}

static void test_products(void) {
    static const int groups[] = { 0, 32, 64, 128 };
    static const char *names[] = { NULL, "relu", "gelu" };
    for (int g = 0; g < 4; g++) {
        for (int round = 0; round < 60; round++)
            one_product(1 + draw(12), 1 + draw(100), draw(300), groups[g], round % 2, names[round % 3]);
        one_product(70, 33, 129, groups[g], 1, NULL); /* more rows than a task */
        one_product(101, 5, 2100, groups[g], 0, "relu");
        one_product(1, 700, 640, groups[g], 1, NULL);
    }
}

/* Special rows stay alone: NaN fills its own row and no other. */
static void test_specials(void) {
    for (int group = 0; group <= 32; group += 32) {
        struct pack p = make_pack(64, 40, group, 0);
        struct operand x = make_matrix(PE_FLOAT32, 5, 64, ROWS), out = make_matrix(PE_FLOAT32, 5, 40, ROWS);
        *(float *)at(&x.t, 2, 63) = NAN;
        run(&x.t, &p, NULL, &out.t, PE_NO_ACTIVATION);
        for (int64_t i = 0; i < 5; i++)
            for (int64_t j = 0; j < 40; j++) CHECK((i == 2) == !!isnan(real_at(&out.t, i, j)));
        drop_pack(&p);
        drop(&x), drop(&out);
    }
}

/* The same bits for any threads and any other rows beside. */
static void test_threads(void) {
    static const int64_t shapes[][3] = { { 1, 4096, 1100 }, { 8, 3000, 512 }, { 300, 500, 640 } };
    static const int counts[] = { 1, 2, 3, 8 };
    struct sharing before = begin_sharing(ctx);
    for (int s = 0; s < 3; s++)
        for (int group = 0; group <= 64; group += 64) {
            int64_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
            struct pack p = make_pack(k, n, group, 1);
            struct operand x = make_matrix(PE_FLOAT32, m, k, ROWS), out = make_matrix(PE_FLOAT32, m, n, ROWS);
            struct operand first = make_matrix(PE_FLOAT32, m, n, ROWS);
            for (int c = 0; c < 4; c++)
                for (int again = 0; again < 5; again++) {
                    pe_set_num_threads(ctx, counts[c]);
                    run(&x.t, &p, NULL, c ? &out.t : &first.t, PE_NO_ACTIVATION);
                    if (c) CHECK(memcmp(out.t.data, first.t.data, (size_t)(m * n) * 4) == 0);
                }
            for (int64_t rows = 1; rows < m; rows *= 3) {
                pe_tensor some = x.t, part = out.t;
                some.shape[0] = part.shape[0] = rows;
                run(&some, &p, NULL, &part, PE_NO_ACTIVATION);
                CHECK(memcmp(out.t.data, first.t.data, (size_t)(rows * n) * 4) == 0);
            }
            drop_pack(&p);
            drop(&x), drop(&out), drop(&first);
        }
    end_sharing(ctx, &before);
}

/* ---- packs that are none ---- */

static void refused(const pe_qlinear_args *args, pe_status code, const char *word) {
    pe_error err = { 0 };
    CHECK(pe_qlinear(ctx, args, &err) == code);
    CHECK(strstr(err.message, "qlinear") && strstr(err.message, word));
    if (!strstr(err.message, word)) fprintf(stderr, "%s: %s\n", word, err.message);
}

static void test_refusals(void) {
    for (int group = 0; group <= 32; group += 32) {
        struct pack p = make_pack(64, 40, group, 0);
        struct operand x = make_matrix(PE_FLOAT32, 2, 64, ROWS), out = make_matrix(PE_FLOAT32, 2, 40, ROWS);
        struct operand narrow = make_matrix(PE_FLOAT32, 2, 63, ROWS);
        pe_qlinear_args good = { &x.t, p.memory, p.bytes, NULL, &out.t, PE_NO_ACTIVATION }, bad = good;
        bad.x = &narrow.t, refused(&bad, PE_ERR_SHAPE, "x (2, 63)");
        bad = good, bad.out = &narrow.t, refused(&bad, PE_ERR_SHAPE, "out (2, 63) must be (2, 40)");
        bad = good, bad.packed = NULL, refused(&bad, PE_ERR_ARGUMENT, "missing");
        bad = good, bad.packed_bytes = 8, refused(&bad, PE_ERR_ARGUMENT, "too short");
        bad = good, bad.packed_bytes -= 64, refused(&bad, PE_ERR_ARGUMENT, "has");
        bad = good, bad.packed = (char *)p.memory + 4, refused(&bad, PE_ERR_ARGUMENT, "aligned");
        bad = good, bad.activation = -2, refused(&bad, PE_ERR_ARGUMENT, "activation");
        /* every word of the header changed at will: refused or, where it means nothing, harmless */
        for (int word = 0; word < 16; word++)
            for (int bit = 0; bit < 32; bit++) {
                uint32_t *at_word = (uint32_t *)p.memory + word;
                *at_word ^= 1u << bit;
                pe_error err = { 0 };
                pe_status status = pe_qlinear(ctx, &good, &err);
                CHECK(status != PE_OK || word >= 8);
                *at_word ^= 1u << bit;
            }
        CHECK(pe_qlinear(ctx, &good, NULL) == PE_OK);
        ((uint32_t *)p.memory)[7] *= 2; /* panels of another level */
        refused(&good, PE_ERR_ARGUMENT, "pack again on this level");
        drop_pack(&p);
        drop(&x), drop(&out), drop(&narrow);
    }
    uint8_t bytes[2] = { 3, 16 };
    float scale[2] = { 1, 1 };
    pe_tensor b = { bytes, PE_UINT8, 2, { 1, 2 }, { 2, 1 } }, s = { scale, PE_FLOAT32, 2, { 1, 2 }, { 8, 4 } };
    pe_qpack_args args = { .b = &b, .scale = &s, .kind = PE_QPACK_INT4, .group = 32 };
    pe_error err = { 0 };
    CHECK(pe_qpack_bytes(ctx, &args, &args.bytes, NULL) == PE_OK);
    args.packed = aligned_alloc(64, (args.bytes + 63) / 64 * 64);
    CHECK(pe_qpack(ctx, &args, &err) == PE_ERR_ARGUMENT && strstr(err.message, "0 to 15"));
    args.bytes--;
    CHECK(pe_qpack(ctx, &args, &err) == PE_ERR_ARGUMENT && strstr(err.message, "must have"));
    free(args.packed);
    args.group = 33;
    CHECK(pe_qpack_bytes(ctx, &args, &args.bytes, &err) == PE_ERR_ARGUMENT && strstr(err.message, "group"));
    args.group = 64, s.shape[0] = 2;
    CHECK(pe_qpack_bytes(ctx, &args, &args.bytes, &err) == PE_ERR_SHAPE && strstr(err.message, "scale (2, 2)"));
}

int main(void) {
    pe_machine machine;
    pe_machine_info(&machine);
    two_roundings = strcmp(machine.isa, "generic") == 0;
    ctx = pe_default_context();
    test_quantize();
    test_products();
    test_specials();
    test_threads();
    test_refusals();
    return check_report();
}
