/* Arithmetic of sizes that the blocked operations share. */
#ifndef PE_SIZES_H
#define PE_SIZES_H

#include <stdint.h>

static inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
/* a / b rounded down and up, b > 0; what is asked most is had without a division */
static inline int64_t floored(int64_t a, int64_t b) { return b == 1 ? a : b == 2 ? a >> 1 : a / b - (a % b < 0); }
static inline int64_t ceiled(int64_t a, int64_t b) { return -floored(-a, b); }
/* how many parts of `size` cover n */
static inline int64_t parts(int64_t n, int64_t size) { return n / size + (n % size != 0); }

/* The step from one element to the next where axes lie evenly in memory, the last one fastest (then together they are
 * one axis of `*count` elements); 0 where they do not, 1 for a single element. */
static inline int64_t even_step(const int64_t *size, const int64_t *stride, int axes, int64_t *count) {
    int64_t step = 1;
    *count = 1;
    for (int d = axes - 1; d >= 0; d--) {
        if (size[d] == 1) continue;
        if (*count == 1) step = stride[d];
        else if (stride[d] != step * *count) return 0;
        *count *= size[d];
    }
    return step;
}

#endif
