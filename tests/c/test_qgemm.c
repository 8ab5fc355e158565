/* The product of bytes against a plain loop in 32 bits: every element, at every level, any strides and sizes,
 * with the extremes that saturating instructions get wrong; packed and not; between guard pages; threads. */
#include "typed_operands.h"

static pe_context *ctx;

static int32_t defined_sum(const pe_tensor *a, const pe_tensor *b, int64_t i, int64_t j, int32_t zero) {
    uint32_t sum = 0;
    for (int64_t p = 0; p < a->shape[1]; p++)
        sum += ((uint32_t)whole_at(a, i, p) - (uint32_t)zero) * (uint32_t)whole_at(b, p, j);
    return (int32_t)sum;
}

struct pack { void *memory; size_t bytes; };

static struct pack make_pack(const pe_tensor *b, const pe_tensor *scale) {
    struct pack p = { NULL, 0 };
    pe_error err = { 0 };
    pe_qpack_args args = { .b = b, .scale = scale, .kind = PE_QPACK_INT8 };
    CHECK(pe_qpack_bytes(ctx, &args, &p.bytes, &err) == PE_OK);
    p.memory = aligned_alloc(64, (p.bytes + 63) / 64 * 64);
    args.packed = p.memory, args.bytes = p.bytes;
    CHECK(pe_qpack(ctx, &args, &err) == PE_OK);
    return p;
}

static void run(pe_qgemm_args args) {
    pe_error err = { 0 };
    CHECK(pe_qgemm(ctx, &args, &err) == PE_OK);
    if (err.code) fprintf(stderr, "%s\n", err.message);
}

static void check_sums(const pe_tensor *a, const pe_tensor *b, const pe_tensor *zero, const pe_tensor *c,
                       int64_t most) {
    int64_t m = c->shape[0], n = c->shape[1], wrong = 0, step = m * n > most ? m * n / most : 1;
    for (int64_t x = 0; x < m * n; x += step) {
        int64_t i = x / n, j = x % n;
        int32_t z = zero ? *(int32_t *)((char *)zero->data + (zero->shape[0] > 1 ? i * zero->strides[0] : 0)) : 0;
        wrong += whole_at(c, i, j) != defined_sum(a, b, i, j, z);
    }
    if (wrong)
        fprintf(stderr, "m %lld n %lld k %lld %s: %lld wrong\n", (long long)m, (long long)n, (long long)a->shape[1],
                pe_dtype_name(a->dtype), (long long)wrong);
    CHECK(wrong == 0);
}

static void one_shape(int64_t m, int64_t n, int64_t k, int64_t most) {
    struct operand a = make_matrix(draw(2) ? PE_INT8 : PE_UINT8, m, k, any_layout());
    struct operand b = make_matrix(PE_INT8, k, n, any_layout()), c = make_matrix(PE_INT32, m, n, any_layout());
    struct operand zero = make_vector(PE_INT32, draw(2) ? m : 1, draw(2) ? 1 : -2);
    const pe_tensor *z = draw(2) ? &zero.t : NULL;
    run((pe_qgemm_args){ .a = &a.t, .b = &b.t, .c = &c.t, .zero_a = z, .activation = PE_NO_ACTIVATION });
    check_sums(&a.t, &b.t, z, &c.t, most);
    struct pack p = make_pack(&b.t, NULL);
    struct operand again = make_matrix(PE_INT32, m, n, any_layout());
    run((pe_qgemm_args){ .a = &a.t, .packed = p.memory, .packed_bytes = p.bytes, .c = &again.t, .zero_a = z,
                         .activation = PE_NO_ACTIVATION });
    int64_t differ = 0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) differ += whole_at(&c.t, i, j) != whole_at(&again.t, i, j);
    CHECK(differ == 0);
    free(p.memory);
    drop(&a), drop(&b), drop(&c), drop(&zero), drop(&again);
}

static void test_shapes(void) {
    for (int round = 0; round < 600; round++) one_shape(1 + draw(20), 1 + draw(80), draw(40), 1 << 20);
    static const int64_t edges[] = { 1, 4, 6, 8, 12, 16, 32, 48, 64, 96, 128 };
    for (int x = 0; x < 11; x++)
        for (int64_t d = -1; d <= 1; d++) {
            if (edges[x] + d < 1) continue;
            one_shape(edges[x] + d, 45, 66, 4000);
            one_shape(7, edges[x] + d, 130, 4000);
            one_shape(5, 70, edges[x] + d, 4000);
        }
    /* around the block of 512 groups, and tasks of 96 rows */
    static const int64_t depths[] = { 2047, 2048, 2049, 4095, 4097, 6001 };
    for (int x = 0; x < 6; x++) one_shape(1 + draw(100), 1 + draw(150), depths[x], 500);
    one_shape(200, 300, 500, 4000);
    one_shape(1, 3000, 700, 4000);
    one_shape(3000, 1, 100, 4000);
    one_shape(600, 640, 70, 4000);  /* a large c, which may be written past the caches */
    one_shape(250, 300, 4200, 4000); /* slices of k: more of a than a quarter of L2 */
}

/* Values at which the shortcuts break: pmaddubsw saturates at 255 * 127 * 2, and sums may reach k * 255 * 128. */
static void fill(const pe_tensor *t, int value) {
    for (int64_t i = 0; i < t->shape[0]; i++)
        for (int64_t j = 0; j < t->shape[1]; j++) *(char *)at(t, i, j) = (char)value;
}

static void test_extremes(void) {
    static const int lefts[] = { 255, 128, 127, 0 }, rights[] = { -128, 127, -1 };
    static const int64_t depths[] = { 3, 64, 1001, 33000, 70000 }; /* the last sums pass 2^31 */
    for (int x = 0; x < 4; x++)
        for (int y = 0; y < 3; y++)
            for (int s = 0; s < 2; s++)
                for (int d = 0; d < 5; d++) {
                    struct operand a = make_matrix(s ? PE_INT8 : PE_UINT8, 7, depths[d], ROWS);
                    struct operand b = make_matrix(PE_INT8, depths[d], 3, COLUMNS);
                    struct operand c = make_matrix(PE_INT32, 7, 3, ROWS);
                    fill(&a.t, lefts[x]), fill(&b.t, rights[y]);
                    run((pe_qgemm_args){ .a = &a.t, .b = &b.t, .c = &c.t, .activation = PE_NO_ACTIVATION });
                    uint32_t left = (uint32_t)whole_at(&a.t, 0, 0), right = (uint32_t)whole_at(&b.t, 0, 0);
                    for (int e = 0; e < 21; e++)
                        CHECK(whole_at(&c.t, e / 3, e % 3) == (int32_t)((uint32_t)depths[d] * left * right));
                    drop(&a), drop(&b), drop(&c);
                }
}

/* ---- the float epilogue, step by step as the header states it ---- */

static void test_epilogue(int64_t m, int64_t n, int64_t k, const char *name, int one_scale, int packed_scale) {
    int op = name ? pe_elementwise_find(name) : PE_NO_ACTIVATION;
    struct operand a = make_matrix(PE_UINT8, m, k, ROWS), b = make_matrix(PE_INT8, k, n, COLUMNS);
    struct operand c = make_matrix(PE_FLOAT32, m, n, any_layout()), expected = make_matrix(PE_FLOAT32, m, n, ROWS);
    struct operand sa = make_vector(PE_FLOAT32, one_scale ? 1 : m, 1), sb = make_vector(PE_FLOAT32, n, -1);
    struct operand zero = make_vector(PE_INT32, one_scale ? 1 : m, 1), bias = make_vector(PE_FLOAT32, n, 2);
    struct pack p = make_pack(&b.t, &sb.t);
    for (int64_t i = 0; i < zero.t.shape[0]; i++) ((int32_t *)zero.t.data)[i] = (int32_t)draw(256);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            int64_t r = one_scale ? 0 : i;
            volatile float scale = ((float *)sa.t.data)[r] * ((float *)sb.t.data)[-j];
            volatile float y = (float)defined_sum(&a.t, &b.t, i, j, ((int32_t *)zero.t.data)[r]) * scale;
            *(float *)at(&expected.t, i, j) = y + ((float *)bias.t.data)[2 * j];
        }
    if (name)
        CHECK(pe_elementwise(ctx, &(pe_elementwise_args){ op, 1, { &expected.t }, &expected.t }, NULL) == PE_OK);
    run((pe_qgemm_args){ .a = &a.t, .b = packed_scale ? NULL : &b.t, .packed = packed_scale ? p.memory : NULL,
                         .packed_bytes = p.bytes, .c = &c.t, .zero_a = &zero.t, .scale_a = &sa.t,
                         .scale_b = packed_scale ? NULL : &sb.t, .bias = &bias.t, .activation = op });
    int64_t wrong = 0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) wrong += !same(real_at(&c.t, i, j), real_at(&expected.t, i, j));
    CHECK(wrong == 0);
    free(p.memory);
    drop(&a), drop(&b), drop(&c), drop(&expected), drop(&sa), drop(&sb), drop(&zero), drop(&bias);
}

/* ---- threads ---- */

static void test_threads(void) {
    static const int64_t shapes[][3] = { { 300, 400, 900 }, { 1, 4096, 1500 }, { 8, 3000, 700 }, { 2000, 64, 300 } };
    static const int counts[] = { 1, 2, 3, 8 };
    struct sharing before = begin_sharing(ctx);
    for (int s = 0; s < 4; s++) {
        int64_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        struct operand a = make_matrix(PE_INT8, m, k, ROWS), b = make_matrix(PE_INT8, k, n, COLUMNS);
        struct operand first = make_matrix(PE_INT32, m, n, ROWS), c = make_matrix(PE_INT32, m, n, ROWS);
        for (int x = 0; x < 4; x++)
            for (int again = 0; again < 5; again++) {
                pe_set_num_threads(ctx, counts[x]);
                const pe_tensor *out = x == 0 ? &first.t : &c.t;
                run((pe_qgemm_args){ .a = &a.t, .b = &b.t, .c = out, .activation = PE_NO_ACTIVATION });
                CHECK(memcmp(out->data, first.t.data, (size_t)(m * n) * 4) == 0);
            }
        check_sums(&a.t, &b.t, NULL, &first.t, 500);
        drop(&a), drop(&b), drop(&first), drop(&c);
    }
    end_sharing(ctx, &before);
}

/* ---- refusals ---- */

static void refused(const pe_qgemm_args *args, pe_status code, const char *word) {
    pe_error err = { 0 };
    CHECK(pe_qgemm(ctx, args, &err) == code);
    CHECK(strstr(err.message, "qgemm") && strstr(err.message, word));
    if (!strstr(err.message, word)) fprintf(stderr, "%s: %s\n", word, err.message);
}

static void test_refusals(void) {
    int32_t space[100] = { 0 };
    char bytes[100] = { 0 };
    const pe_tensor a = { bytes, PE_UINT8, 2, { 3, 4 }, { 4, 1 } };
    const pe_tensor b = { bytes + 20, PE_INT8, 2, { 4, 5 }, { 5, 1 } };
    const pe_tensor c = { space, PE_INT32, 2, { 3, 5 }, { 20, 4 } }, z = { space + 40, PE_INT32, 1, { 3 }, { 4 } };
    const pe_tensor s = { space + 50, PE_FLOAT32, 1, { 3 }, { 4 } };
    const pe_qgemm_args good = { .a = &a, .b = &b, .c = &c, .zero_a = &z, .activation = PE_NO_ACTIVATION };
    CHECK(pe_qgemm(ctx, &good, NULL) == PE_OK);
    pe_qgemm_args bad = good;
    pe_tensor t;
#define BAD(operand, from, change, code, word) \
    t = from, bad = good, bad.operand = &t, change, refused(&bad, code, word)
    BAD(a, a, t.ndim = 1, PE_ERR_SHAPE, "a must have 2 axes");
    BAD(a, a, t.dtype = PE_FLOAT32, PE_ERR_DTYPE, "a must be int8 or uint8");
    BAD(b, b, t.dtype = PE_UINT8, PE_ERR_DTYPE, "b must be int8");
    BAD(c, c, t.dtype = PE_INT64, PE_ERR_DTYPE, "c must be float32 or int32");
    BAD(b, b, t.shape[0] = 3, PE_ERR_SHAPE, "(3, 5)");
    BAD(c, c, t.shape[1] = 4, PE_ERR_SHAPE, "c (3, 4) must be (3, 5)");
    BAD(a, a, t.data = NULL, PE_ERR_ARGUMENT, "a of shape (3, 4) has no data");
    BAD(c, c, t.strides[0] = 16, PE_ERR_ARGUMENT, "overlaps itself");
    BAD(c, c, t.data = bytes, PE_ERR_ARGUMENT, "overlap");
    BAD(zero_a, z, t.shape[0] = 2, PE_ERR_SHAPE, "zero_a (2,) must have 3 elements or 1");
    BAD(scale_a, s, (void)0, PE_ERR_ARGUMENT, "need a float32 c");
    BAD(c, c, t.dtype = PE_FLOAT32, PE_ERR_ARGUMENT, "needs scale_a");
    BAD(c, c, (t.dtype = PE_FLOAT32, bad.scale_a = &s), PE_ERR_ARGUMENT, "needs scale_b");
#undef BAD
    bad = good, bad.b = NULL, refused(&bad, PE_ERR_ARGUMENT, "either b or a pack");
    bad = good, bad.a = NULL, refused(&bad, PE_ERR_ARGUMENT, "a is missing");
    bad = good, bad.activation = 1 << 20, refused(&bad, PE_ERR_ARGUMENT, "float32 c");
    refused(NULL, PE_ERR_ARGUMENT, "arguments");
}

int main(void) {
    ctx = pe_default_context();
    test_shapes();
    test_extremes();
    static const char *names[] = { NULL, "relu", "gelu", "tanh" };
    for (int x = 0; x < 4; x++) {
        test_epilogue(1, 300, 65, names[x], x % 2, 1);
        test_epilogue(9, 70, 130, names[x], x < 2, 0);
        test_epilogue(101, 33, 2100, names[x], 0, x % 2);
    }
    test_threads();
    test_refusals();
    return check_report();
}
