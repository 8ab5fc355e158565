/* Empty unless the compiler targets this level: one line of cc builds what -march allows. */
#if defined(__aarch64__)
#define PE_ISA neon
#include "../simd/neon.h"
#include "kernels.inc"
#else
typedef int pe_level_not_built;
#endif
