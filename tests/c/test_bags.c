/* Bags of rows: sums with and without weights, maxima and where they are from, empty bags, and what is refused. */
#include "check.h"
#include "../../csrc/pyengine.h"

#include <math.h>
#include <string.h>

enum { ROWS = 7, N = 37, COUNT = 300, BAGS = 12, SKIP = -7 };

static float matrix[ROWS][N], weights[COUNT], out[BAGS][N];
static int64_t numbers[COUNT], offsets[BAGS + 1], places[BAGS][N];

static pe_tensor m = {matrix, PE_FLOAT32, 2, {ROWS, N}, {N * 4, 4}}, index_ = {numbers, PE_INT64, 1, {COUNT}, {8}};
static pe_tensor o = {offsets, PE_INT64, 1, {BAGS + 1}, {8}}, w = {weights, PE_FLOAT32, 1, {COUNT}, {4}};
static pe_tensor y = {out, PE_FLOAT32, 2, {BAGS, N}, {N * 4, 4}}, p = {places, PE_INT64, 2, {BAGS, N}, {N * 8, 8}};

static void fill(void) {
    for (int i = 0; i < ROWS * N; i++) matrix[i / N][i % N] = (float)(i * 7919 % 101) - 50;
    for (int i = 0; i < COUNT; i++) numbers[i] = i % 11 == 3 ? SKIP : i * 5 % ROWS;
    for (int i = 0; i < COUNT; i++) weights[i] = (float)(i % 9) - 4;
    for (int b = 0; b <= BAGS; b++) offsets[b] = b < 2 ? 0 : b == BAGS ? COUNT : b * b;
}

static void sums(int weighted) {
    const pe_bags_args args = {&m, &index_, &o, weighted ? &w : NULL, &y, NULL, SKIP};
    memset(out, 1, sizeof out);
    CHECK(!pe_sum_bags(pe_default_context(), &args, NULL));
    for (int b = 0; b < BAGS; b++)
        for (int j = 0; j < N; j++) {
            float sum = 0; /* whole numbers: exact */
            for (int64_t e = offsets[b]; e < offsets[b + 1]; e++)
                if (numbers[e] != SKIP) sum += (weighted ? weights[e] : 1) * matrix[numbers[e]][j];
            CHECK(out[b][j] == sum);
        }
}

static void maxima(void) {
    const pe_bags_args args = {&m, &index_, &o, NULL, &y, &p, SKIP};
    matrix[2][5] = NAN;
    CHECK(!pe_max_bags(pe_default_context(), &args, NULL));
    for (int b = 0; b < BAGS; b++)
        for (int j = 0; j < N; j++) {
            int64_t best = -1;
            for (int64_t e = offsets[b]; e < offsets[b + 1]; e++) {
                if (numbers[e] == SKIP) continue;
                const float x = matrix[numbers[e]][j], now = best < 0 ? 0 : matrix[numbers[best]][j];
                if (best < 0 || (!isnan(now) && (isnan(x) || x > now))) best = e;
            }
            CHECK(places[b][j] == best);
            CHECK(best < 0 ? out[b][j] == 0 : !memcmp(&out[b][j], &matrix[numbers[best]][j], 4));
        }
}

static void refused(void) {
    pe_context *ctx = pe_default_context();
    pe_bags_args args = {&m, &index_, &o, NULL, &y, &p, SKIP};
    out[3][3] = 5;
    numbers[7] = ROWS;
    CHECK(pe_sum_bags(ctx, &args, NULL) == PE_ERR_INDEX);
    numbers[7] = 0;
    offsets[4]++, offsets[5] = 3;
    CHECK(pe_sum_bags(ctx, &args, NULL) == PE_ERR_ARGUMENT);
    offsets[5] = COUNT + 1;
    CHECK(pe_max_bags(ctx, &args, NULL) == PE_ERR_ARGUMENT);
    fill();
    offsets[0] = -1;
    CHECK(pe_sum_bags(ctx, &args, NULL) == PE_ERR_ARGUMENT);
    fill();
    o.shape[0] = BAGS;
    CHECK(pe_sum_bags(ctx, &args, NULL) == PE_ERR_SHAPE);
    o.shape[0] = BAGS + 1, w.shape[0] = COUNT - 1, args.weights = &w;
    CHECK(pe_sum_bags(ctx, &args, NULL) == PE_ERR_SHAPE);
    w.shape[0] = COUNT, args.place = NULL;
    CHECK(pe_max_bags(ctx, &args, NULL) == PE_ERR_ARGUMENT);
    CHECK(out[3][3] == 5);
}

int main(void) {
    fill();
    sums(0);
    sums(1);
    maxima();
    fill();
    refused();
    return check_report();
}
