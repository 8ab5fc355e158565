/* Reductions: right against sums in double, the same bits for every layout and thread count. */
#include "check.h"
#include "../../csrc/pyengine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 9001, COLUMNS = 37 };

static float *numbers(int64_t n) {
    float *x = malloc((size_t)n * sizeof *x);
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-24f - 0.5f;
    }
    return x;
}

static pe_tensor matrix(void *data, int dtype, int64_t rows, int64_t columns, int64_t row, int64_t column) {
    return (pe_tensor){data, dtype, 2, {rows, columns}, {row, column}};
}

static pe_status reduce(int op, uint32_t axes, pe_tensor in, pe_tensor out, pe_error *err) {
    return pe_reduce(pe_default_context(), &(pe_reduce_args){op, axes, &in, &out}, err);
}

/* down the columns, along rows of the transposed copy, and through gathered blocks */
static void layouts_agree(const float *x, int op, int64_t rows) {
    static float columns[COLUMNS], transposed[COLUMNS], gathered[COLUMNS];
    float *t = malloc(sizeof(float) * COLUMNS * (size_t)rows * 2);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < COLUMNS; j++) t[j * rows + i] = x[i * COLUMNS + j];
    CHECK(!reduce(op, 1, matrix((void *)x, PE_FLOAT32, rows, COLUMNS, COLUMNS * 4, 4),
                  matrix(columns, PE_FLOAT32, 1, COLUMNS, 4, 4), NULL));
    CHECK(!reduce(op, 2, matrix(t, PE_FLOAT32, COLUMNS, rows, rows * 4, 4),
                  matrix(transposed, PE_FLOAT32, COLUMNS, 1, 4, 4), NULL));
    CHECK(!memcmp(columns, transposed, sizeof columns));
    for (int64_t i = rows * COLUMNS; i-- > 0;) t[2 * i] = t[i];
    CHECK(!reduce(op, 2, matrix(t, PE_FLOAT32, COLUMNS, rows, rows * 8, 8),
                  matrix(gathered, PE_FLOAT32, COLUMNS, 1, 4, 4), NULL));
    CHECK(!memcmp(columns, gathered, sizeof columns));
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) sum += x[i * COLUMNS];
    if (op == pe_reduce_find("sum")) CHECK(fabs(sum - columns[0]) < 1e-4);
    if (op == pe_reduce_find("mean")) CHECK(fabs(sum / (double)rows - columns[0]) < 1e-6);
    free(t);
}

static void threads_agree(void) {
    const int64_t n = 3000001;
    float *x = numbers(n), one, many;
    for (int op = 0; op < pe_reduce_count(); op++) {
        pe_tensor in = {x, PE_FLOAT32, 1, {n}, {4}};
        pe_set_num_threads(pe_default_context(), 1);
        CHECK(!reduce(op, 1, in, (pe_tensor){&one, PE_FLOAT32, 1, {1}, {4}}, NULL));
        pe_set_num_threads(pe_default_context(), 3);
        CHECK(!reduce(op, 1, in, (pe_tensor){&many, PE_FLOAT32, 1, {1}, {4}}, NULL));
        CHECK(!memcmp(&one, &many, sizeof one));
    }
    pe_set_num_threads(pe_default_context(), 1);
    free(x);
}

static void empty_and_nan(void) {
    float x[40] = {0}, out = 7;
    pe_tensor empty = {x, PE_FLOAT32, 1, {0}, {4}}, one = {&out, PE_FLOAT32, 1, {1}, {4}};
    pe_error err;
    CHECK(!reduce(pe_reduce_find("sum"), 1, empty, one, &err) && out == 0.0f);
    CHECK(!reduce(pe_reduce_find("prod"), 1, empty, one, &err) && out == 1.0f);
    CHECK(!reduce(pe_reduce_find("mean"), 1, empty, one, &err) && isnan(out));
    CHECK(reduce(pe_reduce_find("amax"), 1, empty, one, &err) == PE_ERR_SHAPE && err.axis == 0);
    for (int at = 0; at < 40; at++) {
        pe_tensor in = {x, PE_FLOAT32, 1, {40}, {4}};
        x[at] = NAN;
        CHECK(!reduce(pe_reduce_find("amax"), 1, in, one, &err) && isnan(out));
        CHECK(!reduce(pe_reduce_find("amin"), 1, in, one, &err) && isnan(out));
        x[at] = 0;
    }
    CHECK(reduce(99, 1, empty, one, &err) == PE_ERR_ARGUMENT);
    CHECK(reduce(0, 2, empty, one, &err) == PE_ERR_SHAPE);
}

static void places(void) {
    enum { N = 9000, M = 3 };
    float *x = numbers(N * M);
    int64_t down[M], along;
    for (int minimum = 0; minimum < 2; minimum++) {
        pe_tensor in = matrix(x, PE_FLOAT32, N, M, M * 4, 4), out = matrix(down, PE_INT64, 1, M, 8, 8);
        CHECK(!pe_argmax(pe_default_context(), &(pe_argmax_args){0, minimum, &in, &out}, NULL));
        for (int j = 0; j < M; j++) {
            int64_t expected = 0;
            for (int64_t i = 1; i < N; i++)
                if (minimum ? x[i * M + j] < x[expected * M + j] : x[i * M + j] > x[expected * M + j])
                    expected = i;
            CHECK(down[j] == expected);
            pe_tensor column = {x + j, PE_FLOAT32, 1, {N}, {M * 4}}, one = {&along, PE_INT64, 1, {1}, {8}};
            CHECK(!pe_argmax(pe_default_context(), &(pe_argmax_args){0, minimum, &column, &one}, NULL));
            CHECK(along == expected);
        }
        x[5000 * M + 1] = x[7000 * M + 1] = NAN;
        CHECK(!pe_argmax(pe_default_context(), &(pe_argmax_args){0, minimum, &in, &out}, NULL));
        CHECK(down[1] == 5000);
        x[5000 * M + 1] = x[7000 * M + 1] = 0;
    }
    free(x);
}

int main(void) {
    static const int64_t rows[] = {1, 2, 15, 16, 17, 63, 64, 65, 200, 256, 257, 4096, 4097, ROWS};
    float *x = numbers((int64_t)ROWS * COLUMNS);
    for (int op = 0; op < pe_reduce_count(); op++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) layouts_agree(x, op, rows[i]);
    free(x);
    threads_agree();
    empty_and_nan();
    places();
    return check_report();
}
