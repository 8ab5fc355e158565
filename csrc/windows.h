/* The windows of an image as a matrix that is never stored:
 *   A[place, (tap, channel)] = x[n, channel, p step + tap spacing - before], 0 outside.
 * Rows run over images and places, columns over taps and the channels of one group inside. */
#ifndef PE_WINDOWS_H
#define PE_WINDOWS_H

#include "conv.h"

/* to[(i - i0) * to_place + (p - p0) * to_p] = A[i, p], i0 <= i < i1, p0 <= p < p1; one of the two strides is 1.
 * x: the first channel of the group in the first image. Fast where what has stride 1 in `to` has it in x. */
void pe_windows_gather(const struct pe_gemm_kernels *kernels, const struct pe_conv_problem *windows, const float *x,
                       int64_t i0, int64_t i1, int64_t p0, int64_t p1, float *to, int64_t to_place, int64_t to_p);

#endif
