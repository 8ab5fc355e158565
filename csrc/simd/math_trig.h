/* Circular functions and their inverses; included by math.h. */
#ifndef PE_SIMD_MATH_TRIG_H
#define PE_SIMD_MATH_TRIG_H

/* The nearest multiple of pi/2 taken off x >= 0 of any size: returns the number of quarter
 * turns mod 4, *r + *rest gets what is left. Payne and Hanek in integers: of 2/pi only the 96 bits that
 * matter at x's exponent meet its 24; what lies above is a whole number of turns, what lies
 * below is under 2^-60. NaN for infinity and NaN. */
static __attribute__((noinline, unused)) int32_t pe_reduce_large_lane(float x, float *r, float *rest) {
    /* 2/pi, with 32 leading zeros so that the window can begin before the binary point */
    static const uint32_t two_over_pi[] = {0,          0xa2f9836e, 0x4e441529, 0xfc2757d1,
                                           0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 23) - 150;
    if (exponent > 104) {
        *r = *rest = x - x;
        return 0;
    }
    if (exponent < -24) {
        *r = x;
        *rest = 0.0f;
        return 0;
    }
    uint64_t mantissa = (bits & 0x007fffff) | 0x00800000;
    unsigned first = (unsigned)(30 + exponent), word = first / 32, shift = first % 32;
    uint64_t high = ((uint64_t)two_over_pi[word] << 32) | two_over_pi[word + 1];
    uint64_t next = ((uint64_t)two_over_pi[word + 2] << 32) | two_over_pi[word + 3];
    uint64_t low = next >> 32;
    if (shift > 0) {
        high = high << shift | next >> (64 - shift);
        low = next << shift >> 32;
    }
    /* quarter turns mod 4, with 62 bits behind the point */
    uint64_t turns = mantissa * high + (mantissa * low >> 32);
    uint64_t quarter = (turns + ((uint64_t)1 << 61)) >> 62;
    double fraction = (double)(int64_t)(turns - (quarter << 62)) * 0x1p-62;
    double angle = fraction * 0x1.921fb54442d18p+0;
    *r = (float)angle;
    *rest = (float)(angle - *r);
    return (int32_t)quarter;
}

/* Every lane of a >= 0 by way of pe_reduce_large_lane. */
static __attribute__((noinline, unused)) void pe_reduce_large(const float *a, float *r, float *rest,
                                                              int32_t *quarter) {
    for (int i = 0; i < VL; i++) quarter[i] = pe_reduce_large_lane(a[i], r + i, rest + i);
}

/* a = quarter pi/2 + r + rest for a >= 0, |r| <= pi/4 (1 + 2^-7); quarter is right mod 4.
 * Up to 1e5: pi/2 in three floats. a - n first is exact (both are multiples of 2^-23 and the
 * result is below 1), the second step's rounding goes to rest. */
PE_INLINE vf pe_reduce_pi(vf a, vi *quarter, vf *rest) {
    vf magic = v_set(0x1.8p23f);
    vf shifted = v_fma(a, v_set(0x1.45f306p-1f), magic);
    vf n = shifted - magic;
    vf coarse = v_fma_exact(n, v_set(-0x1.921fb6p+0f), a);
    vf second = n * v_set(0x1.777a5cp-25f);
    vf second_rest = v_fma_exact(n, v_set(0x1.777a5cp-25f), -second);
    vf r = coarse + second;
    /* exact where coarse is the larger or the two cancel; else half an ULP of r stays lost */
    vf lost = (coarse - r) + second;
    *rest = v_fma(n, v_set(0x1.ee59dap-50f), second_rest + lost);
    *quarter = v_bits(shifted);
    vi large = ~(vi)(a <= v_set(1e5f));
    if (__builtin_expect(v_any(large), 0)) {
        /* only the large lanes: the bits of an element must not depend on its neighbours */
        float lanes[VL], rests[VL];
        int32_t quarters[VL];
        v_store(lanes, a);
        pe_reduce_large(lanes, lanes, rests, quarters);
        *quarter = (v_loadi(quarters) & large) | (*quarter & ~large);
        *rest = v_select(large, v_load(rests), *rest);
        return v_select(large, v_load(lanes), r);
    }
    return r;
}

/* sin(r + rest), r + r^3 P(r^2), P of degree 2, 2^-28 off */
PE_INLINE vf pe_sin_near0(vf r, vf z, vf rest) {
    vf p = V_POLY(z, -0x1.555546p-3f, 0x1.11077ap-7f, -0x1.9954a8p-13f);
    return r + v_fma(z * r, p, rest);
}

/* cos(r + rest), 1 - z/2 + z^2 P(z) - r rest with z = r^2, P of degree 2 */
PE_INLINE vf pe_cos_near0(vf r, vf z, vf rest) {
    vf p = V_POLY(z, 0x1.55554ap-5f, -0x1.6c0c1ap-10f, 0x1.99e0ecp-16f);
    vf low = v_fma(z * z, p, -(r * rest));
    return v_fma(z, v_set(-0.5f), v_set(1.0f)) + low;
}

/* sin for offset 0, cos for offset 1, with the sign of the quarter turn */
PE_INLINE vf pe_sin_quarters(vf x, int32_t offset) {
    vi quarter;
    vf rest, r = pe_reduce_pi(v_abs(x), &quarter, &rest), z = r * r;
    quarter = quarter + v_seti(offset);
    vf y = v_select((quarter & 1) == 0, pe_sin_near0(r, z, rest), pe_cos_near0(r, z, rest));
    return v_frombits(v_bits(y) ^ ((quarter & 2) << 30));
}

/* sin. Bound 1.5 ULP for every x: three floats of pi/2 up to 1e5, exact integers beyond. */
PE_INLINE vf v_sin(vf x) {
    return v_frombits(v_bits(pe_sin_quarters(x, 0)) ^ (v_bits(x) & v_seti(INT32_MIN)));
}

/* cos. Bound 1.5 ULP for every x. */
PE_INLINE vf v_cos(vf x) { return pe_sin_quarters(x, 1); }

/* tan. Bound 2 ULP for every x. t = r + r^3 P(r^2), P of degree 6; t or -1/t. */
PE_INLINE vf v_tan(vf x) {
    vi quarter;
    vf rest, r = pe_reduce_pi(v_abs(x), &quarter, &rest), z = r * r, one = v_set(1.0f);
    vf p = V_POLY(z, 0x1.555562p-2f, 0x1.110d22p-3f, 0x1.baee2ep-5f, 0x1.5bf932p-6f, 0x1.66a9c4p-7f,
                  -0x1.833212p-15f, 0x1.23192ap-8f);
    vf t = r + v_fma(z * r, p, v_fma(rest, z, rest));
    vi odd = (quarter & 1) != 0;
    vf y = v_select(odd, -one, t) / v_select(odd, t, one);
    return v_frombits(v_bits(y) ^ (v_bits(x) & v_seti(INT32_MIN)));
}

/* asin(s) - s on [0, 1/2]: s^3 P(s^2), P of degree 4; z = s^2 */
PE_INLINE vf pe_asin_rest(vf s, vf z) {
    vf p = V_POLY(z, 0x1.5555cap-3f, 0x1.33016ap-4f, 0x1.748a2cp-5f, 0x1.8bb538p-6f, 0x1.59cc8ep-5f);
    return z * s * p;
}

/* asin. Bound 1.5 ULP. Above 1/2: pi/2 - 2 asin(sqrt((1-|x|)/2)); NaN beyond 1. */
PE_INLINE vf v_asin(vf x) {
    vf a = v_abs(x);
    vi far = (vi)(a > v_set(0.5f));
    vf z = v_select(far, v_fma(a, v_set(-0.5f), v_set(0.5f)), a * a);
    vf s = v_select(far, v_sqrt(z), a), rest = pe_asin_rest(s, z), two = v_set(2.0f);
    vf quarter = v_set(0x1.921fb6p+0f), first = v_fma(s, -two, quarter);
    vf lost = v_fma(s, -two, quarter - first);
    vf turned = first + (lost - v_fma(rest, two, v_set(0x1.777a5cp-25f)));
    return v_copysign(v_select(far, turned, s + rest), x);
}

/* acos. Bound 1.5 ULP. Above 1/2: 2 asin(sqrt((1-x)/2)), below -1/2 pi minus that of -x,
 * between them pi/2 - asin(x). */
PE_INLINE vf v_acos(vf x) {
    vf a = v_abs(x);
    vi far = (vi)(a > v_set(0.5f)), left = (vi)(x < v_set(0.0f));
    vf z = v_select(far, v_fma(a, v_set(-0.5f), v_set(0.5f)), a * a);
    vf s = v_select(far, v_sqrt(z), a);
    vf y = s + pe_asin_rest(s, z);
    vf inner = v_set(0x1.921fb6p+0f) - (v_copysign(y, x) + v_set(0x1.777a5cp-25f));
    vf outer = y + y;
    vf turned = v_set(0x1.921fb6p+1f) - (outer + v_set(0x1.777a5cp-24f));
    return v_select(far, v_select(left, turned, outer), inner);
}

/* atan(t) on [0, 1]: t + t^3 P(t^2), P of degree 8 */
PE_INLINE vf pe_atan_unit(vf t) {
    vf z = t * t;
    vf p = V_POLY(z, -0x1.555540p-2f, 0x1.999268p-3f, -0x1.24265ap-3f, 0x1.c0cc0ap-4f, -0x1.58c9acp-4f,
                  0x1.dccf18p-5f, -0x1.01707cp-5f, 0x1.6a08dep-7f, -0x1.de0e8ep-10f);
    return v_fma(z * t, p, t);
}

/* atan. Bound 2 ULP. Above 1: pi/2 - atan(1/|x|). */
PE_INLINE vf v_atan(vf x) {
    vf a = v_abs(x), one = v_set(1.0f);
    vi far = (vi)(a > one);
    vf y = pe_atan_unit(v_select(far, one, a) / v_select(far, a, one));
    vf turned = v_set(0x1.921fb6p+0f) - (y + v_set(0x1.777a5cp-25f));
    return v_copysign(v_select(far, turned, y), x);
}

/* The angle of the point (x, y), as C's atan2f. Bound 2 ULP. Smaller over larger of |x| and
 * |y| into [0, pi/4], then mirrored at the diagonal and at the y axis. Equal ones count as 1
 * (two infinities), two zeros as 0. */
PE_INLINE vf v_atan2(vf y, vf x) {
    vf a = v_abs(x), b = v_abs(y), zero = v_set(0.0f);
    vf large = v_max(a, b), small = v_min(a, b);
    vf t = v_select((vi)(large == small), v_set(1.0f), small / large);
    vf angle = pe_atan_unit(v_select((vi)(large == zero), zero, t));
    vf steep = v_set(0x1.921fb6p+0f) - (angle + v_set(0x1.777a5cp-25f));
    angle = v_select((vi)(b > a), steep, angle);
    vf behind = v_set(0x1.921fb6p+1f) - (angle + v_set(0x1.777a5cp-24f));
    return v_copysign(v_select(v_bits(x) < 0, behind, angle), y);
}

#endif
