/* The vocabulary of byte products, over a level's own header: groups of four products summed into int32.
 *
 *   acc[x] + sum over t < 4 of a[t] * b[4 x + t]      a unsigned, b signed, x < VL; exact modulo 2^32
 *
 * No step saturates: where there is no instruction for it, bytes are widened to 16 bits and multiplied in
 * pairs, which cannot overflow. Halves: a level without the instruction takes a group in two steps, the
 * even bytes (0, 2) and the odd ones (1, 3), since these two are widened by shifts alone.
 *
 *   DOT_HALVES           1 or 2                     DOT_GROUP   bytes of one group of a as dot_spread leaves it
 *   dot_a(p, half)       one group, in every lane   dot_b(p, half)   VL groups of b at p
 *   v_dot(acc, a, b)     acc + the half's products
 *   v_nibble(words, t)   float of four bits of each word
 */
#ifndef PE_DOT_H
#define PE_DOT_H

#if defined(__SSE2__)
#include <emmintrin.h> /* the generic level has no header of its own for x86 */
#endif

typedef uint32_t vu32 __attribute__((vector_size(4 * VL))); /* sums wrap: defined for unsigned lanes alone */
typedef uint16_t vu16 __attribute__((vector_size(4 * VL)));
typedef int16_t vi16 __attribute__((vector_size(4 * VL)));

PE_INLINE int32_t dot_word(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

#if defined(PE_DOT_HALF)
/* Two products of bfloat16, the odd element's first: acc = fma(a1, b1, acc), then fma(a0, b0, acc), each rounded to
 * nearest even; numbers below 2^-126 count as 0, given and made. */
#define DOT_HALVES 1
PE_INLINE vi v_dot(vi acc, vi a, vi b) {
    return (vi)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b);
}
#elif defined(__AVX512VNNI__) && VL == 16
#define DOT_HALVES 1
PE_INLINE vi v_dot(vi acc, vi a, vi b) {
    return (vi)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)a, (__m512i)b);
}
#elif defined(__aarch64__) && defined(__ARM_FEATURE_MATMUL_INT8) && defined(PE_HAS_NEON)
#define DOT_HALVES 1
PE_INLINE vi v_dot(vi acc, vi a, vi b) {
    return (vi)vusdotq_s32((int32x4_t)acc, (uint8x16_t)a, (int8x16_t)b);
}
#else
#define DOT_HALVES 2
/* products of 16-bit numbers, neighbours added */
PE_INLINE vi dot_pairs(vi a, vi b) {
#if VL == 16
    return (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif VL == 8
    return (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(PE_HAS_NEON)
    int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
    return (vi)vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
#else
    vi low_a = (vi)((vu32)a << 16) >> 16, low_b = (vi)((vu32)b << 16) >> 16;
    return low_a * low_b + (a >> 16) * (b >> 16);
#endif
}
PE_INLINE vi v_dot(vi acc, vi a, vi b) { return (vi)((vu32)acc + (vu32)dot_pairs(a, b)); }
#endif

/* The float of each word's nibble `step` (0 the lowest). A look-up of sixteen takes the low four bits of its
 * index by itself: two instructions where masking and conversion are three. */
PE_INLINE vf v_nibble(vi words, int step) {
#if VL == 16
    const vf table = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    return (vf)_mm512_permutexvar_ps((__m512i)(words >> (4 * step)), (__m512)table);
#else
    return v_tofloat(words >> (4 * step) & 15);
#endif
}

#if DOT_HALVES == 1
#define DOT_GROUP 4
PE_INLINE vi dot_a(const uint8_t *p, int half) { return (void)half, v_seti(dot_word(p)); }
PE_INLINE vi dot_b(const int8_t *p, int half) { return (void)half, v_loadi((const int32_t *)p); }
PE_INLINE void dot_spread(uint8_t *to, uint32_t group) { memcpy(to, &group, 4); }
#else
#define DOT_GROUP 8
PE_INLINE vi dot_a(const uint8_t *p, int half) { return v_seti(dot_word(p + 4 * half)); }
PE_INLINE vi dot_b(const int8_t *p, int half) {
    vi bytes = v_loadi((const int32_t *)p);
    return (vi)((half ? (vi16)bytes : (vi16)((vu16)bytes << 8)) >> 8);
}
PE_INLINE void dot_spread(uint8_t *to, uint32_t group) {
    uint32_t even = group & 0x00ff00ff, odd = group >> 8 & 0x00ff00ff;
    memcpy(to, &even, 4);
    memcpy(to + 4, &odd, 4);
}
#endif

#endif
