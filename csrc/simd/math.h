/* exp, log, tanh, erf ... over the vocabulary: written once for every level. */
#ifndef PE_SIMD_MATH_H
#define PE_SIMD_MATH_H
#include "simd.h"
#endif
