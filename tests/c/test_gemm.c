/* The product against its definition: the chain over k in its order, bit for bit at every level and
 * for any strides, blocks, batch and threads; against float64 within k eps sum |a||b|; between guard
 * pages; and what it refuses. The level is the one in use: PYENGINE_ISA lowers it. */
#include "operands.h"

static int near_float64(const pe_tensor *a, const pe_tensor *b, int64_t i, int64_t j, float got) {
    double sum = 0, size = 0;
    int64_t k = a->shape[1];
    for (int64_t p = 0; p < k; p++) {
        double product = (double)*at(a, i, p) * (double)*at(b, p, j);
        sum += product;
        size += fabs(product);
    }
    return fabs((double)got - sum) <= (double)k * 5.97e-8 * size * (two_roundings ? 2 : 1) + 1e-40;
}

/* Every element, or a sample of about `most`. */
static void check_product(const pe_tensor *a, const pe_tensor *b, const pe_tensor *c, const float *before,
                          int64_t most) {
    int64_t m = c->shape[0], n = c->shape[1], wrong = 0, far = 0;
    int64_t step = m * n > most ? m * n / most : 1;
    for (int64_t x = 0; x < m * n; x += step) {
        int64_t i = x / n, j = x % n;
        float got = *at(c, i, j);
        wrong += !same(got, chain(a, b, i, j, before ? before[x] : 0.0f));
        if (!before) far += !near_float64(a, b, i, j, got);
    }
    if (wrong || far)
        fprintf(stderr, "m %lld n %lld k %lld: %lld wrong, %lld far\n", (long long)m, (long long)n,
                (long long)a->shape[1], (long long)wrong, (long long)far);
    CHECK(wrong == 0);
    CHECK(far == 0);
}

static pe_status multiply(const pe_tensor *a, const pe_tensor *b, const pe_tensor *bias, const pe_tensor *c,
                          int activation, int accumulate) {
    pe_error err = { 0 };
    pe_gemm_args args = { .a = a, .b = b, .bias = bias, .c = c, .activation = activation, .accumulate = accumulate };
    pe_status status = pe_gemm(ctx, &args, &err);
    if (status) fprintf(stderr, "%s\n", err.message);
    return status;
}

static void one_shape(int64_t m, int64_t n, int64_t k, enum layout la, enum layout lb, enum layout lc,
                      int accumulate, int64_t most) {
    struct operand a = make_matrix(m, k, la, (int)draw(2)), b = make_matrix(k, n, lb, (int)draw(2));
    struct operand c = make_matrix(m, n, lc, (int)draw(2));
    float *before = malloc((size_t)(m * n + 1) * sizeof *before);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) before[i * n + j] = *at(&c.t, i, j);
    CHECK(multiply(&a.t, &b.t, NULL, &c.t, PE_NO_ACTIVATION, accumulate) == PE_OK);
    check_product(&a.t, &b.t, &c.t, accumulate ? before : NULL, most);
    free(before);
    drop(&a), drop(&b), drop(&c);
}

static void test_small_shapes(void) {
    for (int round = 0; round < 1500; round++)
        one_shape(1 + draw(40), 1 + draw(40), draw(41), any_layout(), any_layout(), any_layout(),
                  (int)draw(2), 1 << 20);
    for (int la = 0; la < LAYOUTS; la++)
        for (int lb = 0; lb < LAYOUTS; lb++)
            for (int lc = 0; lc < LAYOUTS; lc++)
                one_shape(29, 67, 35, la, lb, lc, (la + lb + lc) % 2, 1 << 20);
}

/* Sizes around the tile, the task, the block of k, the strip and the packed super-block. */
static void test_boundaries(void) {
    static const int64_t edges[] = { 1, 6, 14, 16, 32, 48, 112, 128 };
    for (int x = 0; x < 8; x++)
        for (int64_t d = -1; d <= 1; d++) {
            if (edges[x] + d < 1) continue;
            one_shape(edges[x] + d, 45, 130, any_layout(), any_layout(), any_layout(), 0, 4000);
            one_shape(45, edges[x] + d, 130, any_layout(), any_layout(), any_layout(), 0, 4000);
            one_shape(3, edges[x] + d, 300, ROWS, COLUMNS, ROWS, (int)draw(2), 4000);
        }
    static const int64_t depths[] = { 127, 128, 129, 257, 511, 513, 1023, 1024, 1025, 2049, 3000 };
    for (int x = 0; x < 11; x++) {
        one_shape(30, 250, depths[x], any_layout(), any_layout(), any_layout(), (int)draw(2), 1000);
        one_shape(1 + draw(4), 65, depths[x], ROWS, COLUMNS, ROWS, (int)draw(2), 1000);
        one_shape(1, 700, depths[x], ROWS, ROWS, ROWS, (int)draw(2), 1000);
        one_shape(700, 1, depths[x], any_layout(), any_layout(), any_layout(), 0, 1000);
    }
    one_shape(2300, 2300, 1040, ROWS, COLUMNS, ROWS, 0, 3000);
    one_shape(4200, 300, 1500, COLUMNS, ROWS, ROWS, 1, 3000);
    one_shape(20, 40000, 70, ROWS, ROWS, COLUMNS, 0, 3000);
    one_shape(40000, 33, 65, ROWS, ROWS, ROWS, 0, 3000);
    one_shape(1, 5000, 900, ROWS, COLUMNS, ROWS, 0, 3000);
}

/* ---- threads ---- */

static void test_threads(void) {
    static const int64_t shapes[][3] = { { 64, 512, 784 }, { 512, 784, 64 }, { 257, 319, 1030 },
                                         { 1, 4000, 900 }, { 3, 3000, 700 }, { 4000, 1, 900 },
                                         { 1000, 10, 600 } };
    static const int counts[] = { 1, 2, 3, 8 };
    struct sharing before = begin_sharing(ctx);
    for (int s = 0; s < 7; s++)
        for (int layout = 0; layout < 2; layout++) {
            int64_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
            struct operand a = make_matrix(m, k, ROWS, 0), b = make_matrix(k, n, layout ? COLUMNS : ROWS, 0);
            struct operand first = make_matrix(m, n, ROWS, 0), c = make_matrix(m, n, ROWS, 0);
            for (int x = 0; x < 4; x++)
                for (int again = 0; again < 5; again++) {
                    pe_set_num_threads(ctx, counts[x]);
                    pe_tensor *out = x == 0 ? &first.t : &c.t;
                    CHECK(multiply(&a.t, &b.t, NULL, out, PE_NO_ACTIVATION, 0) == PE_OK);
                    CHECK(memcmp(out->data, first.t.data, (size_t)(m * n) * sizeof(float)) == 0);
                }
            check_product(&a.t, &b.t, &first.t, NULL, 500);
            drop(&a), drop(&b), drop(&first), drop(&c);
        }
    end_sharing(ctx, &before);
}

/* A row of the product has the same bits alone as among others. */
static void test_batch_invariance(void) {
    int64_t m = 70, n = 83, k = 1100;
    struct operand a = make_matrix(m, k, ROWS, 0), b = make_matrix(k, n, COLUMNS, 0);
    struct operand c = make_matrix(m, n, ROWS, 0), part = make_matrix(m, n, ROWS, 0);
    CHECK(multiply(&a.t, &b.t, NULL, &c.t, PE_NO_ACTIVATION, 0) == PE_OK);
    for (int64_t rows = 1; rows < m; rows += rows) {
        pe_tensor some_a = a.t, some_c = part.t;
        some_a.shape[0] = some_c.shape[0] = rows;
        CHECK(multiply(&some_a, &b.t, NULL, &some_c, PE_NO_ACTIVATION, 0) == PE_OK);
        CHECK(memcmp(some_c.data, c.t.data, (size_t)(rows * n) * sizeof(float)) == 0);
    }
    drop(&a), drop(&b), drop(&c), drop(&part);
}

/* ---- batches ---- */

/* a (2, 1, 3, m, k) against b (4, 1, k, n), c (2, 4, 3, m, n); then b without its batch. */
static void test_batch(int64_t m, int64_t n, int64_t k) {
    struct operand a = make_matrix(6 * m, k, ROWS, 0), b = make_matrix(4 * k, n, ROWS, 0);
    struct operand c = make_matrix(24 * m, n, ROWS, 0);
    pe_tensor ta = { a.t.data, PE_FLOAT32, 5, { 2, 1, 3, m, k }, { 3 * m * k * 4, 4, m * k * 4, k * 4, 4 } };
    pe_tensor tb = { b.t.data, PE_FLOAT32, 4, { 4, 1, k, n }, { k * n * 4, 4, n * 4, 4 } };
    pe_tensor tc = { c.t.data, PE_FLOAT32, 5, { 2, 4, 3, m, n },
                     { 12 * m * n * 4, 3 * m * n * 4, m * n * 4, n * 4, 4 } };
    CHECK(multiply(&ta, &tb, NULL, &tc, PE_NO_ACTIVATION, 0) == PE_OK);
    for (int x = 0; x < 24; x++) {
        pe_tensor one_a = a.t, one_b = b.t, one_c = c.t;
        one_a.data = at(&a.t, (x / 12 * 3 + x % 3) * m, 0), one_a.shape[0] = m;
        one_b.data = at(&b.t, x / 3 % 4 * k, 0), one_b.shape[0] = k;
        one_c.data = at(&c.t, x * m, 0), one_c.shape[0] = m;
        check_product(&one_a, &one_b, &one_c, NULL, 2000);
    }
    tb.shape[0] = 1;
    tc = (pe_tensor){ c.t.data, PE_FLOAT32, 5, { 2, 1, 3, m, n }, { 3 * m * n * 4, 4, m * n * 4, n * 4, 4 } };
    CHECK(multiply(&ta, &tb, NULL, &tc, PE_NO_ACTIVATION, 0) == PE_OK);
    pe_tensor rows_b = b.t, rows_c = c.t;
    rows_b.shape[0] = k, rows_c.shape[0] = 6 * m;
    check_product(&a.t, &rows_b, &rows_c, NULL, 2000);
    drop(&a), drop(&b), drop(&c);
}

/* ---- epilogue ---- */

static void test_epilogue(int64_t m, int64_t n, int64_t k, enum layout lb, enum layout lc, const char *name,
                          int step) {
    int op = name ? pe_elementwise_find(name) : PE_NO_ACTIVATION;
    if (name) CHECK(op >= 0);
    struct operand a = make_matrix(m, k, ROWS, 0), b = make_matrix(k, n, lb, 0), c = make_matrix(m, n, lc, 0);
    struct operand bias = make_matrix(n, 1, ROWS, 0), expected = make_matrix(m, n, ROWS, 0);
    struct operand wide = make_matrix(n, 2, ROWS, 0);
    bias.t = (pe_tensor){ bias.t.data, PE_FLOAT32, 1, { n }, { 4 } };
    if (step == 2) bias.t = (pe_tensor){ wide.t.data, PE_FLOAT32, 1, { n }, { 8 } };
    if (step == -1) bias.t.data = (float *)bias.t.data + n - 1, bias.t.strides[0] = -4;
    static const float special[] = { NAN, INFINITY, -INFINITY, -0.0f };
    for (int64_t j = 0; j < n; j++)
        if (draw(9) == 0) *(float *)((char *)bias.t.data + j * bias.t.strides[0]) = special[draw(4)];
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            *at(&expected.t, i, j) =
                chain(&a.t, &b.t, i, j, 0.0f) + *(float *)((char *)bias.t.data + j * bias.t.strides[0]);
    if (name) {
        pe_elementwise_args args = { .op = op, .inputs = 1, .in = { &expected.t }, .out = &expected.t };
        CHECK(pe_elementwise(ctx, &args, NULL) == PE_OK);
    }
    CHECK(multiply(&a.t, &b.t, &bias.t, &c.t, op, 0) == PE_OK);
    int64_t wrong = 0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) wrong += !same(*at(&c.t, i, j), *at(&expected.t, i, j));
    CHECK(wrong == 0);
    drop(&a), drop(&b), drop(&c), drop(&bias), drop(&expected), drop(&wide);
}

static void test_epilogues(void) {
    static const char *names[] = { NULL, "relu", "relu6", "tanh", "gelu", "sigmoid" };
    static const int64_t sizes[][3] = { { 64, 96, 40 }, { 7, 13, 5 }, { 1, 300, 33 }, { 3, 200, 300 },
                                        { 150, 1, 40 }, { 100, 200, 1100 }, { 33, 31, 0 } };
    for (int s = 0; s < 7; s++)
        for (int x = 0; x < 6; x++)
            for (int layout = 0; layout < 3; layout++)
                test_epilogue(sizes[s][0], sizes[s][1], sizes[s][2], (enum layout)(layout % 2),
                              layout == 2 ? COLUMNS : ROWS, names[x], x % 3 == 2 ? -1 : x % 3 + 1);
}

/* ---- NaN and infinities reach exactly the elements of their row or column ---- */

static void test_specials(void) {
    static const int64_t sizes[][3] = { { 5, 7, 9 }, { 17, 35, 20 }, { 1, 50, 30 }, { 2, 50, 200 },
                                        { 65, 33, 70 } };
    for (int s = 0; s < 5; s++)
        for (int lb = 0; lb < 2; lb++)
            for (int special = 0; special < 3; special++) {
                int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
                float value = special == 0 ? NAN : special == 1 ? INFINITY : -INFINITY;
                struct operand a = make_matrix(m, k, ROWS, 0), b = make_matrix(k, n, lb, 0);
                struct operand c = make_matrix(m, n, ROWS, 0);
                *at(&a.t, m - 1, k - 1) = value;
                *at(&b.t, k / 2, n - 1) = value;
                *at(&a.t, 0, k / 3) = 0.0f;
                CHECK(multiply(&a.t, &b.t, NULL, &c.t, PE_NO_ACTIVATION, 0) == PE_OK);
                for (int64_t i = 0; i < m; i++)
                    for (int64_t j = 0; j < n; j++) {
                        CHECK(same(*at(&c.t, i, j), chain(&a.t, &b.t, i, j, 0.0f)));
                        if (i < m - 1 && j < n - 1) CHECK(isfinite(*at(&c.t, i, j)));
                    }
                drop(&a), drop(&b), drop(&c);
            }
}

/* ---- refusals ---- */

static void refused(const pe_gemm_args *args, pe_status code, const char *word) {
    pe_error err = { 0 };
    CHECK(pe_gemm(ctx, args, &err) == code);
    CHECK(err.code == code);
    CHECK(strstr(err.message, "gemm") && strstr(err.message, word));
    CHECK(pe_gemm(ctx, args, NULL) == code);
}

static void test_refusals(void) {
    float space[400] = { 0 };
    const pe_tensor a = { space, PE_FLOAT32, 2, { 3, 4 }, { 16, 4 } };
    const pe_tensor b = { space + 50, PE_FLOAT32, 2, { 4, 5 }, { 20, 4 } };
    const pe_tensor c = { space + 100, PE_FLOAT32, 2, { 3, 5 }, { 20, 4 } };
    const pe_tensor bias = { space + 150, PE_FLOAT32, 1, { 5 }, { 4 } };
    const pe_gemm_args good = { .a = &a, .b = &b, .bias = &bias, .c = &c, .activation = PE_NO_ACTIVATION };
    CHECK(pe_gemm(ctx, &good, NULL) == PE_OK);
    pe_gemm_args bad = good;
    pe_tensor t;
#define BAD(operand, change, code, word) \
    t = operand, bad = good, bad.operand = &t, change, refused(&bad, code, word)
    BAD(a, t.ndim = 1, PE_ERR_SHAPE, "a must have");
    BAD(b, t.ndim = PE_MAX_DIMS + 1, PE_ERR_SHAPE, "b must have");
    BAD(b, t.dtype = PE_FLOAT64, PE_ERR_DTYPE, "float64");
    BAD(c, t.dtype = 77, PE_ERR_DTYPE, "c must be float32");
    BAD(b, t.shape[0] = 3, PE_ERR_SHAPE, "(3, 4)");
    BAD(b, t.shape[0] = 3, PE_ERR_SHAPE, "(3, 5)");
    BAD(c, t.shape[0] = 2, PE_ERR_SHAPE, "(2, 5)");
    BAD(c, t.shape[1] = 6, PE_ERR_SHAPE, "(3, 6)");
    BAD(a, t.shape[0] = -3, PE_ERR_SHAPE, "negative");
    BAD(a, t.strides[1] = 2, PE_ERR_ARGUMENT, "stride");
    BAD(a, t.data = NULL, PE_ERR_ARGUMENT, "a has no data");
    BAD(a, t.data = (char *)space + 1, PE_ERR_ARGUMENT, "aligned");
    BAD(a, t.strides[0] = INT64_MAX - 3, PE_ERR_ARGUMENT, "address space");
    BAD(bias, t.shape[0] = 4, PE_ERR_SHAPE, "bias (4");
    BAD(bias, t.ndim = 2, PE_ERR_SHAPE, "bias");
    BAD(bias, t.ndim = 0, PE_ERR_SHAPE, "bias");
    BAD(c, t.strides[0] = 0, PE_ERR_ARGUMENT, "overlaps itself");
    BAD(c, t.strides[0] = 16, PE_ERR_ARGUMENT, "overlaps itself");
    BAD(c, t.data = space + 8, PE_ERR_ARGUMENT, "overlap a");
    BAD(c, t.data = space + 69, PE_ERR_ARGUMENT, "overlap b");
    BAD(c, t.data = space + 154, PE_ERR_ARGUMENT, "overlap bias");
    BAD(c, t.ndim = 3, PE_ERR_SHAPE, "axes");
#undef BAD
    bad = good, bad.a = NULL, refused(&bad, PE_ERR_ARGUMENT, "a is missing");
    bad = good, bad.c = NULL, refused(&bad, PE_ERR_ARGUMENT, "c is missing");
    bad = good, bad.activation = -2, refused(&bad, PE_ERR_ARGUMENT, "activation");
    bad = good, bad.activation = 1 << 20, refused(&bad, PE_ERR_ARGUMENT, "activation");
    bad = good, bad.activation = pe_elementwise_find("add");
    refused(&bad, PE_ERR_ARGUMENT, "add");
    refused(NULL, PE_ERR_ARGUMENT, "arguments");
    pe_tensor batch_a = { space, PE_FLOAT32, 3, { 2, 3, 4 }, { 48, 16, 4 } };
    pe_tensor batch_b = { space + 50, PE_FLOAT32, 3, { 3, 4, 5 }, { 80, 20, 4 } };
    pe_tensor batch_c = { space + 150, PE_FLOAT32, 3, { 2, 3, 5 }, { 60, 20, 4 } };
    refused(&(pe_gemm_args){ .a = &batch_a, .b = &batch_b, .c = &batch_c, .activation = -1 }, PE_ERR_SHAPE,
            "broadcast");
    refused(&(pe_gemm_args){ .a = &batch_a, .b = &b, .c = &c, .activation = -1 }, PE_ERR_SHAPE, "axes");
    pe_tensor cut = { space, PE_FLOAT32, 3, { 1, 3, 5 }, { 60, 20, 4 } };
    refused(&(pe_gemm_args){ .a = &batch_a, .b = &b, .c = &cut, .activation = -1 }, PE_ERR_SHAPE, "axis 0");
}

static void test_empty(void) {
    float space[64];
    for (int x = 0; x < 64; x++) space[x] = (float)x;
    pe_tensor a = { NULL, PE_FLOAT32, 2, { 3, 0 }, { 4, 4 } };
    pe_tensor b = { NULL, PE_FLOAT32, 2, { 0, 5 }, { 20, 4 } };
    pe_tensor c = { space, PE_FLOAT32, 2, { 3, 5 }, { 20, 4 } };
    pe_tensor bias = { space + 40, PE_FLOAT32, 1, { 5 }, { 4 } };
    CHECK(multiply(&a, &b, NULL, &c, PE_NO_ACTIVATION, 1) == PE_OK);
    CHECK(space[0] == 0 && space[14] == 14); /* c is kept */
    CHECK(multiply(&a, &b, &bias, &c, PE_NO_ACTIVATION, 0) == PE_OK);
    CHECK(space[0] == 40 && space[14] == 44 && space[15] == 15);
    a.shape[0] = c.shape[0] = 0;
    CHECK(multiply(&a, &b, &bias, &c, PE_NO_ACTIVATION, 0) == PE_OK);
    CHECK(space[0] == 40);
}

int main(void) {
    prepare();
    test_small_shapes();
    test_boundaries();
    test_threads();
    test_batch_invariance();
    test_batch(5, 9, 12);
    test_batch(70, 65, 130);
    test_batch(1, 40, 50);
    test_epilogues();
    test_specials();
    test_refusals();
    test_empty();
    return check_report();
}
