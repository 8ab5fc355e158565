/* Products of bfloat16, for any layout, shape, pack, batch of rows and thread count, between guard pages. With a
 * float32 operand: the bits of the same product of the operands widened. Of two: the same, or where the level has an
 * instruction for pairs, the bits of that instruction's own order (kernels/half.h), computed here step by step. */
#include "half_chain.h"

/* Cuts f's elements to bfloat16 and gives their upper halves in the same layout, at a guard page. */
static struct operand make_half(struct operand *f, enum layout layout, int at_start) {
    struct operand o = make_guarded(PE_BFLOAT16, f->t.shape[0], f->t.shape[1], layout, at_start);
    for (int64_t i = 0; i < o.t.shape[0]; i++)
        for (int64_t j = 0; j < o.t.shape[1]; j++) {
            uint32_t bits;
            memcpy(&bits, at(&f->t, i, j), sizeof bits);
            uint16_t half = (uint16_t)(bits >> 16);
            bits &= 0xffff0000u;
            memcpy(at(&f->t, i, j), &bits, sizeof bits);
            memcpy((char *)o.t.data + i * o.t.strides[0] + j * o.t.strides[1], &half, sizeof half);
        }
    return o;
}

/* The product of two bfloat16 matrices, given widened: from what c holds, or from 0. */
static void define(const pe_tensor *a, const pe_tensor *b, const pe_tensor *c, int accumulate) {
    for (int64_t i = 0; i < c->shape[0]; i++)
        for (int64_t j = 0; j < c->shape[1]; j++)
            *at(c, i, j) = half_chain(a, b, i, j, accumulate ? *at(c, i, j) : 0);
}

static void check_same(const pe_tensor *c, const pe_tensor *expected, const char *what) {
    int64_t wrong = 0;
    for (int64_t i = 0; i < c->shape[0]; i++)
        for (int64_t j = 0; j < c->shape[1]; j++) wrong += !same(*at(c, i, j), *at(expected, i, j));
    if (wrong)
        fprintf(stderr, "%s: %lld x %lld: %lld wrong\n", what, (long long)c->shape[0], (long long)c->shape[1],
                (long long)wrong);
    CHECK(wrong == 0);
}

static void multiply(const pe_tensor *a, const pe_tensor *b, const void *packed, const pe_tensor *c, int accumulate) {
    pe_error err = { 0 };
    pe_gemm_args args = { .a = a, .b = packed ? NULL : b, .c = c, .activation = PE_NO_ACTIVATION,
                          .accumulate = accumulate, .packed = packed };
    pe_status status = pe_gemm(ctx, &args, &err);
    if (status) fprintf(stderr, "%s\n", err.message);
    CHECK(status == PE_OK);
}

static void *pack(const pe_tensor *b) {
    pe_pack_args args = { .b = b };
    CHECK(pe_pack_bytes(ctx, &args, &args.bytes, NULL) == PE_OK);
    args.packed = pe_alloc(ctx, args.bytes);
    CHECK(pe_pack(ctx, &args, NULL) == PE_OK);
    return args.packed;
}

static void one_shape(int64_t m, int64_t n, int64_t k, enum layout la, enum layout lb, enum layout lc,
                      int accumulate) {
    struct operand a = make_matrix(m, k, la, 0), b = make_matrix(k, n, lb, 0);
    struct operand half_a = make_half(&a, la, (int)draw(2)), half_b = make_half(&b, lb, (int)draw(2));
    struct operand c = make_matrix(m, n, lc, 0), expected = make_matrix(m, n, lc, 0);
    struct operand start = make_matrix(m, n, ROWS, 0), defined = make_matrix(m, n, ROWS, 0);
    const pe_tensor *pairs[3][2] = { { &half_a.t, &half_b.t }, { &half_a.t, &b.t }, { &a.t, &half_b.t } };
    pe_copy_args reset = { &start.t, &expected.t };
    CHECK(pe_copy(ctx, &reset, NULL) == PE_OK);
    multiply(&a.t, &b.t, NULL, &expected.t, accumulate);
    reset.out = &defined.t;
    CHECK(pe_copy(ctx, &reset, NULL) == PE_OK);
    if (half_order() == WIDENED) multiply(&a.t, &b.t, NULL, &defined.t, accumulate);
    else define(&a.t, &b.t, &defined.t, accumulate);
    void *packed = pack(&half_b.t);
    for (int x = 0; x < 5; x++) {
        reset.out = &c.t;
        CHECK(pe_copy(ctx, &reset, NULL) == PE_OK);
        if (x < 3) multiply(pairs[x][0], pairs[x][1], NULL, &c.t, accumulate);
        else multiply(x == 3 ? &a.t : &half_a.t, NULL, packed, &c.t, accumulate);
        check_same(&c.t, x == 0 || x == 4 ? &defined.t : &expected.t, x < 3 ? "bfloat16" : "packed bfloat16");
    }
    pe_free(ctx, packed);
    drop(&a), drop(&b), drop(&half_a), drop(&half_b), drop(&c), drop(&expected), drop(&start), drop(&defined);
}

static void test_shapes(void) {
    for (int round = 0; round < 300; round++)
        one_shape(1 + draw(40), 1 + draw(90), draw(70), any_layout(), any_layout(), any_layout(), (int)draw(2));
    static const int64_t rows[] = { 1, 2, 6, 7, 16, 17, 32, 33, 65, 150 }, depths[] = { 64, 96, 97, 512, 513, 1100 };
    for (int x = 0; x < 10; x++)
        for (int y = 0; y < 6; y++)
            one_shape(rows[x], 130, depths[y], any_layout(), any_layout(), any_layout(), (int)draw(2));
    one_shape(300, 200, 500, ROWS, COLUMNS, ROWS, 0);
    one_shape(300, 200, 544, ROWS, ROWS, ROWS, 1); /* two tasks high, read in place */
}

/* A bfloat16 c: the float32 c, rounded once. */
static void one_rounded(int64_t m, int64_t n, int64_t k, enum layout lc) {
    struct operand a = make_matrix(m, k, any_layout(), 0), b = make_matrix(k, n, any_layout(), 0);
    struct operand half_a = make_half(&a, ROWS, 0), half_b = make_half(&b, COLUMNS, 0);
    struct operand wide = make_matrix(m, n, ROWS, 0);
    struct operand rounded = make_guarded(PE_BFLOAT16, m, n, ROWS, 0), c = make_guarded(PE_BFLOAT16, m, n, lc, 0);
    multiply(&half_a.t, &half_b.t, NULL, &wide.t, 0);
    multiply(&half_a.t, &half_b.t, NULL, &c.t, 0);
    CHECK(pe_copy(ctx, &(pe_copy_args){ &wide.t, &rounded.t }, NULL) == PE_OK);
    int64_t wrong = 0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            wrong += memcmp((char *)c.t.data + i * c.t.strides[0] + j * c.t.strides[1],
                            (char *)rounded.t.data + i * rounded.t.strides[0] + j * rounded.t.strides[1], 2) != 0;
    if (wrong)
        fprintf(stderr, "rounded %lld x %lld x %lld: %lld wrong\n", (long long)m, (long long)k, (long long)n,
                (long long)wrong);
    CHECK(wrong == 0);
    drop(&a), drop(&b), drop(&half_a), drop(&half_b), drop(&wide), drop(&rounded), drop(&c);
}

static void test_rounded(void) {
    for (int round = 0; round < 60; round++) one_rounded(1 + draw(70), 1 + draw(90), draw(70), any_layout());
    one_rounded(700, 2048, 40, ROWS); /* large: written past the caches where that is a multiple of lines */
    one_rounded(700, 2050, 40, ROWS);
}

/* What follows the sum, step by step, and products of a batch one by one. */
static void test_epilogue_and_batch(void) {
    enum { B = 5, M = 37, N = 45, K = 70 };
    struct operand a = make_matrix(B * M, K, ROWS, 0), b = make_matrix(B * K, N, ROWS, 0);
    struct operand half_a = make_half(&a, ROWS, 0), half_b = make_half(&b, ROWS, 0), bias = make_matrix(1, N, ROWS, 0);
    struct operand residual = make_matrix(B * M, N, ROWS, 0), c = make_matrix(B * M, N, ROWS, 0);
    struct operand sums = make_matrix(M, N, ROWS, 0);
    float scale = 0.75f;
    pe_tensor t[4] = { half_a.t, half_b.t, c.t, residual.t }, row = bias.t;
    static const int64_t high[4] = { M, K, M, M };
    for (int x = 0; x < 4; x++) {
        t[x].ndim = 3;
        t[x].shape[2] = t[x].shape[1], t[x].strides[2] = t[x].strides[1];
        t[x].shape[1] = high[x], t[x].strides[1] = t[x].strides[0];
        t[x].shape[0] = B, t[x].strides[0] *= high[x];
    }
    row.ndim = 1, row.shape[0] = N, row.strides[0] = row.strides[1];
    pe_gemm_args args = { .a = &t[0], .b = &t[1], .bias = &row, .c = &t[2], .residual = &t[3], .scale = &scale,
                          .activation = pe_elementwise_find("relu") };
    CHECK(pe_gemm(ctx, &args, NULL) == PE_OK);
    for (int x = 0; x < B; x++) {
        pe_tensor one_a = half_a.t, one_b = half_b.t;
        one_a.data = (char *)t[0].data + x * t[0].strides[0], one_a.shape[0] = M;
        one_b.data = (char *)t[1].data + x * t[1].strides[0], one_b.shape[0] = K;
        multiply(&one_a, &one_b, NULL, &sums.t, 0);
        for (int64_t i = 0; i < M; i++)
            for (int64_t j = 0; j < N; j++) {
                volatile float y = *at(&sums.t, i, j) * scale;
                y = y + *at(&bias.t, 0, j);
                y = y <= 0 ? 0 : y;
                CHECK(same(*at(&c.t, x * M + i, j), y + *at(&residual.t, x * M + i, j)));
            }
    }
    drop(&a), drop(&b), drop(&half_a), drop(&half_b), drop(&bias), drop(&residual), drop(&c), drop(&sums);
}

/* Near the edges of float32: infinities and NaN pass, what is below 2^-126 is 0 where the instruction says so. */
static void test_edges(void) {
    static const float lefts[] = { 0x1p-100f, 0x1p-130f, INFINITY, NAN, -0.0f, 0x1p127f };
    static const float rights[] = { 0x1p-30f, 1, -INFINITY, 0, 0x1p127f };
    for (int x = 0; x < 6; x++)
        for (int y = 0; y < 5; y++)
            for (int k = 1; k < 36; k += 17) {
                struct operand a = make_matrix(3, k, ROWS, 0), b = make_matrix(k, 3, ROWS, 0);
                struct operand c = make_matrix(3, 3, ROWS, 0);
                for (int p = 0; p < k; p++)
                    for (int i = 0; i < 3; i++) *at(&a.t, i, p) = p ? 0 : lefts[x], *at(&b.t, p, i) = p ? 1 : rights[y];
                struct operand half_a = make_half(&a, ROWS, 0), half_b = make_half(&b, ROWS, 0);
                multiply(&half_a.t, &half_b.t, NULL, &c.t, 0);
                for (int i = 0; i < 9; i++) {
                    float expected = half_order() == WIDENED ? chain(&a.t, &b.t, i / 3, i % 3, 0)
                                                             : half_chain(&a.t, &b.t, i / 3, i % 3, 0);
                    CHECK(same(*at(&c.t, i / 3, i % 3), expected));
                }
                drop(&a), drop(&b), drop(&c), drop(&half_a), drop(&half_b);
            }
}

static void test_threads(void) {
    struct operand a = make_matrix(130, 600, ROWS, 0), b = make_matrix(600, 1600, COLUMNS, 0);
    struct operand half_a = make_half(&a, ROWS, 0), half_b = make_half(&b, COLUMNS, 0);
    struct operand c = make_matrix(130, 1600, ROWS, 0), expected = make_matrix(130, 1600, ROWS, 0);
    struct sharing before = begin_sharing(ctx);
    if (half_order() == WIDENED) multiply(&a.t, &b.t, NULL, &expected.t, 0);
    else define(&a.t, &b.t, &expected.t, 0);
    void *packed = pack(&half_b.t);
    for (int threads = 1; threads <= 8; threads += threads == 3 ? 5 : 1)
        for (int again = 0; again < 20; again++) {
            pe_set_num_threads(ctx, threads);
            multiply(&half_a.t, again % 2 ? &half_b.t : NULL, again % 2 ? NULL : packed, &c.t, 0);
            check_same(&c.t, &expected.t, "threads");
        }
    end_sharing(ctx, &before);
    pe_free(ctx, packed);
    drop(&a), drop(&b), drop(&half_a), drop(&half_b), drop(&c), drop(&expected);
}

static void test_refusals(void) {
    float space[64] = { 0 };
    pe_tensor a = { space, PE_BFLOAT16, 2, { 2, 4 }, { 8, 2 } }, b = { space + 8, PE_FLOAT32, 2, { 4, 3 }, { 12, 4 } };
    pe_tensor c = { space + 32, PE_FLOAT32, 2, { 2, 3 }, { 12, 4 } };
    pe_error err = { 0 };
    pe_gemm_args args = { .a = &a, .b = &b, .c = &c, .activation = PE_NO_ACTIVATION };
    CHECK(pe_gemm(ctx, &args, &err) == PE_OK);
    a.strides[1] = 3;
    CHECK(pe_gemm(ctx, &args, &err) == PE_ERR_ARGUMENT && strstr(err.message, "2 bytes"));
    a.strides[1] = 2, a.dtype = PE_FLOAT16;
    CHECK(pe_gemm(ctx, &args, &err) == PE_ERR_DTYPE && strstr(err.message, "float32 or bfloat16"));
    a.dtype = PE_BFLOAT16, c.dtype = PE_BFLOAT16;
    CHECK(pe_gemm(ctx, &args, &err) == PE_ERR_DTYPE && strstr(err.message, "c must be float32"));
    b.dtype = PE_BFLOAT16, args.accumulate = 1;
    CHECK(pe_gemm(ctx, &args, &err) == PE_ERR_DTYPE && strstr(err.message, "accumulate needs a float32 c"));
}

int main(void) {
    prepare();
    test_shapes();
    test_rounded();
    test_epilogue_and_batch();
    test_edges();
    test_threads();
    test_refusals();
    return check_report();
}
