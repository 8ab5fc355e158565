/* The baseline: what the compiler makes of plain vectors (x86-64-v2, or any machine). */
#define PE_ISA generic
#include "../simd/generic.h"
#include "kernels.inc"
