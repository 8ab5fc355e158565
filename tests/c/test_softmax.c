/* softmax and cross entropy against double precision, and what they refuse. */
#include "check.h"
#include "../../csrc/pyengine.h"

#include <math.h>
#include <string.h>

enum { N = 5, CLASSES = 70 };

static float x[N][CLASSES], y[N][CLASSES], g[N][CLASSES], dx[N][CLASSES];

static pe_tensor rows(void *data) { return (pe_tensor){data, PE_FLOAT32, 2, {N, CLASSES}, {CLASSES * 4, 4}}; }
static pe_tensor vector(void *data, int dtype, int64_t size) {
    return (pe_tensor){data, dtype, 1, {N}, {size}};
}

static double log_sum(int i) {
    double max = -HUGE_VAL, sum = 0;
    for (int j = 0; j < CLASSES; j++) max = fmax(max, x[i][j]);
    for (int j = 0; j < CLASSES; j++) sum += exp(x[i][j] - max);
    return max + log(sum);
}

static void softmax(void) {
    pe_context *ctx = pe_default_context();
    pe_tensor in = rows(x), out = rows(y), grad = rows(g), to = rows(dx);
    for (int logarithm = 0; logarithm < 2; logarithm++) {
        CHECK(!pe_softmax(ctx, &(pe_softmax_args){&in, &out, logarithm}, NULL));
        CHECK(!pe_softmax_backward(ctx, &(pe_softmax_backward_args){&out, &grad, &to, logarithm}, NULL));
        for (int i = 0; i < N; i++) {
            double lse = log_sum(i), dot = 0;
            for (int j = 0; j < CLASSES; j++) dot += logarithm ? g[i][j] : g[i][j] * exp(x[i][j] - lse);
            for (int j = 0; j < CLASSES; j++) {
                double p = exp(x[i][j] - lse);
                CHECK(fabs(y[i][j] - (logarithm ? x[i][j] - lse : p)) < 3e-6);
                CHECK(fabs(dx[i][j] - (logarithm ? g[i][j] - p * dot : p * (g[i][j] - dot))) < 1e-5);
            }
        }
    }
    for (int j = 0; j < CLASSES; j++) x[1][j] = -INFINITY;
    CHECK(!pe_softmax(ctx, &(pe_softmax_args){&in, &out, 0}, NULL));
    CHECK(isnan(y[1][0]) && isnan(y[1][CLASSES - 1]) && y[0][0] == y[0][0]);
    for (int j = 0; j < CLASSES; j++) x[1][j] = (float)j;
    out.shape[0] = N - 1;
    CHECK(pe_softmax(ctx, &(pe_softmax_args){&in, &out, 0}, NULL) == PE_ERR_SHAPE);
}

static void cross_entropy(float smoothing) {
    pe_context *ctx = pe_default_context();
    int64_t target[N] = {3, -100, CLASSES - 1, 0, 64}, counted = -1;
    float loss[N], lse[N], upstream = 2.0f;
    pe_tensor in = rows(x), to = rows(dx), t = vector(target, PE_INT64, 8), l = vector(loss, PE_FLOAT32, 4);
    pe_tensor s = vector(lse, PE_FLOAT32, 4), up = vector(&upstream, PE_FLOAT32, 0);
    pe_cross_entropy_args forward = {&in, &t, &l, &s, -100, smoothing, &counted};
    pe_cross_entropy_backward_args backward = {&in, &t, &s, &up, &to, -100, smoothing, 0.25f};
    CHECK(!pe_cross_entropy(ctx, &forward, NULL) && counted == N - 1);
    CHECK(!pe_cross_entropy_backward(ctx, &backward, NULL));
    for (int i = 0; i < N; i++) {
        double expected = 0, of_all = log_sum(i);
        for (int j = 0; j < CLASSES; j++) {
            double weight = smoothing / CLASSES + (j == target[i] ? 1 - smoothing : 0);
            expected += weight * (of_all - x[i][j]);
            double gradient = i == 1 ? 0 : 0.5 * (exp(x[i][j] - of_all) - weight);
            CHECK(fabs(dx[i][j] - gradient) < 2e-6);
        }
        CHECK(fabs(loss[i] - (i == 1 ? 0 : expected)) < 1e-5);
    }
    target[4] = CLASSES;
    loss[0] = 77;
    pe_error err;
    CHECK(pe_cross_entropy(ctx, &forward, &err) == PE_ERR_INDEX && loss[0] == 77);
    CHECK(strstr(err.message, "target[4] is 70") != NULL);
    target[4] = -1;
    CHECK(pe_cross_entropy_backward(ctx, &backward, &err) == PE_ERR_INDEX);
    in.shape[0] = t.shape[0] = l.shape[0] = s.shape[0] = 0;
    CHECK(!pe_cross_entropy(ctx, &forward, &err) && counted == 0);
}

int main(void) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < CLASSES; j++) {
            x[i][j] = (float)((i * 37 + j * 101) % 97) / 10.0f - 4.0f;
            g[i][j] = (float)((i * 13 + j * 7) % 11) / 11.0f - 0.4f;
        }
    softmax();
    cross_entropy(0.0f);
    cross_entropy(0.1f);
    return check_report();
}
