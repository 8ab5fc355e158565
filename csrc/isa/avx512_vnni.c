/* Empty unless the compiler targets this level: one line of cc builds what -march allows. */
#if defined(__AVX512VNNI__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define PE_ISA avx512_vnni
#include "../simd/avx512.h"
#include "kernels.inc"
#else
typedef int pe_level_not_built;
#endif
