/* AVX-512 with an instruction for pairs of bfloat16: their product alone; bytes are avx512_vnni's, the rest avx512's.
 * Empty unless the compiler targets this level: one line of cc builds what -march allows. */
#if defined(__AVX512BF16__) && defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "../kernels/half.h"
#include "../simd/avx512.h"

#define PE_DOT_HALF
#include "../kernels/qgemm.inc"
#define HALF_NR QGEMM_NR
#define HALF_DEEP QGEMM_DEEP
#include "../kernels/gemm_panel.inc"
#include "../kernels/half.inc"

/* extern const first: a const definition alone would warn with -Wmissing-variable-declarations */
extern const struct pe_half_kernels pe_half_kernels_avx512_bf16;

const struct pe_half_kernels pe_half_kernels_avx512_bf16 = HALF_KERNELS(QGEMM_DOT(VL * 5.0));
#else
typedef int pe_level_not_built;
#endif
