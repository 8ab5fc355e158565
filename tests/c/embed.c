/* A program that uses the engine through pyengine.h alone: no Python, no internal header.
 * Prints the level it ran on and returns 0 when every value is right. */
#include "pyengine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int failures;

static void check(int good, const char *what) {
    if (!good) {
        fprintf(stderr, "embed: %s\n", what);
        failures++;
    }
}

static pe_tensor matrix(float *data, int64_t rows, int64_t columns) {
    pe_tensor t = {.data = data, .dtype = PE_FLOAT32, .ndim = 2};
    t.shape[0] = rows;
    t.shape[1] = columns;
    t.strides[0] = columns * (int64_t)sizeof(float);
    t.strides[1] = sizeof(float);
    return t;
}

/* c = relu(a b^T + bias): small integers, so every level gives the exact values */
static void multiply(pe_context *context) {
    enum { M = 37, N = 50, K = 70 };
    static float a[M * K], b[N * K], bias[N], c[M * N];
    for (int i = 0; i < M * K; i++) a[i] = (float)(i % 7 - 3);
    for (int i = 0; i < N * K; i++) b[i] = (float)(i % 5 - 2);
    for (int i = 0; i < N; i++) bias[i] = (float)(i - 20);
    pe_tensor ta = matrix(a, M, K), tb = matrix(b, K, N), tc = matrix(c, M, N);
    tb.strides[0] = sizeof(float); /* stored (N, K): a transpose is a matter of strides */
    tb.strides[1] = K * sizeof(float);
    pe_tensor tbias = {.data = bias, .dtype = PE_FLOAT32, .ndim = 1, .shape = {N}, .strides = {sizeof(float)}};
    pe_gemm_args args = {.a = &ta, .b = &tb, .bias = &tbias, .c = &tc,
                         .activation = pe_elementwise_find("relu")};
    pe_error error;
    check(args.activation >= 0, "no operation called relu");
    check(pe_gemm(context, &args, &error) == PE_OK, "gemm refused its arguments");
    int wrong = 0;
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            float sum = 0;
            for (int p = 0; p < K; p++) sum += a[i * K + p] * b[j * K + p];
            wrong += c[i * N + j] != fmaxf(sum + bias[j], 0);
        }
    check(wrong == 0, "gemm gave wrong values");
    ta.shape[1] = K - 1;
    check(pe_gemm(context, &args, &error) == PE_ERR_SHAPE, "gemm took shapes that do not fit");
    check(strstr(error.message, "gemm") != NULL, "the error does not name the operation");
}

/* y = x * x, with one operand of one row that broadcasts, and the sum of every row */
static void square_and_sum(pe_context *context) {
    enum { ROWS = 3, COLUMNS = 101 };
    static float x[COLUMNS], y[ROWS * COLUMNS], sums[ROWS];
    for (int j = 0; j < COLUMNS; j++) x[j] = (float)(j - 50);
    pe_tensor tx = matrix(x, 1, COLUMNS), ty = matrix(y, ROWS, COLUMNS), tsums = matrix(sums, ROWS, 1);
    pe_elementwise_args multiply_args = {.op = pe_elementwise_find("mul"), .inputs = 2, .in = {&tx, &tx}, .out = &ty};
    check(pe_elementwise(context, &multiply_args, NULL) == PE_OK, "mul refused its arguments");
    check(y[2 * COLUMNS] == 2500 && y[COLUMNS + 50] == 0, "mul gave wrong values");
    pe_reduce_args sum_args = {.op = pe_reduce_find("sum"), .axes = 1u << 1, .in = &ty, .out = &tsums};
    check(pe_reduce(context, &sum_args, NULL) == PE_OK, "sum refused its arguments");
    check(sums[0] == 85850 && sums[2] == 85850, "sum gave wrong values");
}

int main(void) {
    pe_context *context = pe_default_context();
    multiply(context);
    square_and_sum(context);
    pe_machine machine;
    pe_machine_info(&machine);
    printf("%s\n", machine.isa);
    return failures != 0;
}
