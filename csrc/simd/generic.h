/* The vocabulary with nothing but the compiler's vectors and C. Slow where it loops over
 * lanes, but exact: the other levels are tested against it. */
#define VL 4
#include "simd.h"

PE_INLINE vf v_load_n(const float *p, size_t n) {
    vf x = {0};
    for (size_t i = 0; i < n; i++) x[i] = p[i];
    return x;
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
/* not m[i] != 0: gcc 12 at -O3 makes -1 of that where it sees the bytes read again */
PE_INLINE void v_store_mask(uint8_t *p, vi m) {
    for (int i = 0; i < VL; i++) p[i] = (uint8_t)(m[i] & 1);
}
PE_INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
PE_INLINE vf v_fma_exact(vf a, vf b, vf c) {
    typedef double wide __attribute__((vector_size(8 * VL)));
    wide sum = __builtin_convertvector(a, wide) * __builtin_convertvector(b, wide)
             + __builtin_convertvector(c, wide);
    return __builtin_convertvector(sum, vf);
}
PE_INLINE vf v_select(vi m, vf a, vf b) { return (vf)(((vi)a & m) | ((vi)b & ~m)); }
PE_INLINE vf v_lesser(vf a, vf b) { return v_select((vi)(a < b), a, b); }
PE_INLINE vf v_greater(vf a, vf b) { return v_select((vi)(a > b), a, b); }
PE_INLINE vf v_min(vf a, vf b) { return v_select((vi)(a < b) | (vi)(a != a), a, b); }
PE_INLINE vf v_max(vf a, vf b) { return v_select((vi)(a > b) | (vi)(a != a), a, b); }
#define PE_LANES(name, f)                                     \
    PE_INLINE vf name(vf x) {                                 \
        for (int i = 0; i < VL; i++) x[i] = f(x[i]);          \
        return x;                                             \
    }
PE_LANES(v_sqrt, __builtin_sqrtf)
PE_LANES(v_floor, __builtin_floorf)
PE_LANES(v_ceil, __builtin_ceilf)
PE_LANES(v_trunc, __builtin_truncf)
PE_LANES(v_round, __builtin_rintf)
#undef PE_LANES
PE_INLINE vf v_lanes(vf x, vi lanes) {
    vf y;
    for (int i = 0; i < VL; i++) y[i] = x[lanes[i]];
    return y;
}
PE_INLINE int v_any(vi m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
PE_INLINE vi v_toint(vf x) { return __builtin_convertvector(v_round(x), vi); }
PE_INLINE vf v_tofloat(vi x) { return __builtin_convertvector(x, vf); }
/* one product where 2^n is an ordinary float, else two, of which only the second rounds */
PE_INLINE vf v_ldexp(vf x, vf n) {
    vi k = v_toint(n);
    if (__builtin_expect(v_any(~(v_abs(n) <= v_set(126.0f))), 0)) {
        vi half = k >> 1;
        return x * v_frombits((half + 127) << 23) * v_frombits((k - half + 127) << 23);
    }
    return x * v_frombits((k + 127) << 23);
}
