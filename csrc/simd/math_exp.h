/* exp and what is made of it; included by math.h. */
#ifndef PE_SIMD_MATH_EXP_H
#define PE_SIMD_MATH_EXP_H

/* x = n ln2 + r with |r| <= ln2/2 (1 + 2^-20). The first part of ln2 has 15 bits, so its
 * product with n (8 bits) is exact and the subtraction too, fused or not. Adding 1.5 2^23
 * rounds to the nearest whole number. NaN stays NaN. For |x| < 180. */
PE_INLINE vf pe_reduce_ln2(vf x, vf *n) {
    vf magic = v_set(0x1.8p23f);
    *n = v_fma(x, v_set(0x1.715476p+0f), magic) - magic;
    vf r = v_fma(*n, v_set(-0x1.62e4p-1f), x);
    return v_fma(*n, v_set(-0x1.7f7d1cp-20f), r);
}

/* exp(r) on |r| <= ln2/2: 1 + r + r^2 P(r), P of degree 4, 2^-28 off */
PE_INLINE vf pe_exp_near0(vf r) {
    return V_POLY(r, 1.0f, 1.0f, 0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558b4p-5f, 0x1.1239a0p-7f,
                  0x1.6a495ep-10f);
}

/* expm1(r) on |r| <= ln2/2: r + r^2 P(r), P of degree 5, 2^-31 off in relative terms */
PE_INLINE vf pe_expm1_near0(vf r) {
    vf p = V_POLY(r, 0.5f, 0x1.555556p-3f, 0x1.5554f6p-5f, 0x1.111004p-7f, 0x1.6d3cacp-10f,
                  0x1.a242e8p-13f);
    return v_fma(r * r, p, r);
}

/* between two bounds; NaN passes */
PE_INLINE vf pe_clamp(vf x, float low, float high) {
    return v_greater(v_set(low), v_lesser(v_set(high), x));
}

/* 2^n for a whole number n in [-126, 127], by its bits */
PE_INLINE vf pe_power_of_2(vf n) {
    return v_frombits(pe_add_wrapping(v_bits(n + v_set(0x1.8p23f)) << 23, v_bits(v_set(1.0f))));
}

/* y 2^n for y in [0.7, 1.42]. What is below half of the least denormal is 0 at once: to find that out by itself takes
 * the processor some 200 cycles a vector (Emerald Rapids), and softmax has many such. */
PE_INLINE vf pe_scaled_or_0(vf y, vf n, float least) {
    vi nothing = (vi)(n < v_set(least));
    return v_select(nothing, v_set(0.0f), v_ldexp(y, v_select(nothing, v_set(0.0f), n)));
}
PE_INLINE vf pe_scaled(vf y, vf n) { return pe_scaled_or_0(y, n, -150.0f); }

/* 2^shift exp(x) for a whole number shift, |shift| <= 2: neither overflows nor rounds early */
PE_INLINE vf pe_exp_shifted(vf x, float shift) {
    vf n;
    vf r = pe_reduce_ln2(pe_clamp(x, -106.0f, 92.0f), &n);
    return pe_scaled(pe_exp_near0(r), shift == 0.0f ? n : n + v_set(shift));
}

/* e^x. Bound 1 ULP (generic 1.25). Reduction by ln2 in two parts, degree 6 polynomial, one scaling. */
PE_INLINE vf v_exp(vf x) { return pe_exp_shifted(x, 0.0f); }

/* 2^f on |f| <= 1/2: 1 + f P(f), P of degree 5 */
PE_INLINE vf pe_exp2_near0(vf f) {
    vf p = V_POLY(f, 0x1.62e430p-1f, 0x1.ebfbdcp-3f, 0x1.c6af7cp-5f, 0x1.3b2de0p-7f, 0x1.5f082ep-10f,
                  0x1.416b52p-13f);
    return v_fma(f, p, v_set(1.0f));
}

/* 2^x for x < 129. Bound 1 ULP (generic 1.25). x = n + f exactly, |f| <= 1/2. */
PE_INLINE vf pe_exp2_negative(vf x) {
    x = v_greater(v_set(-152.0f), x);
    vf n = v_round(x);
    return pe_scaled(pe_exp2_near0(x - n), n);
}

/* The weights of a softmax, for x <= 0: e^x and 2^x with their bounds, but 0 below 2^-125, where products with them
 * would be denormal and take the processor hundreds of cycles. Beside a weight of 1 they are nothing. */
PE_INLINE vf pe_weight(vf y, vf n) { return pe_scaled_or_0(y, n, -125.0f); }
PE_INLINE vf v_exp_weight(vf x) {
    vf n;
    vf r = pe_reduce_ln2(v_greater(v_set(-106.0f), x), &n);
    return pe_weight(pe_exp_near0(r), n);
}
PE_INLINE vf v_exp2_weight(vf x) {
    x = v_greater(v_set(-152.0f), x);
    vf n = v_round(x);
    return pe_weight(pe_exp2_near0(x - n), n);
}

/* 2^x. Bound 1 ULP (generic 1.25). */
PE_INLINE vf v_exp2(vf x) { return pe_exp2_negative(v_lesser(v_set(129.0f), x)); }

/* e^x - 1. Bound 2 ULP. 2^n (expm1(r) + 1) - 1 as 2^n expm1(r) + (2^n - 1); at n = 128 half of
 * it is computed, as 2^128 is no float. */
PE_INLINE vf v_expm1(vf x) {
    vf n;
    vf r = pe_reduce_ln2(pe_clamp(x, -18.0f, 89.0f), &n);
    vi top = (vi)(n > v_set(127.0f));
    vf scale = pe_power_of_2(v_lesser(v_set(127.0f), n));
    vf y = v_fma(scale, pe_expm1_near0(r), scale - v_set(1.0f));
    return v_copysign(v_select(top, y + y, y), x);
}

/* 1 / (1 + e^-x). Bound 2 ULP. e = exp(-|x|) cannot overflow. With s = e/(1+e): 1 - s to the
 * right; to the left s, taken as e - e s, where the roundings of the quotient count for less
 * and denormals survive. */
PE_INLINE vf v_sigmoid(vf x) {
    vf one = v_set(1.0f);
    vf e = v_exp(-v_abs(x));
    vf side = v_select((vi)(x < v_set(0.0f)), e, one);
    return v_fma(-side, e / (one + e), side);
}

/* tanh. Bound 2.4 ULP. m / (m + 2) with m = expm1(2|x|), from 9.1 on it rounds to 1. Below 0.4
 * the same of -|x|: there m + 2 is under 2 and rounds half as coarsely. */
PE_INLINE vf v_tanh(vf x) {
    vf a = v_lesser(v_set(10.0f), v_abs(x)), two = v_set(2.0f), n;
    vf r = pe_reduce_ln2(a * v_select((vi)(a < v_set(0.4f)), -two, two), &n);
    vf scale = pe_power_of_2(n);
    vf m = v_fma(scale, pe_expm1_near0(r), scale - v_set(1.0f));
    return v_copysign(m / (m + two), x);
}

/* sinh. Bound 2 ULP. Below 1: x + x^3 P(x^2), P of degree 3. Above: h - 1/(4h) with
 * h = e^|x| / 2, which overflows where sinh does. */
PE_INLINE vf v_sinh(vf x) {
    vf a = v_abs(x), z = x * x;
    vf p = V_POLY(z, 0x1.555556p-3f, 0x1.1110e2p-7f, 0x1.a02156p-13f, 0x1.75a6f4p-19f);
    vf half = pe_exp_shifted(a, -1.0f);
    vf far = half - v_set(0.25f) / half;
    return v_copysign(v_select((vi)(a < v_set(1.0f)), v_fma(z * a, p, a), far), x);
}

/* cosh. Bound 2 ULP. h + 1/(4h), h = e^|x| / 2. */
PE_INLINE vf v_cosh(vf x) {
    vf half = pe_exp_shifted(v_abs(x), -1.0f);
    return half + v_set(0.25f) / half;
}

#endif
