/* Packed weights have the bits of unpacked ones; scale, bias, activation and residual follow the chain, each
 * rounded on its own, in every combination; and what a pack refuses. Operands touch unreadable pages. */
#include "operands.h"

static pe_status multiply(const pe_gemm_args *args) {
    pe_error err = { 0 };
    pe_status status = pe_gemm(ctx, args, &err);
    if (status) fprintf(stderr, "%s\n", err.message);
    return status;
}

/* A pack that ends at an unreadable page where its size lets its start be on a boundary of 64, else begins there. */
static struct operand make_pack(const pe_tensor *b) {
    pe_pack_args args = { .b = b };
    CHECK(pe_pack_bytes(ctx, &args, &args.bytes, NULL) == PE_OK);
    struct operand o = make_matrix((int64_t)args.bytes / 4, 1, ROWS, args.bytes % 64 != 0);
    args.packed = o.t.data;
    CHECK(pe_pack(ctx, &args, NULL) == PE_OK);
    return o;
}

static int64_t differing(const pe_tensor *x, const pe_tensor *y) {
    int64_t wrong = 0;
    for (int64_t i = 0; i < x->shape[0]; i++)
        for (int64_t j = 0; j < x->shape[1]; j++)
            wrong += memcmp(at(x, i, j), at(y, i, j), sizeof(float)) != 0;
    return wrong;
}

static void copy_matrix(const pe_tensor *from, const pe_tensor *to) {
    for (int64_t i = 0; i < from->shape[0]; i++)
        for (int64_t j = 0; j < from->shape[1]; j++) *at(to, i, j) = *at(from, i, j);
}

static void one_shape(int64_t m, int64_t n, int64_t k, enum layout la, enum layout lb, enum layout lc, int accumulate) {
    struct operand a = make_matrix(m, k, la, (int)draw(2)), b = make_matrix(k, n, lb, (int)draw(2));
    struct operand c = make_matrix(m, n, lc, (int)draw(2)), expected = make_matrix(m, n, ROWS, 0);
    struct operand packed = make_pack(&b.t);
    copy_matrix(&c.t, &expected.t);
    pe_gemm_args args = { .a = &a.t, .b = &b.t, .c = &expected.t, .activation = -1, .accumulate = accumulate };
    CHECK(multiply(&args) == PE_OK);
    args.b = NULL, args.c = &c.t, args.packed = packed.t.data;
    CHECK(multiply(&args) == PE_OK);
    int64_t wrong = differing(&c.t, &expected.t);
    if (wrong)
        fprintf(stderr, "m %lld n %lld k %lld: layouts %d %d %d, %lld of c differ\n", (long long)m, (long long)n,
                (long long)k, la, lb, lc, (long long)wrong);
    CHECK(wrong == 0);
    drop(&a), drop(&b), drop(&c), drop(&expected), drop(&packed);
}

static void test_shapes(void) {
    for (int round = 0; round < 600; round++)
        one_shape(1 + draw(40), 1 + draw(140), draw(70), any_layout(), any_layout(), any_layout(), (int)draw(2));
    for (int64_t m = 1; m <= 40; m++) {
        one_shape(m, 1, 37, ROWS, any_layout(), any_layout(), 0);
        one_shape(m, 193, 131, any_layout(), COLUMNS, ROWS, m % 2);
        one_shape(m, 70, 0, any_layout(), any_layout(), any_layout(), m % 2);
    }
    for (int lb = 0; lb < LAYOUTS; lb++)
        for (int lc = 0; lc < LAYOUTS; lc++) one_shape(29, 67, 35, any_layout(), lb, lc, (lb + lc) % 2);
    static const int64_t rows[] = { 1, 2, 7, 33, 100 }, depths[] = { 383, 384, 385, 1025, 3001 };
    for (int x = 0; x < 5; x++)
        for (int y = 0; y < 5; y++)
            one_shape(rows[x], 65 + 64 * (x % 2), depths[y], any_layout(), any_layout(), any_layout(), (x + y) % 2);
    one_shape(300, 129, 1025, any_layout(), any_layout(), any_layout(), 0);
    for (int64_t n = 1; n < 30; n++) /* one row: any number of panels abreast, of any level, whole or cut */
        one_shape(1, 61 * n, 1 + 43 * (n % 9), any_layout(), any_layout(), any_layout(), n % 2);
    one_shape(0, 30, 20, ROWS, ROWS, ROWS, 0);
    one_shape(20, 0, 30, ROWS, ROWS, ROWS, 0);
}

/* The unpacked product is held to the chain in test_gemm.c; here once, so that this file stands alone. */
static void test_chain(void) {
    struct operand a = make_matrix(19, 700, ROWS, 0), b = make_matrix(700, 83, COLUMNS, 0);
    struct operand c = make_matrix(19, 83, ROWS, 0), packed = make_pack(&b.t);
    pe_gemm_args args = { .a = &a.t, .c = &c.t, .activation = -1, .packed = packed.t.data };
    memset(b.t.data, 0, sizeof(float)); /* read no more */
    float first = *at(&b.t, 0, 0);
    CHECK(multiply(&args) == PE_OK);
    CHECK(first == 0);
    for (int64_t i = 0; i < 19; i++)
        for (int64_t j = 1; j < 83; j++) CHECK(same(*at(&c.t, i, j), chain(&a.t, &b.t, i, j, 0.0f)));
    drop(&a), drop(&b), drop(&c), drop(&packed);
}

/* a (2, 3, m, k) in any order of its axes against one packed weight, with a residual of other strides */
static void test_batch(int64_t m, int64_t n, int64_t k, int turned) {
    struct operand a = make_matrix(6 * m, k, ROWS, 0), b = make_matrix(k, n, COLUMNS, 0), packed = make_pack(&b.t);
    struct operand c = make_matrix(6 * m, n, ROWS, 0), expected = make_matrix(6 * m, n, ROWS, 0);
    struct operand residual = make_matrix(6 * m * n, 2, ROWS, 0);
    pe_tensor ta = { a.t.data, PE_FLOAT32, 4, { 2, 3, m, k }, { 3 * m * k * 4, m * k * 4, k * 4, 4 } };
    pe_tensor tc = { c.t.data, PE_FLOAT32, 4, { 2, 3, m, n }, { 3 * m * n * 4, m * n * 4, n * 4, 4 } };
    pe_tensor tr = { residual.t.data, PE_FLOAT32, 4, { 2, 3, m, n }, { 3 * m * n * 8, m * n * 8, n * 8, 8 } };
    if (turned) /* rows of the batch lie between each other */
        ta.strides[0] = k * 4, ta.strides[1] = 2 * k * 4, ta.strides[2] = 6 * k * 4;
    if (turned == 2) tr.strides[1] = 0;
    pe_tensor te = tc;
    te.data = expected.t.data;
    float scale = 0.37f;
    pe_gemm_args args = { .a = &ta, .b = &b.t, .c = &te, .activation = -1, .residual = &tr, .scale = &scale };
    CHECK(multiply(&args) == PE_OK);
    args.b = NULL, args.c = &tc, args.packed = packed.t.data;
    CHECK(multiply(&args) == PE_OK);
    CHECK(memcmp(c.t.data, expected.t.data, (size_t)(6 * m * n) * sizeof(float)) == 0);
    int64_t wrong = 0;
    for (int x = 0; x < 6; x++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                pe_tensor one = ta, more = tr;
                one.data = (char *)ta.data + x / 3 * ta.strides[0] + x % 3 * ta.strides[1];
                more.data = (char *)tr.data + x / 3 * tr.strides[0] + x % 3 * tr.strides[1];
                volatile float scaled = scale * chain(&one, &b.t, i, j, 0.0f);
                wrong += !same(*at(&c.t, x * m + i, j), scaled + *at(&more, i, j));
            }
    CHECK(wrong == 0);
    drop(&a), drop(&b), drop(&c), drop(&expected), drop(&residual), drop(&packed);
}

static void test_threads(void) {
    static const int64_t shapes[][3] = { { 1, 4000, 900 }, { 1, 770, 904 }, { 5, 3000, 700 }, { 33, 1000, 1030 },
                                         { 300, 500, 784 } };
    static const int counts[] = { 1, 2, 3, 8 };
    struct sharing before = begin_sharing(ctx);
    for (int s = 0; s < 5; s++) {
        int64_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        struct operand a = make_matrix(m, k, ROWS, 0), b = make_matrix(k, n, s % 2 ? COLUMNS : ROWS, 0);
        struct operand first = make_matrix(m, n, ROWS, 0), c = make_matrix(m, n, ROWS, 0);
        pe_gemm_args args = { .a = &a.t, .b = &b.t, .c = &first.t, .activation = -1 };
        pe_set_num_threads(ctx, 1);
        CHECK(multiply(&args) == PE_OK);
        args.b = NULL, args.c = &c.t;
        for (int x = 0; x < 4; x++)
            for (int again = 0; again < 5; again++) {
                pe_set_num_threads(ctx, counts[x]);
                struct operand packed = make_pack(&b.t);
                args.packed = packed.t.data;
                CHECK(multiply(&args) == PE_OK);
                CHECK(memcmp(c.t.data, first.t.data, (size_t)(m * n) * sizeof(float)) == 0);
                drop(&packed);
            }
        drop(&a), drop(&b), drop(&first), drop(&c);
    }
    end_sharing(ctx, &before);
}

/* ---- what follows the chain ---- */

/* act(scale * chain + bias) + residual as pyengine.h defines it, step by step into `expected`. */
static void define(const pe_gemm_args *args, const pe_tensor *b, const pe_tensor *before, pe_tensor *expected) {
    for (int64_t i = 0; i < expected->shape[0]; i++)
        for (int64_t j = 0; j < expected->shape[1]; j++) {
            volatile float value = chain(args->a, b, i, j, args->accumulate ? *at(before, i, j) : 0.0f);
            if (args->scale) value = value * *args->scale;
            if (args->bias) value = value + *(float *)((char *)args->bias->data + j * args->bias->strides[0]);
            *at(expected, i, j) = value;
        }
    if (args->activation >= 0) {
        pe_elementwise_args act = { .op = args->activation, .inputs = 1, .in = { expected }, .out = expected };
        CHECK(pe_elementwise(ctx, &act, NULL) == PE_OK);
    }
    for (int64_t i = 0; args->residual && i < expected->shape[0]; i++)
        for (int64_t j = 0; j < expected->shape[1]; j++) *at(expected, i, j) += *at(args->residual, i, j);
}

/* `with`: bit 0 scale, 1 bias, 2 residual, 3 accumulate */
static void one_epilogue(int64_t m, int64_t n, int64_t k, int with, const char *name, enum layout lb, enum layout lc) {
    struct operand a = make_matrix(m, k, any_layout(), 0), b = make_matrix(k, n, lb, 0);
    struct operand c = make_matrix(m, n, lc, 0), before = make_matrix(m, n, ROWS, 0);
    struct operand expected = make_matrix(m, n, ROWS, 0), bias = make_matrix(n, 1, ROWS, 0);
    struct operand residual = make_matrix(m, n, any_layout(), 0), packed = make_pack(&b.t);
    float scale = -1.7f;
    bias.t = (pe_tensor){ bias.t.data, PE_FLOAT32, 1, { n }, { 4 } };
    if (with == 6) residual.t.strides[0] = 0;
    pe_gemm_args args = { .a = &a.t, .c = &c.t, .activation = name ? pe_elementwise_find(name) : PE_NO_ACTIVATION,
                          .scale = with & 1 ? &scale : NULL, .bias = with & 2 ? &bias.t : NULL,
                          .residual = with & 4 ? &residual.t : NULL, .accumulate = with >> 3 };
    define(&args, &b.t, &before.t, &expected.t);
    for (int given = 0; given < 2; given++) {
        copy_matrix(&before.t, &c.t);
        args.b = given ? NULL : &b.t, args.packed = given ? packed.t.data : NULL;
        CHECK(multiply(&args) == PE_OK);
        int64_t wrong = 0;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) wrong += !same(*at(&c.t, i, j), *at(&expected.t, i, j));
        if (wrong) fprintf(stderr, "m %d n %d k %d with %d: %d wrong\n", (int)m, (int)n, (int)k, with, (int)wrong);
        CHECK(wrong == 0);
    }
    drop(&a), drop(&b), drop(&c), drop(&before), drop(&expected), drop(&bias), drop(&residual), drop(&packed);
}

static void test_epilogues(void) {
    static const char *names[] = { NULL, "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid" };
    static const int64_t sizes[][3] = { { 64, 96, 40 }, { 7, 13, 5 }, { 1, 300, 33 }, { 3, 200, 300 },
                                        { 80, 1, 40 }, { 9, 70, 1100 }, { 33, 31, 0 } };
    for (int s = 0; s < 7; s++)
        for (int x = 0; x < 7; x++)
            for (int with = 0; with < 16; with++)
                one_epilogue(sizes[s][0], sizes[s][1], sizes[s][2], with, names[x], (enum layout)(with % 2),
                             (s + x + with) % 3 ? ROWS : any_layout());
}

/* ---- refusals ---- */

static void refused(const pe_gemm_args *args, pe_status code, const char *word) {
    pe_error err = { 0 };
    CHECK(pe_gemm(ctx, args, &err) == code);
    CHECK(strstr(err.message, "gemm") && strstr(err.message, word));
    CHECK(pe_gemm(ctx, args, NULL) == code);
}

static void test_refused_products(void) {
    struct operand b = make_matrix(4, 5, ROWS, 0), packed = make_pack(&b.t);
    float space[200] = { 0 };
    const pe_tensor a = { space, PE_FLOAT32, 2, { 3, 4 }, { 16, 4 } };
    const pe_tensor c = { space + 100, PE_FLOAT32, 2, { 3, 5 }, { 20, 4 } };
    const pe_tensor residual = { space + 50, PE_FLOAT32, 2, { 3, 5 }, { 20, 4 } };
    const pe_gemm_args good = { .a = &a, .c = &c, .activation = -1, .residual = &residual, .packed = packed.t.data };
    CHECK(pe_gemm(ctx, &good, NULL) == PE_OK);
    pe_gemm_args bad = good;
    bad.b = &b.t, refused(&bad, PE_ERR_ARGUMENT, "b and packed");
    bad = good, bad.packed = (char *)packed.t.data + 4, refused(&bad, PE_ERR_ARGUMENT, "no weight that pe_pack made");
    bad = good, bad.packed = NULL, refused(&bad, PE_ERR_ARGUMENT, "b is missing");
    for (int x = 0; x < 8; x++) { /* the first bytes say that it is one */
        ((char *)packed.t.data)[x] ^= 1;
        refused(&good, PE_ERR_ARGUMENT, "no weight that pe_pack made");
        ((char *)packed.t.data)[x] ^= 1;
    }
    CHECK(pe_gemm(ctx, &good, NULL) == PE_OK);
    pe_tensor t;
#define BAD(operand, change, code, word) t = operand, bad = good, bad.operand = &t, change, refused(&bad, code, word)
    BAD(a, t.shape[1] = 3, PE_ERR_SHAPE, "(4, 5)");
    BAD(c, (t.shape[1] = 6, bad.residual = NULL), PE_ERR_SHAPE, "(3, 6)");
    BAD(residual, t.shape[1] = 4, PE_ERR_SHAPE, "residual (3, 4)");
    BAD(residual, t.shape[0] = 1, PE_ERR_SHAPE, "residual (1, 5)");
    BAD(residual, t.ndim = 1, PE_ERR_SHAPE, "residual");
    BAD(residual, t.dtype = PE_INT32, PE_ERR_DTYPE, "residual must be float32");
    BAD(residual, t.strides[1] = 3, PE_ERR_ARGUMENT, "residual");
    BAD(residual, t.data = NULL, PE_ERR_ARGUMENT, "residual has no data");
    BAD(residual, t.data = space + 114, PE_ERR_ARGUMENT, "overlap residual");
    BAD(c, t.data = (float *)packed.t.data + 16, PE_ERR_ARGUMENT, "overlap packed");
    BAD(c, t.data = packed.t.data, PE_ERR_ARGUMENT, "overlap packed"); /* the head alone */
#undef BAD
    drop(&b), drop(&packed);
}

static void test_refused_packs(void) {
    _Alignas(64) float space[1024];
    const pe_tensor b = { space + 900, PE_FLOAT32, 2, { 4, 5 }, { 20, 4 } };
    size_t bytes = 0;
    pe_error err;
    pe_pack_args args = { .b = &b };
    CHECK(pe_pack_bytes(ctx, &args, &bytes, NULL) == PE_OK && bytes <= 900 * sizeof(float));
    const pe_pack_args good = { .b = &b, .packed = space, .bytes = bytes };
    pe_pack_args bad;
    pe_tensor t;
#define REFUSED(change, code, word)                        \
    do {                                                   \
        t = b, bad = good, bad.b = &t, change;             \
        CHECK(pe_pack(ctx, &bad, &err) == (code));         \
        CHECK(strstr(err.message, word));                  \
        CHECK(pe_pack(ctx, &bad, NULL) == (code));         \
    } while (0)
    REFUSED(bad.bytes--, PE_ERR_ARGUMENT, "bytes");
    REFUSED(bad.packed = NULL, PE_ERR_ARGUMENT, "has 0");
    REFUSED(bad.packed = space + 1, PE_ERR_ARGUMENT, "boundary");
    REFUSED((t.dtype = PE_FLOAT64, t.strides[0] = 40, t.strides[1] = 8), PE_ERR_DTYPE, "float64");
    REFUSED(t.ndim = 1, PE_ERR_SHAPE, "2 axes");
    REFUSED(t.ndim = 3, PE_ERR_SHAPE, "has 3");
    REFUSED(t.shape[0] = -1, PE_ERR_SHAPE, "pack");
    REFUSED(t.data = NULL, PE_ERR_ARGUMENT, "pack");
    REFUSED(t.strides[0] = 2, PE_ERR_ARGUMENT, "pack");
    REFUSED((t.shape[0] = INT64_MAX / 8, t.strides[0] = 0), PE_ERR_SHAPE, "");
    REFUSED((t.shape[1] = INT64_MAX, t.strides[1] = 0), PE_ERR_SHAPE, "");
    REFUSED(bad.b = NULL, PE_ERR_ARGUMENT, "b");
#undef REFUSED
    CHECK(pe_pack(ctx, NULL, &err) == PE_ERR_ARGUMENT && strstr(err.message, "arguments"));
    CHECK(pe_pack(ctx, &good, NULL) == PE_OK);
}

int main(void) {
    prepare();
    test_shapes();
    test_chain();
    for (int turned = 0; turned < 3; turned++) {
        test_batch(5, 9, 12, turned);
        test_batch(1, 40, 50, turned);
        test_batch(40, 65, 400, turned);
    }
    test_threads();
    test_epilogues();
    test_refused_products();
    test_refused_packs();
    return check_report();
}
