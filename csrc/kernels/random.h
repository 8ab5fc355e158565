/* Counter-based random numbers: Philox-4x32-10 (Salmon et al., SC'11, "Parallel random numbers:
 * as easy as 1, 2, 3"). Number e of the stream `seed` is found without any other:
 *     group = e / 64,  place = e % 64,
 *     word e = word place / 16 of the four of philox(key = seed, counter = 16 group + place % 16)
 * so that 16 counters fill 64 places vector by vector, with nothing to shuffle. */
#ifndef PE_KERNELS_RANDOM_H
#define PE_KERNELS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

enum { PE_RANDOM_GROUP = 64, PE_RANDOM_COUNTERS = PE_RANDOM_GROUP / 4 };

struct pe_random_kernels {
    /* out[i] = low + width u(first + i); u(e) = (word e >> 8) 2^-24 is in [0, 1) */
    void (*uniform)(float *out, size_t n, uint64_t seed, uint64_t first, float low, float width);
    /* out[i] = mean + deviation z(first + i). Box-Muller on the words of one counter: r from
     * word 0 (2), angle from word 1 (3); places 0-15 (32-47) r cos, 16-31 (48-63) r sin. The
     * radius has 32 bits: |z| reaches 6.6, where 24 bits would end at 5.8. */
    void (*normal)(float *out, size_t n, uint64_t seed, uint64_t first, float mean, float deviation);
    /* out[i] = u(first + i) >= p ? x[i] scale : 0; out may be x */
    void (*dropout)(const float *x, float *out, size_t n, uint64_t seed, uint64_t first, float p,
                    float scale);
};

#endif
