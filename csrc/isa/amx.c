/* AVX-512 with tile registers: the products of bytes and of bfloat16 alone; every other family is avx512's.
 * Empty unless the compiler targets this level: one line of cc builds what -march allows. */
#if defined(__AMX_INT8__) && defined(__AMX_BF16__) && defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include "../kernels/half.h"
#include "../kernels/qgemm.h"
#include "../simd/avx512.h"

#include "../simd/dot.h"
#include "../kernels/amx.inc"
#define QGEMM_VECTORS (AMX_NR / VL)
#define QGEMM_NR AMX_NR
#define QGEMM_DEEP AMX_DEEP
#define QGEMM_DOT(RATE) AMX_KERNELS(amx_tile_bytes)
#define HALF_NR AMX_NR
#define HALF_DEEP AMX_DEEP
#include "../kernels/gemm_panel.inc"
#include "../kernels/half.inc"
#include "../kernels/qgemm_pack.inc"
#include "../kernels/qgemm_rows.inc"

/* extern const first: a const definition alone would warn with -Wmissing-variable-declarations */
extern const struct pe_qgemm_kernels pe_qgemm_kernels_amx;
extern const struct pe_half_kernels pe_half_kernels_amx;

const struct pe_qgemm_kernels pe_qgemm_kernels_amx = PE_QGEMM_KERNELS;
const struct pe_half_kernels pe_half_kernels_amx = HALF_KERNELS(AMX_KERNELS(amx_tile_half));
#else
typedef int pe_level_not_built;
#endif
