/* What the compiler's vectors cannot say, in AVX-512 (F, BW, DQ, VL). */
#define VL 16
#include "simd.h"

#include <immintrin.h>

PE_INLINE __mmask16 pe_first(size_t n) { return (__mmask16)((1u << n) - 1); }
PE_INLINE vf v_load_n(const float *p, size_t n) { return (vf)_mm512_maskz_loadu_ps(pe_first(n), p); }
PE_INLINE void v_store_n(float *p, vf x, size_t n) { _mm512_mask_storeu_ps(p, pe_first(n), (__m512)x); }
PE_INLINE void v_stream(float *p, vf x) { _mm512_stream_ps(p, (__m512)x); }
PE_INLINE void v_stream_end(void) { _mm_sfence(); }
PE_INLINE vi v_load_mask(const uint8_t *p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    return (vi)_mm512_movm_epi32(_mm_test_epi8_mask(bytes, bytes));
}
PE_INLINE void v_store_mask(uint8_t *p, vi m) {
    __mmask16 k = _mm512_movepi32_mask((__m512i)m);
    _mm_storeu_si128((__m128i *)p, _mm_maskz_set1_epi8(k, 1));
}
PE_INLINE vf v_fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
PE_INLINE vf v_fma_exact(vf a, vf b, vf c) { return v_fma(a, b, c); }
/* the instruction gives its second operand for NaN and for equal numbers */
PE_INLINE vf v_lesser(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
PE_INLINE vf v_greater(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
PE_INLINE vf v_min(vf a, vf b) {
    __mmask16 nan = _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q);
    return (vf)_mm512_mask_mov_ps((__m512)v_lesser(a, b), nan, (__m512)a);
}
PE_INLINE vf v_max(vf a, vf b) {
    __mmask16 nan = _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q);
    return (vf)_mm512_mask_mov_ps((__m512)v_greater(a, b), nan, (__m512)a);
}
PE_INLINE vf v_sqrt(vf x) { return (vf)_mm512_sqrt_ps((__m512)x); }
PE_INLINE vf v_floor(vf x) {
    return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
PE_INLINE vf v_ceil(vf x) {
    return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
}
PE_INLINE vf v_trunc(vf x) {
    return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}
PE_INLINE vf v_round(vf x) {
    return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* in plain C: after a comparison gcc 12 makes one masked move of it, where the intrinsic would
 * go from the comparison's mask to a vector and back */
PE_INLINE vf v_select(vi m, vf a, vf b) { return (vf)(((vi)a & m) | ((vi)b & ~m)); }
PE_INLINE vf v_lanes(vf x, vi lanes) { return (vf)_mm512_permutexvar_ps((__m512i)lanes, (__m512)x); }
PE_INLINE int v_any(vi m) { return _mm512_movepi32_mask((__m512i)m) != 0; }
PE_INLINE vi v_toint(vf x) { return (vi)_mm512_cvtps_epi32((__m512)x); }
PE_INLINE vf v_tofloat(vi x) { return (vf)_mm512_cvtepi32_ps((__m512i)x); }
PE_INLINE vf v_ldexp(vf x, vf n) { return (vf)_mm512_scalef_ps((__m512)x, (__m512)n); }
