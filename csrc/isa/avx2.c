/* Empty unless the compiler targets this level: one line of cc builds what -march allows. */
#if defined(__AVX2__) && defined(__FMA__)
#define PE_ISA avx2
#include "../simd/avx2.h"
#include "kernels.inc"
#else
typedef int pe_level_not_built;
#endif
