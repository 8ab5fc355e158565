/* Arithmetic of sizes that the blocked operations share. */
#ifndef PE_SIZES_H
#define PE_SIZES_H

#include <stdint.h>

static inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
/* how many parts of `size` cover n */
static inline int64_t parts(int64_t n, int64_t size) { return n / size + (n % size != 0); }

#endif
