/* The vocabulary with nothing but the compiler's vectors and C. Slow where it loops over
 * lanes, but exact: the other levels are tested against it. */
#define VL 4
#include "simd.h"

#include <math.h>

PE_INLINE vf v_load_n(const float *p, size_t n) {
    vf x = {0};
    for (size_t i = 0; i < n; i++) x[i] = p[i];
    return x;
}
PE_INLINE void v_store_n(float *p, vf x, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = x[i];
}
PE_INLINE vi v_load_mask(const uint8_t *p) {
    vi wide = {p[0], p[1], p[2], p[3]};
    return wide != 0;
}
PE_INLINE void v_store_mask(uint8_t *p, vi m) {
    for (int i = 0; i < VL; i++) p[i] = (uint8_t)(m[i] != 0);
}
PE_INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
PE_INLINE vf v_select(vi m, vf a, vf b) { return (vf)(((vi)a & m) | ((vi)b & ~m)); }
PE_INLINE vf v_min(vf a, vf b) { return v_select((vi)(a < b) | (vi)(a != a), a, b); }
PE_INLINE vf v_max(vf a, vf b) { return v_select((vi)(a > b) | (vi)(a != a), a, b); }
#define PE_LANES(name, f)                                     \
    PE_INLINE vf name(vf x) {                                 \
        for (int i = 0; i < VL; i++) x[i] = f(x[i]);          \
        return x;                                             \
    }
PE_LANES(v_sqrt, sqrtf)
PE_LANES(v_floor, floorf)
PE_LANES(v_ceil, ceilf)
PE_LANES(v_trunc, truncf)
PE_LANES(v_round, rintf)
#undef PE_LANES
PE_INLINE int v_any(vi m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
PE_INLINE vi v_toint(vf x) { return __builtin_convertvector(v_round(x), vi); }
PE_INLINE vf v_tofloat(vi x) { return __builtin_convertvector(x, vf); }
