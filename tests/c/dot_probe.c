/* The byte products of csrc/simd/dot.h over many groups, for tests/test_simd_dot.py: as a shared library, compiled once
 * per level with -DPROBE_LEVEL='"simd/NAME.h"'; with -DPROBE_MAIN as a program for qemu: GROUPS < a b acc > results. */
#include PROBE_LEVEL
#include "simd/dot.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT int probe_lanes(void);
EXPORT int probe_lanes(void) { return VL; }

/* sums[g][lane] = acc[g][lane] + a[g] . b[g][lane], of four bytes each */
EXPORT void probe_dot(const uint8_t *a, const int8_t *b, const int32_t *acc, int32_t *sums, size_t groups);
EXPORT void probe_dot(const uint8_t *a, const int8_t *b, const int32_t *acc, int32_t *sums, size_t groups) {
    for (size_t g = 0; g < groups; g++) {
        uint8_t spread[DOT_GROUP];
        dot_spread(spread, (uint32_t)dot_word(a + 4 * g));
        vi sum = v_loadi(acc + VL * g);
        for (int half = 0; half < DOT_HALVES; half++)
            sum = v_dot(sum, dot_a(spread, half), dot_b(b + 4 * VL * g, half));
        v_storei(sums + VL * g, sum);
    }
}

/* nibbles[g][t][lane] = the t-th four bits of word g, lane */
EXPORT void probe_nibbles(const int32_t *words, float *nibbles, size_t groups);
EXPORT void probe_nibbles(const int32_t *words, float *nibbles, size_t groups) {
    for (size_t g = 0; g < groups; g++)
        for (int t = 0; t < 8; t++) v_store(nibbles + VL * (8 * g + (size_t)t), v_nibble(v_loadi(words + VL * g), t));
}

#ifdef PROBE_MAIN
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    size_t groups = argc > 1 ? strtoul(argv[1], NULL, 10) : 0, lanes = VL * groups;
    uint8_t *a = malloc(4 * groups);
    int8_t *b = malloc(4 * lanes);
    int32_t *acc = malloc(4 * lanes);
    float *nibbles = malloc(32 * lanes);
    if (!groups || !a || !b || !acc || !nibbles || fread(a, 4, groups, stdin) != groups ||
        fread(b, 4, lanes, stdin) != lanes || fread(acc, 4, lanes, stdin) != lanes)
        return 2;
    probe_nibbles(acc, nibbles, groups);
    probe_dot(a, b, acc, acc, groups);
    return fwrite(acc, 4, lanes, stdout) != lanes || fwrite(nibbles, 32, lanes, stdout) != lanes;
}
#endif
