/* What the compiler's vectors cannot say, in AVX2 with FMA. */
#define VL 8
#include "simd.h"

#include <immintrin.h>

PE_INLINE __m256i pe_first(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
PE_INLINE vf v_load_n(const float *p, size_t n) { return (vf)_mm256_maskload_ps(p, pe_first(n)); }
PE_INLINE void v_store_n(float *p, vf x, size_t n) { _mm256_maskstore_ps(p, pe_first(n), (__m256)x); }
PE_INLINE void v_stream(float *p, vf x) { _mm256_stream_ps(p, (__m256)x); }
PE_INLINE void v_stream_end(void) { _mm_sfence(); }
PE_INLINE vi v_load_mask(const uint8_t *p) {
    __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
    return (vi)_mm256_cmpgt_epi32(wide, _mm256_setzero_si256());
}
PE_INLINE void v_store_mask(uint8_t *p, vi m) {
    __m256i one = _mm256_srli_epi32((__m256i)m, 31);
    __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(one), _mm256_extracti128_si256(one, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(half, half));
}
PE_INLINE vf v_fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
PE_INLINE vf v_fma_exact(vf a, vf b, vf c) { return v_fma(a, b, c); }
PE_INLINE vf v_select(vi m, vf a, vf b) { return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m); }
/* the instruction gives its second operand for NaN and for equal numbers */
PE_INLINE vf v_lesser(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
PE_INLINE vf v_greater(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
PE_INLINE vf v_min(vf a, vf b) { return v_select((vi)(a != a), a, v_lesser(a, b)); }
PE_INLINE vf v_max(vf a, vf b) { return v_select((vi)(a != a), a, v_greater(a, b)); }
PE_INLINE vf v_sqrt(vf x) { return (vf)_mm256_sqrt_ps((__m256)x); }
PE_INLINE vf v_floor(vf x) {
    return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
PE_INLINE vf v_ceil(vf x) {
    return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
}
PE_INLINE vf v_trunc(vf x) {
    return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}
PE_INLINE vf v_round(vf x) {
    return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PE_INLINE vf v_lanes(vf x, vi lanes) { return (vf)_mm256_permutevar8x32_ps((__m256)x, (__m256i)lanes); }
PE_INLINE int v_any(vi m) { return _mm256_movemask_ps((__m256)m) != 0; }
PE_INLINE vi v_toint(vf x) { return (vi)_mm256_cvtps_epi32((__m256)x); }
PE_INLINE vf v_tofloat(vi x) { return (vf)_mm256_cvtepi32_ps((__m256i)x); }
/* one product where 2^n is an ordinary float, else two, of which only the second rounds */
PE_INLINE vf v_ldexp(vf x, vf n) {
    vi k = v_toint(n);
    if (__builtin_expect(v_any(~(v_abs(n) <= v_set(126.0f))), 0)) {
        vi half = k >> 1;
        return x * v_frombits((half + 127) << 23) * v_frombits((k - half + 127) << 23);
    }
    return x * v_frombits((k + 127) << 23);
}
