/* Philox's published answers, independence of offset and threads, moments, dropout. */
#include "check.h"
#include "../../csrc/pyengine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 200000 };
static float whole[N], part[N];

static void fill(float *out, int64_t n, int kind, uint64_t seed, uint64_t offset) {
    pe_tensor t = {out, PE_FLOAT32, 1, {n}, {4}};
    CHECK(!pe_random(pe_default_context(), &(pe_random_args){&t, kind, 0, 1, seed, offset}, NULL));
}

/* 24 upper bits of the four words of one counter, which lie 16 apart */
static void known_answer(uint64_t seed, uint64_t offset, const uint32_t words[4]) {
    fill(part, 64, PE_RANDOM_UNIFORM, seed, offset);
    for (int w = 0; w < 4; w++) CHECK(part[16 * w] == (float)(words[w] >> 8) * 0x1p-24f);
}

static void ranges_agree(int kind) {
    static const uint64_t offsets[] = {0, 1, 63, 64, 65, 16384, 100001};
    pe_set_num_threads(pe_default_context(), 1);
    fill(whole, N, kind, 7, 0);
    pe_set_num_threads(pe_default_context(), 3);
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        int64_t n = N - (int64_t)offsets[i];
        fill(part, n, kind, 7, offsets[i]);
        CHECK(!memcmp(part, whole + offsets[i], (size_t)n * sizeof *part));
    }
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        sum += whole[i];
        squares += (double)whole[i] * whole[i];
        CHECK(kind == PE_RANDOM_NORMAL || (whole[i] >= 0 && whole[i] < 1));
    }
    double mean = sum / N, variance = squares / N - mean * mean;
    CHECK(fabs(mean - (kind == PE_RANDOM_NORMAL ? 0 : 0.5)) < 0.01);
    CHECK(fabs(variance - (kind == PE_RANDOM_NORMAL ? 1 : 1 / 12.0)) < 0.01);
}

static void dropout(void) {
    static float x[1000], y[1000];
    for (int i = 0; i < 1000; i++) x[i] = 1;
    pe_tensor in = {x, PE_FLOAT32, 1, {1000}, {4}}, out = {y, PE_FLOAT32, 1, {1000}, {4}};
    pe_dropout_args args = {&in, &out, 0.25f, 5, 77};
    fill(part, 1000, PE_RANDOM_UNIFORM, 5, 77);
    CHECK(!pe_dropout(pe_default_context(), &args, NULL));
    for (int i = 0; i < 1000; i++) CHECK(y[i] == (part[i] >= 0.25f ? (float)(1 / 0.75) : 0.0f));
    args.p = 1;
    CHECK(!pe_dropout(pe_default_context(), &args, NULL) && y[0] == 0 && y[999] == 0);
    args.p = NAN;
    CHECK(pe_dropout(pe_default_context(), &args, NULL) == PE_ERR_ARGUMENT);
}

int main(void) {
    known_answer(0, 0, (uint32_t[4]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    ranges_agree(PE_RANDOM_UNIFORM);
    ranges_agree(PE_RANDOM_NORMAL);
    dropout();
    return check_report();
}
