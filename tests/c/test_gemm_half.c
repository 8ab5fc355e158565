/* Products of bfloat16: the bits of the same product of the operands widened to float32, for any layout,
 * shape, pack, batch of rows and thread count, between guard pages. */
#include "operands.h"

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
    struct operand start = make_matrix(m, n, ROWS, 0);
    const pe_tensor *pairs[3][2] = { { &half_a.t, &half_b.t }, { &half_a.t, &b.t }, { &a.t, &half_b.t } };
    pe_copy_args reset = { &start.t, &expected.t };
    CHECK(pe_copy(ctx, &reset, NULL) == PE_OK);
    multiply(&a.t, &b.t, NULL, &expected.t, accumulate);
    void *packed = pack(&half_b.t);
    for (int x = 0; x < 5; x++) {
        reset.out = &c.t;
        CHECK(pe_copy(ctx, &reset, NULL) == PE_OK);
        if (x < 3) multiply(pairs[x][0], pairs[x][1], NULL, &c.t, accumulate);
        else multiply(x == 3 ? &a.t : &half_a.t, NULL, packed, &c.t, accumulate);
        check_same(&c.t, &expected.t, x < 3 ? "bfloat16" : "packed bfloat16");
    }
    pe_free(ctx, packed);
    drop(&a), drop(&b), drop(&half_a), drop(&half_b), drop(&c), drop(&expected), drop(&start);
}

static void test_shapes(void) {
    for (int round = 0; round < 300; round++)
        one_shape(1 + draw(40), 1 + draw(90), draw(60), any_layout(), any_layout(), any_layout(), (int)draw(2));
    static const int64_t rows[] = { 1, 2, 6, 7, 32, 33, 65, 150 }, depths[] = { 96, 97, 385, 1100 };
    for (int x = 0; x < 8; x++)
        for (int y = 0; y < 4; y++)
            one_shape(rows[x], 130, depths[y], any_layout(), any_layout(), any_layout(), (int)draw(2));
    one_shape(300, 700, 500, ROWS, COLUMNS, ROWS, 0);
}

static void test_threads(void) {
    struct operand a = make_matrix(65, 600, ROWS, 0), b = make_matrix(600, 900, COLUMNS, 0);
    struct operand half_a = make_half(&a, ROWS, 0), half_b = make_half(&b, COLUMNS, 0);
    struct operand c = make_matrix(65, 900, ROWS, 0), expected = make_matrix(65, 900, ROWS, 0);
    struct sharing before = begin_sharing(ctx);
    multiply(&a.t, &b.t, NULL, &expected.t, 0);
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
}

int main(void) {
    prepare();
    test_shapes();
    test_threads();
    test_refusals();
    return check_report();
}
