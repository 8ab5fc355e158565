/* AVX-512 with an instruction for byte products: they alone are compiled again, every other family is avx512's.
 * Empty unless the compiler targets this level: one line of cc builds what -march allows. */
#if defined(__AVX512VNNI__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "../kernels/qgemm.h"
#include "../simd/avx512.h"

#include "../kernels/qgemm.inc"
#include "../kernels/qgemm_pack.inc"
#include "../kernels/qgemm_rows.inc"

/* extern const first: a const definition alone would warn with -Wmissing-variable-declarations */
extern const struct pe_qgemm_kernels pe_qgemm_kernels_avx512_vnni;

const struct pe_qgemm_kernels pe_qgemm_kernels_avx512_vnni = PE_QGEMM_KERNELS;
#else
typedef int pe_level_not_built;
#endif
