/* Empty unless the compiler targets this level: one line of cc builds what -march allows. */
#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
#define PE_ISA avx512_bf16
#include "../simd/avx512.h"
#include "kernels.inc"
#else
typedef int pe_level_not_built;
#endif
