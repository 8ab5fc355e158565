/* The orders in which instructions sum products of bfloat16 pairs, one rounding at a time: csrc/kernels/half.h. */
#ifndef PE_HALF_CHAIN_H
#define PE_HALF_CHAIN_H

#include "operands.h"

enum half_order { WIDENED, PAIRS, TILES };

static inline enum half_order half_order(void) {
    pe_machine machine;
    pe_machine_info(&machine);
    return !strcmp(machine.isa, "amx") ? TILES : !strcmp(machine.isa, "avx512_bf16") ? PAIRS : WIDENED;
}

/* Numbers below 2^-126 count as 0. */
static inline float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }

#if defined(__x86_64__)
__attribute__((target("fma")))
#endif
static inline float step(const pe_tensor *a, const pe_tensor *b, int64_t i, int64_t j, int64_t p, float sum) {
    if (p >= a->shape[1]) return sum;
    return flushed(fmaf(flushed(*at(a, i, p)), flushed(*at(b, p, j)), sum));
}

/* a and b hold bfloat16, widened. */
static inline float half_chain(const pe_tensor *a, const pe_tensor *b, int64_t i, int64_t j, float start) {
    const int64_t k = a->shape[1];
    float sum = start;
    if (half_order() == PAIRS)
        for (int64_t p = 0; p < k; p += 2) sum = step(a, b, i, j, p, step(a, b, i, j, p + 1, flushed(sum)));
    else
        for (int64_t block = 0; block < k; block += 32) {
            float even = 0, odd = 0;
            for (int64_t p = block; p < block + 32; p += 2) {
                even = step(a, b, i, j, p, even);
                odd = step(a, b, i, j, p + 1, odd);
            }
            sum = flushed(flushed(sum) + flushed(even + odd));
        }
    return sum;
}

#endif
