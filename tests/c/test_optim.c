/* Optimizer steps against the formulas in double; tensors cut anyhow give the same bits. */
#include "check.h"
#include "../../csrc/pyengine.h"

#include <math.h>
#include <string.h>

enum { N = 40001, STEPS = 5 };
static float p[N], g[N], s0[N], s1[N], s2[N], q[N], t0[N], t1[N], t2[N];

static void start(void) {
    for (int i = 0; i < N; i++) {
        p[i] = q[i] = (float)(i % 101) / 50.0f - 1.0f;
        g[i] = (float)(i % 89) / 44.0f - 1.0f;
        s0[i] = s1[i] = s2[i] = t0[i] = t1[i] = t2[i] = 0;
    }
}

static void step(const char *rule, int64_t count, const pe_optim_slot *slots, const double *hyper) {
    pe_optim_args args = {pe_optim_find(rule), count, slots, hyper};
    CHECK(!pe_optim_step(pe_default_context(), &args, NULL));
}

/* one tensor on three threads, and the same elements as many tensors of uneven sizes on one */
static void both(const char *rule, const double *hyper) {
    pe_optim_slot one = {p, g, {s0, s1, s2}, N}, many[300];
    int64_t count = 0;
    for (int64_t at = 0, n; at < N; at += n, count++) {
        n = count % 7 * 33;
        if (n > N - at) n = N - at;
        many[count] = (pe_optim_slot){q + at, g + at, {t0 + at, t1 + at, t2 + at}, n};
        if (count == 298) {
            at += n;
            many[++count] = (pe_optim_slot){q + at, g + at, {t0 + at, t1 + at, t2 + at}, N - at};
            at = N - n;
        }
    }
    pe_set_num_threads(pe_default_context(), 3);
    step(rule, 1, &one, hyper);
    pe_set_num_threads(pe_default_context(), 1);
    step(rule, count, many, hyper);
    CHECK(!memcmp(p, q, sizeof p) && !memcmp(s0, t0, sizeof s0) && !memcmp(s1, t1, sizeof s1));
    CHECK(!memcmp(s2, t2, sizeof s2));
}

static void adam(int decoupled) {
    start();
    double x = p[77], gradient = g[77], m = 0, v = 0;
    for (int t = 1; t <= STEPS; t++) {
        both("adam", (double[]){0.01, 0.9, 0.999, 1e-8, 0.1, decoupled, t, 0});
        double d = gradient + (decoupled ? 0 : 0.1 * x);
        if (decoupled) x -= 0.01 * 0.1 * x;
        m = 0.9 * m + 0.1 * d;
        v = 0.999 * v + 0.001 * d * d;
        x -= 0.01 / (1 - pow(0.9, t)) * m / (sqrt(v) / sqrt(1 - pow(0.999, t)) + 1e-8);
        CHECK(fabs(x - p[77]) < 1e-6);
    }
}

static void sgd(int nesterov) {
    start();
    double x = p[77], buffer = 0;
    for (int t = 1; t <= STEPS; t++) {
        both("sgd_momentum", (double[]){0.1, 0.9, 0, nesterov, 0.01, t == 1, 1});
        double d = -(double)g[77] + 0.01 * x;
        buffer = t == 1 ? d : 0.9 * buffer + d;
        x -= 0.1 * (nesterov ? d + 0.9 * buffer : buffer);
        CHECK(fabs(x - p[77]) < 1e-6);
    }
}

static void lion(void) {
    start();
    double x = p[77], m = 0;
    for (int t = 1; t <= STEPS; t++) {
        both("lion", (double[]){0.01, 0.9, 0.99, 0.1, 0});
        double way = 0.9 * m + 0.1 * g[77];
        x = x * (1 - 0.01 * 0.1) - 0.01 * ((way > 0) - (way < 0));
        m = 0.99 * m + 0.01 * g[77];
        CHECK(fabs(x - p[77]) < 1e-6);
    }
}

/* three states, and lanes that go different ways */
static void amsgrad(void) {
    start();
    double x = p[77], m = 0, v = 0, most = 0;
    for (int t = 1; t <= STEPS; t++) {
        for (int i = 0; i < N; i++) g[i] = (float)((i + 13 * t) % 89) / 44.0f - 1.0f;
        both("adam_amsgrad", (double[]){0.01, 0.9, 0.5, 1e-8, 0.1, 0, t, 0});
        double d = g[77] + 0.1 * x;
        m = 0.9 * m + 0.1 * d;
        v = 0.5 * v + 0.5 * d * d;
        most = v > most ? v : most;
        x -= 0.01 / (1 - pow(0.9, t)) * m / (sqrt(most / (1 - pow(0.5, t))) + 1e-8);
        CHECK(fabs(x - p[77]) < 1e-6 && fabs(s2[77] - most) < 1e-6);
    }
}

static void rprop(void) {
    start();
    for (int i = 0; i < N; i++) s1[i] = t1[i] = 0.1f;
    double x = p[77], size = 0.1, last = 0;
    for (int t = 1; t <= STEPS; t++) {
        for (int i = 0; i < N; i++) g[i] = (float)((i + 29 * t) % 89) / 44.0f - 1.0f;
        both("rprop", (double[]){0.5, 1.2, 1e-6, 50, 0});
        double same = last * g[77];
        size *= same > 0 ? 1.2 : same < 0 ? 0.5 : 1;
        last = same < 0 ? 0 : g[77];
        x -= size * ((last > 0) - (last < 0));
        CHECK(fabs(x - p[77]) < 1e-6 && fabs(s1[77] - size) < 1e-6);
    }
}

static void norm(void) {
    double out = -1, exact = 0, again = -1, each[3];
    start();
    for (int i = 0; i < N; i++) exact += (double)p[i] * p[i];
    const float *x[3] = {p, NULL, p + 16384};
    pe_norm_args whole = {1, x, (int64_t[]){N}, &out, NULL};
    pe_norm_args cut = {3, x, (int64_t[]){16384, 0, N - 16384}, &again, each};
    pe_set_num_threads(pe_default_context(), 3);
    CHECK(!pe_norm2(pe_default_context(), &whole, NULL) && fabs(out / sqrt(exact) - 1) < 1e-6);
    pe_set_num_threads(pe_default_context(), 1);
    CHECK(!pe_norm2(pe_default_context(), &cut, NULL) && again == out);
    CHECK(each[1] == 0 && fabs(hypot(each[0], each[2]) / out - 1) < 1e-12);
    whole.n = (int64_t[]){-1};
    CHECK(pe_norm2(pe_default_context(), &whole, NULL) == PE_ERR_ARGUMENT);
    cut.n = (int64_t[]){1, 1, 1};
    CHECK(pe_norm2(pe_default_context(), &cut, NULL) == PE_ERR_ARGUMENT);
}

static void refusals(void) {
    pe_error err;
    pe_optim_slot bad = {p, NULL, {s0, s1, s2}, N};
    pe_optim_args args = {pe_optim_find("adam"), 1, &bad, (double[8]){0}};
    CHECK(pe_optim_step(pe_default_context(), &args, &err) == PE_ERR_ARGUMENT);
    bad = (pe_optim_slot){p, g, {s0, NULL, NULL}, N};
    CHECK(pe_optim_step(pe_default_context(), &args, &err) == PE_ERR_ARGUMENT);
    CHECK(strstr(err.message, "state[1]") != NULL);
    bad = (pe_optim_slot){p, g, {s0, s1, s2}, -1};
    CHECK(pe_optim_step(pe_default_context(), &args, &err) == PE_ERR_ARGUMENT);
    args.rule = 99;
    CHECK(pe_optim_step(pe_default_context(), &args, &err) == PE_ERR_ARGUMENT);
    CHECK(pe_optim_find("adahessian") == -1 && !pe_optim_describe(-1));
    CHECK(pe_optim_describe(pe_optim_find("adam"))->hypers == 8);
}

int main(void) {
    adam(0);
    adam(1);
    sgd(0);
    sgd(1);
    lion();
    amsgrad();
    rprop();
    norm();
    refusals();
    return check_report();
}
