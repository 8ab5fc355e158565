/* Rows by number: taken, added back in order, skipped, and refused. */
#include "check.h"
#include "../../csrc/pyengine.h"

#include <math.h>
#include <string.h>

enum { ROWS = 7, N = 5, COUNT = 300 };

static float matrix[ROWS][N], picked[COUNT][N];
static int64_t numbers[COUNT];

static pe_tensor table(void *data, int64_t rows) { return (pe_tensor){data, PE_FLOAT32, 2, {rows, N}, {N * 4, 4}}; }

static void take_and_add(void) {
    pe_context *ctx = pe_default_context();
    pe_tensor m = table(matrix, ROWS), p = table(picked, COUNT), index = {numbers, PE_INT64, 1, {COUNT}, {8}};
    pe_rows_by_number_args args = {&m, &index, &p, 0, -7};
    for (int i = 0; i < ROWS * N; i++) matrix[i / N][i % N] = (float)(i + 1);
    for (int i = 0; i < COUNT; i++) numbers[i] = i % 11 == 3 ? -7 : i * 5 % ROWS;
    CHECK(!pe_take_rows(ctx, &args, NULL));
    double sums[ROWS][N] = {0};
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < N; j++) {
            CHECK(picked[i][j] == (numbers[i] < 0 ? 0 : matrix[numbers[i]][j]));
            picked[i][j] = (float)(i % 13);
            if (numbers[i] >= 0) sums[numbers[i]][j] += i % 13;
        }
    CHECK(!pe_add_rows(ctx, &args, NULL));
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < N; j++) CHECK(matrix[i][j] == sums[i][j]);
    numbers[COUNT - 1] = ROWS;
    memset(picked, 0, sizeof picked);
    CHECK(pe_take_rows(ctx, &args, NULL) == PE_ERR_INDEX && picked[0][0] == 0);
    numbers[COUNT - 1] = -1;
    CHECK(pe_add_rows(ctx, &args, NULL) == PE_ERR_INDEX);
    numbers[COUNT - 1] = 0;
    p.shape[1] = N - 1;
    CHECK(pe_add_rows(ctx, &args, NULL) == PE_ERR_SHAPE);
}

/* entry i has the rows i N .. i N + N-1 of a column to itself */
static void labels(void) {
    pe_context *ctx = pe_default_context();
    float out[ROWS];
    int64_t label[ROWS] = {0, 4, 2, -100, 1, 3, 0};
    pe_tensor column = {matrix, PE_FLOAT32, 2, {ROWS * N, 1}, {4, 4}}, index = {label, PE_INT64, 1, {ROWS}, {8}};
    pe_tensor p = {out, PE_FLOAT32, 2, {ROWS, 1}, {4, 4}};
    pe_rows_by_number_args args = {&column, &index, &p, N, -100};
    for (int i = 0; i < ROWS * N; i++) matrix[i / N][i % N] = (float)i;
    CHECK(!pe_take_rows(ctx, &args, NULL));
    for (int i = 0; i < ROWS; i++) CHECK(out[i] == (label[i] < 0 ? 0 : (float)(i * N + label[i])));
    CHECK(!pe_add_rows(ctx, &args, NULL));
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < N; j++) CHECK(matrix[i][j] == (j == label[i] ? out[i] : 0));
    label[0] = N;
    CHECK(pe_take_rows(ctx, &args, NULL) == PE_ERR_INDEX);
    label[0] = 0;
    args.step = N + 1;
    CHECK(pe_take_rows(ctx, &args, NULL) == PE_ERR_SHAPE);
}

int main(void) {
    take_and_add();
    labels();
    return check_report();
}
