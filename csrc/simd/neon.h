/* What the compiler's vectors cannot say, in AArch64 NEON. */
#define VL 4
#define PE_HAS_NEON
#include "simd.h"

#include <arm_neon.h>

PE_INLINE vf v_load_n(const float *p, size_t n) {
    float lanes[VL] = {0};
    for (size_t i = 0; i < n; i++) lanes[i] = p[i];
    return v_load(lanes);
}
PE_INLINE void v_store_n(float *p, vf x, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = x[i];
}
PE_INLINE void v_stream(float *p, vf x) { v_store(p, x); }
PE_INLINE void v_stream_end(void) {}
PE_INLINE vi v_load_mask(const uint8_t *p) {
    vi wide = {p[0], p[1], p[2], p[3]};
    return wide != 0;
}
/* not m[i] != 0 lane by lane: see generic.h */
PE_INLINE void v_store_mask(uint8_t *p, vi m) {
    uint16x4_t half = vmovn_u32((uint32x4_t)(m & 1));
    uint8x8_t bytes = vmovn_u16(vcombine_u16(half, half));
    memcpy(p, &bytes, VL);
}
PE_INLINE vf v_fma(vf a, vf b, vf c) { return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
PE_INLINE vf v_fma_exact(vf a, vf b, vf c) { return v_fma(a, b, c); }
PE_INLINE vf v_select(vi m, vf a, vf b) {
    return (vf)vbslq_f32((uint32x4_t)m, (float32x4_t)a, (float32x4_t)b);
}
PE_INLINE vf v_lesser(vf a, vf b) { return v_select((vi)(a < b), a, b); }
PE_INLINE vf v_greater(vf a, vf b) { return v_select((vi)(a > b), a, b); }
/* NEON's own minimum orders -0 below +0; the vocabulary does not */
PE_INLINE vf v_min(vf a, vf b) { return v_select((vi)(a < b) | (vi)(a != a), a, b); }
PE_INLINE vf v_max(vf a, vf b) { return v_select((vi)(a > b) | (vi)(a != a), a, b); }
PE_INLINE vf v_sqrt(vf x) { return (vf)vsqrtq_f32((float32x4_t)x); }
PE_INLINE vf v_floor(vf x) { return (vf)vrndmq_f32((float32x4_t)x); }
PE_INLINE vf v_ceil(vf x) { return (vf)vrndpq_f32((float32x4_t)x); }
PE_INLINE vf v_trunc(vf x) { return (vf)vrndq_f32((float32x4_t)x); }
PE_INLINE vf v_round(vf x) { return (vf)vrndnq_f32((float32x4_t)x); }
PE_INLINE vf v_lanes(vf x, vi lanes) {
    return (vf)vqtbl1q_u8((uint8x16_t)x, (uint8x16_t)(lanes * 0x04040404 + 0x03020100)); /* bytes of lanes */
}
PE_INLINE int v_any(vi m) { return vmaxvq_u32((uint32x4_t)m) != 0; }
PE_INLINE vi v_toint(vf x) { return (vi)vcvtnq_s32_f32((float32x4_t)x); }
PE_INLINE vf v_tofloat(vi x) { return (vf)vcvtq_f32_s32((int32x4_t)x); }
/* one product where 2^n is an ordinary float, else two, of which only the second rounds */
PE_INLINE vf v_ldexp(vf x, vf n) {
    vi k = v_toint(n);
    if (__builtin_expect(v_any(~(v_abs(n) <= v_set(126.0f))), 0)) {
        vi half = k >> 1;
        return x * v_frombits((half + 127) << 23) * v_frombits((k - half + 127) << 23);
    }
    return x * v_frombits((k + 127) << 23);
}
