/* The vocabulary: what a kernel may say. One page, to be known by heart.
 *
 * A vector `vf` holds VL floats, a vector `vi` VL int32. Both are the compiler's own
 * vectors, so + - * / unary -, comparisons (lanes of 0 or -1, a `vi`), & | ^ ~ << >>
 * are written as in C; a scalar operand is splat by v_set / v_seti. Everything else is a
 * verb. Each verb is a pure function with the same meaning on every level:
 *
 *   v_load(p)           VL floats from p, any alignment      v_store(p, x)
 *   v_load_n(p, n)      the first n < VL, other lanes 0; reads nothing past p[n-1]
 *   v_store_n(p, x, n)  writes the first n < VL lanes only
 *   v_set(s) v_seti(s)  every lane s
 *   v_loadi v_storei    int32, any alignment
 *   v_load_bf16(p)      VL bfloat16 (each the upper half of a float32), widened
 *   v_load_mask(p)      VL bytes: lane -1 where the byte is not 0
 *   v_store_mask(p, m)  VL bytes: 1 where the lane is -1, else 0
 *   v_fma(a, b, c)      a*b + c in one rounding (generic: two roundings)
 *   v_fma_exact         the same, and near one rounding on the generic level too (through double,
 *                       slow): for differences that must cancel exactly
 *   v_lesser(a, b)      a < b ? a : b, so b when either is NaN: one instruction; to clamp with
 *   v_greater(a, b)     a > b ? a : b          a bound that lets NaN pass, give the bound first
 *   v_min v_max         NaN if either is NaN (the first one's, else the second's);
 *                       of equal numbers the second (so max(-0, +0) is +0, max(+0, -0) is -0)
 *   v_sqrt              correctly rounded
 *   v_floor v_ceil v_trunc v_round(ties to even)   -0 and NaN kept
 *   v_abs v_copysign(magnitude, sign)              on bits alone, NaN included
 *   v_select(m, a, b)   a where the lane of m is -1, b where 0; no other lanes allowed
 *   v_any(m)            1 if some lane of m is -1
 *   v_toint(x)          nearest int32, ties to even; defined for |x| < 2^31
 *   v_tofloat(i)        nearest float
 *   v_ldexp(x, n)       x * 2^n in one rounding, denormals and infinity right; x is NaN or
 *                       2^-40 < |x| < 2^40, n a whole number, |n| <= 252, or both are NaN
 *   v_bits(x) v_frombits(i)   the same bits as the other type
 *   v_evens v_odds(a, b)         lanes 0, 2, 4, ... (1, 3, 5, ...) of a, then of b
 *   v_zip_low v_zip_high(a, b)   lanes of a and b in turn: of their lower (upper) halves
 *   v_lanes(x, i)                lane l is x's lane i[l]; every i is one of 0 .. VL - 1
 *   v_prefetch(p)       a hint: p is read soon; v_prefetch_l2(p): a little later;
 *   v_prefetch_write(p) p is written soon
 *   v_stream(p, x)      v_store past the caches where the level can; p on a boundary of a whole vector. Other threads
 *   v_stream_end()      see it for sure once this thread has said so
 *
 * This file holds what follows from the compiler's vectors; avx512.h, avx2.h, neon.h and
 * generic.h say the rest.
 */
#ifndef PE_SIMD_H
#define PE_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Before a loop of constant length over registers: writes it out, since an array indexed by a variable would live in
 * memory. Loops without it are written out only where they are tiny (csrc/make.py). */
#ifdef __clang__
#define PE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PE_UNROLL _Pragma("GCC unroll 16")
#endif
/* the same, but not where the level is compiled to be small */
#ifdef __OPTIMIZE_SIZE__
#define PE_UNROLL_FAST
#else
#define PE_UNROLL_FAST PE_UNROLL
#endif

#define PE_INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
/* the same for memory of any alignment, which may alias anything */
typedef float vf_mem __attribute__((vector_size(4 * VL), aligned(4), may_alias));
typedef uint16_t vh_mem __attribute__((vector_size(2 * VL), aligned(2), may_alias));
typedef int32_t vi_mem __attribute__((vector_size(4 * VL), aligned(1), may_alias)); /* bytes too are read so */

PE_INLINE vf v_load(const float *p) { return *(const vf_mem *)p; }
PE_INLINE void v_store(float *p, vf x) { *(vf_mem *)p = x; }
PE_INLINE vi v_loadi(const int32_t *p) { return *(const vi_mem *)p; }
PE_INLINE vf v_load_bf16(const uint16_t *p) {
    return (vf)(__builtin_convertvector(*(const vh_mem *)p, vi) << 16);
}
PE_INLINE void v_storei(int32_t *p, vi x) { *(vi_mem *)p = x; }
/* x - 0 and not 0 + x: subtraction of +0 keeps -0 */
PE_INLINE vf v_set(float s) { return s - (vf){0}; }
PE_INLINE vi v_seti(int32_t s) { return s - (vi){0}; }
PE_INLINE vi v_bits(vf x) { return (vi)x; }
PE_INLINE vf v_frombits(vi x) { return (vf)x; }
PE_INLINE vf v_abs(vf x) { return (vf)((vi)x & v_seti(0x7fffffff)); }
PE_INLINE vf v_copysign(vf magnitude, vf sign) {
    vi top = v_seti(INT32_MIN);
    return (vf)(((vi)magnitude & ~top) | ((vi)sign & top));
}

/* gcc wants the lanes as constants, one by one */
#if VL == 16
#define PE_EVERY_OTHER(a, b, i) \
    __builtin_shufflevector(a, b, i, i + 2, i + 4, i + 6, i + 8, i + 10, i + 12, i + 14, i + 16, i + 18, i + 20, \
                            i + 22, i + 24, i + 26, i + 28, i + 30)
#define PE_LANES_IN_TURN(a, b, i) \
    __builtin_shufflevector(a, b, i, i + 16, i + 1, i + 17, i + 2, i + 18, i + 3, i + 19, i + 4, i + 20, i + 5, \
                            i + 21, i + 6, i + 22, i + 7, i + 23)
#elif VL == 8
#define PE_EVERY_OTHER(a, b, i) \
    __builtin_shufflevector(a, b, i, i + 2, i + 4, i + 6, i + 8, i + 10, i + 12, i + 14)
#define PE_LANES_IN_TURN(a, b, i) \
    __builtin_shufflevector(a, b, i, i + 8, i + 1, i + 9, i + 2, i + 10, i + 3, i + 11)
#else
#define PE_EVERY_OTHER(a, b, i) __builtin_shufflevector(a, b, i, i + 2, i + 4, i + 6)
#define PE_LANES_IN_TURN(a, b, i) __builtin_shufflevector(a, b, i, i + 4, i + 1, i + 5)
#endif
PE_INLINE vf v_evens(vf a, vf b) { return PE_EVERY_OTHER(a, b, 0); }
PE_INLINE vf v_odds(vf a, vf b) { return PE_EVERY_OTHER(a, b, 1); }
PE_INLINE vf v_zip_low(vf a, vf b) { return PE_LANES_IN_TURN(a, b, 0); }
PE_INLINE vf v_zip_high(vf a, vf b) { return PE_LANES_IN_TURN(a, b, VL / 2); }

PE_INLINE void v_prefetch(const void *p) { __builtin_prefetch(p); }
PE_INLINE void v_prefetch_l2(const void *p) { __builtin_prefetch(p, 0, 2); }
PE_INLINE void v_prefetch_write(const void *p) { __builtin_prefetch(p, 1); }

#endif
