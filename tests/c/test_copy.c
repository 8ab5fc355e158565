/* pe_copy: every pair of types, transposes and strides, what does not fit. */
#include "check.h"
#include "pyengine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static pe_context *context;
static pe_error error;

static pe_status copy(const pe_tensor *out, const pe_tensor *in) {
    pe_copy_args args = {in, out};
    memset(&error, 0, sizeof error);
    return pe_copy(context, &args, &error);
}
static pe_tensor line(void *data, int dtype, int64_t n) {
    return (pe_tensor){data, dtype, 1, {n}, {(int64_t)pe_dtype_size(dtype)}};
}

/* small whole numbers survive every type and back; 67 of them pass vectors and tails */
static void test_pairs(void) {
    enum { N = 67 };
    float from[N], back[N];
    char a[8 * N], b[8 * N];
    for (int i = 0; i < N; i++) from[i] = (float)i;
    pe_tensor first = line(from, PE_FLOAT32, N), last = line(back, PE_FLOAT32, N);
    for (int x = 0; x < PE_DTYPE_COUNT; x++)
        for (int y = 0; y < PE_DTYPE_COUNT; y++) {
            pe_tensor ta = line(a, x, N), tb = line(b, y, N), one = line(a, x, 1);
            CHECK(copy(&ta, &first) == PE_OK && copy(&tb, &ta) == PE_OK && copy(&last, &tb) == PE_OK);
            int right = 1;
            for (int i = 0; i < N; i++)
                right &= back[i] == (x == PE_BOOL || y == PE_BOOL ? (float)(i != 0) : from[i]);
            CHECK(right);
            one.data = a + pe_dtype_size(x); /* the element 1, broadcast */
            CHECK(copy(&tb, &one) == PE_OK && copy(&last, &tb) == PE_OK);
            for (int i = 0; i < N; i++) right &= back[i] == 1;
            CHECK(right);
            pe_tensor reversed = ta;
            reversed.data = a + (N - 1) * pe_dtype_size(x);
            reversed.strides[0] = -ta.strides[0];
            CHECK(copy(&tb, &reversed) == PE_OK && copy(&last, &tb) == PE_OK);
            CHECK(back[0] != 0 && back[N - 1] == 0);
        }
}

static void test_what_does_not_fit(void) {
    float x[8] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, -1.9f, 127.9f, 300.0f};
    double wide[8];
    int8_t i8[8];
    int64_t i64[8];
    int32_t i32[8];
    uint8_t u8[8];
    pe_tensor tx = line(x, PE_FLOAT32, 8), tw = line(wide, PE_FLOAT64, 8), t8 = line(i8, PE_INT8, 8);
    pe_tensor t64 = line(i64, PE_INT64, 8), t32 = line(i32, PE_INT32, 8), tu = line(u8, PE_UINT8, 8);
    CHECK(copy(&tw, &tx) == PE_OK);
    for (int source = 0; source < 2; source++) {
        const pe_tensor *from = source ? &tw : &tx;
        CHECK(copy(&t8, from) == PE_OK && copy(&t64, from) == PE_OK && copy(&t32, from) == PE_OK &&
              copy(&tu, from) == PE_OK);
        for (int i = 0; i < 5; i++)
            CHECK(i8[i] == INT8_MIN && i64[i] == INT64_MIN && i32[i] == INT32_MIN && u8[i] == 0);
        CHECK(i8[5] == -1 && i8[6] == 127 && i8[7] == INT8_MIN && i64[7] == 300);
        CHECK(u8[5] == 0 && u8[6] == 127 && u8[7] == 0);
    }
    int32_t big[3] = {-1, 257, INT32_MAX};
    pe_tensor tb = line(big, PE_INT32, 3), tu3 = line(u8, PE_UINT8, 3);
    CHECK(copy(&tu3, &tb) == PE_OK && u8[0] == 255 && u8[1] == 1 && u8[2] == 255);
}

/* all 65536 halves there and back, and ties between neighbours go to the even one */
static void test_halves(void) {
    enum { N = 65536 };
    uint16_t *half = malloc(2 * N), *again = malloc(2 * N);
    float *wide = malloc(4 * N);
    double *ties = malloc(8 * N);
    for (int type = PE_BFLOAT16; type <= PE_FLOAT16; type++) {
        for (int i = 0; i < N; i++) half[i] = (uint16_t)i;
        pe_tensor th = line(half, type, N), tw = line(wide, PE_FLOAT32, N), ta = line(again, type, N);
        CHECK(copy(&tw, &th) == PE_OK && copy(&ta, &tw) == PE_OK);
        long wrong = 0;
        for (int i = 0; i < N; i++)
            wrong += wide[i] == wide[i] ? half[i] != again[i] : (again[i] & 0x7fff) <= 0x7c00;
        CHECK(wrong == 0);
        /* halfway between finite neighbours, exact in double, and a hair above it */
        const int top = type == PE_FLOAT16 ? 0x7bff : 0x7f7f;
        for (int hair = 0; hair < 2; hair++) {
            for (int i = 0; i < top; i++)
                ties[i] = ((double)wide[i] + (double)wide[i + 1]) / 2 * (hair ? 1 + 0x1p-40 : 1);
            pe_tensor tt = line(ties, PE_FLOAT64, top), to = line(again, type, top);
            CHECK(copy(&to, &tt) == PE_OK);
            wrong = 0;
            for (int i = 0; i < top; i++) wrong += again[i] != (hair || i % 2 ? i + 1 : i);
            CHECK(wrong == 0);
        }
    }
    int64_t near_tie = (INT64_C(1) << 62) + (INT64_C(1) << 54) + 1; /* bfloat16: 1 above a tie */
    uint16_t up;
    pe_tensor ti = line(&near_tie, PE_INT64, 1), tu = line(&up, PE_BFLOAT16, 1);
    CHECK(copy(&tu, &ti) == PE_OK && up == 0x5e81);
    free(half), free(again), free(wide), free(ties);
}

static void test_transposes(void) {
    static const int64_t sizes[][2] = {{1, 1},   {2, 3},   {16, 16},   {17, 31},
                                       {100, 3}, {3, 100}, {130, 257}, {512, 512}};
    static const int types[] = {PE_INT8, PE_INT16, PE_FLOAT32, PE_FLOAT64};
    enum { MOST = 512 * 512 };
    char *a = malloc(8 * MOST), *b = malloc(8 * MOST);
    for (int i = 0; i < 8 * MOST; i++) a[i] = (char)(i * 31 + i / 251);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            const int64_t m = sizes[s][0], n = sizes[s][1], size = (int64_t)pe_dtype_size(types[t]);
            pe_tensor in = {a, types[t], 2, {n, m}, {size, n * size}};
            pe_tensor out = {b, types[t], 2, {n, m}, {m * size, size}};
            CHECK(copy(&out, &in) == PE_OK);
            long wrong = 0;
            for (int64_t i = 0; i < n; i++)
                for (int64_t j = 0; j < m; j++)
                    wrong += memcmp(b + (i * m + j) * size, a + (j * n + i) * size, (size_t)size) != 0;
            CHECK(wrong == 0);
        }
    free(a), free(b);
}

static void test_errors(void) {
    float a[6] = {0};
    double d[6];
    pe_tensor ta = line(a, PE_FLOAT32, 6), tb = line(a, PE_FLOAT32, 5), td = line(d, PE_FLOAT64, 5), bad = ta;
    CHECK(copy(&ta, &ta) == PE_OK);
    CHECK(copy(&tb, &ta) == PE_ERR_SHAPE && strstr(error.message, "copy"));
    CHECK(copy(&td, &ta) == PE_ERR_SHAPE);
    CHECK(copy(NULL, &ta) == PE_ERR_ARGUMENT && copy(&ta, NULL) == PE_ERR_ARGUMENT);
    bad.dtype = PE_DTYPE_COUNT;
    CHECK(copy(&bad, &ta) == PE_ERR_DTYPE && copy(&ta, &bad) == PE_ERR_DTYPE);
    bad = ta, bad.dtype = PE_INT32; /* the same memory as two types */
    CHECK(copy(&bad, &ta) == PE_ERR_ARGUMENT);
}

int main(void) {
    context = pe_default_context();
    test_pairs();
    test_what_does_not_fit();
    test_halves();
    test_transposes();
    test_errors();
    return check_report();
}
