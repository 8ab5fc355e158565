/* Rows of an image in L1, one after another: those that the windows of one row of places meet. */
#include "depthwise_paths.h"

#include <string.h>

void dw_ring_load(const struct dw_ring *ring, const struct pe_gemm_kernels *kernels, float *to, const float *row,
                  int64_t apart, int64_t from, int64_t size, int64_t width, int64_t channels) {
    const int64_t first = min64(max64(-from, 0), width);
    const int64_t end = row ? max64(min64(size - from, width), first) : first;
    memset(to, 0, (size_t)(first * ring->chunk) * sizeof *to);
    memset(to + end * ring->chunk, 0, (size_t)((width - end) * ring->chunk) * sizeof *to);
    if (first < end)
        kernels->copy(to + first * ring->chunk, ring->chunk, row + (from + first) * apart, apart, 1,
                      (size_t)(end - first), (size_t)channels);
}

void dw_ask(const float *row, int64_t apart, int64_t from, int64_t size, int64_t width, int64_t channels) {
    const int64_t end = min64(from + width, size);
    for (int64_t x = max64(from, 0); x < end; x++)
        for (int64_t c = 0; c < channels; c += 16) __builtin_prefetch(row + x * apart + c);
}
