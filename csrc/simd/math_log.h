/* log and what is made of it; included by math.h. */
#ifndef PE_SIMD_MATH_LOG_H
#define PE_SIMD_MATH_LOG_H

/* x = 2^n (1 + f), 1 + f in [sqrt(1/2), sqrt 2), f exact; x normal and positive */
PE_INLINE vf pe_split_log(vf x, vf *n) {
    vi above = pe_add_wrapping(v_bits(x), v_seti(-0x3f3504f3));
    *n = v_tofloat(above >> 23);
    return v_frombits((above & 0x007fffff) + 0x3f3504f3) - v_set(1.0f);
}

/* (log(1+f) - f) / f^2: -1/2 + f P(f), P of degree 7, 2^-27 off in relative terms of log(1+f) */
PE_INLINE vf pe_log_rest(vf f) {
    return V_POLY(f, -0.5f, 0x1.555554p-2f, -0x1.000226p-2f, 0x1.99a01cp-3f, -0x1.54728ap-3f,
                  0x1.22d92ep-3f, -0x1.0d8242p-3f, 0x1.055ec4p-3f, -0x1.38c9d4p-4f);
}

/* lanes that pe_split_log cannot take: 0, denormals, negative numbers, infinity, NaN */
PE_INLINE vi pe_log_odd(vf x) { return ~((vi)(x >= v_set(0x1p-126f)) & (vi)(x < v_set(__builtin_inff()))); }

/* the results of such lanes, y being right for denormals */
PE_INLINE vf pe_log_odd_result(vf x, vf y) {
    vf infinity = v_set(__builtin_inff());
    y = v_select((vi)(x == v_set(0.0f)), -infinity, y);
    y = v_select((vi)(x < v_set(0.0f)), v_set(__builtin_nanf("")), y);
    return v_select((vi)(x == infinity) | (vi)(x != x), x, y);
}

/* Base is a function of f and n that gives the logarithm; around it, what all three share:
 * denormals are scaled by 2^23 first, and the lanes without a logarithm replaced after. */
#define PE_LOG(name, base)                                                      \
    PE_INLINE vf name(vf x) {                                                   \
        vf n;                                                                   \
        vi odd = pe_log_odd(x);                                                 \
        if (__builtin_expect(v_any(odd), 0)) {                                  \
            vi small = (vi)(x < v_set(0x1p-126f));                              \
            vf f = pe_split_log(v_select(small, x * v_set(0x1p23f), x), &n);    \
            return pe_log_odd_result(x, base(f, v_select(small, n - v_set(23.0f), n))); \
        }                                                                       \
        vf f = pe_split_log(x, &n);                                             \
        return base(f, n);                                                      \
    }

/* ln2 = 15 bits (n times it is exact) + the rest */
PE_INLINE vf pe_log_e(vf f, vf n) {
    vf low = v_fma(f * f, pe_log_rest(f), n * v_set(0x1.7f7d1cp-20f));
    return v_fma(n, v_set(0x1.62e4p-1f), f + low);
}
/* log2(e) = 1 + 0.4426950 + 2^-26 ...: the product with f is taken apart, f itself is exact */
PE_INLINE vf pe_log_2(vf f, vf n) {
    vf rest = f * f * pe_log_rest(f);
    vf low = v_fma(rest, v_set(0x1.715476p+0f), f * v_set(0x1.4ae0c0p-26f));
    return n + v_fma(f, v_set(0x1.715476p+0f), low);
}
/* log10(e) and log10(2) in two parts each; the first of log10(2) has 14 bits */
PE_INLINE vf pe_log_10(vf f, vf n) {
    vf rest = f * f * pe_log_rest(f);
    vf low = v_fma(rest, v_set(0x1.bcb7b2p-2f), f * v_set(-0x1.5b235ep-27f));
    low = v_fma(n, v_set(0x1.3509f8p-18f), low);
    return v_fma(n, v_set(0x1.344p-2f), v_fma(f, v_set(0x1.bcb7b2p-2f), low));
}

/* log. Bound 1 ULP. n ln2 + log(1+f), 1 + f in [sqrt(1/2), sqrt 2), degree 10 polynomial. */
PE_LOG(v_log, pe_log_e)
/* log2. Bound 1.25 ULP (generic 2.25). Powers of 2 are exact. */
PE_LOG(v_log2, pe_log_2)
/* log10. Bound 1.25 ULP (generic 2.25). */
PE_LOG(v_log10, pe_log_10)
#undef PE_LOG

/* log(1 + e) for 0 <= e <= 1: f = e, or (e-1)/2 and ln2 beside it where e > sqrt(2) - 1 */
PE_INLINE vf pe_log1p_unit(vf e) {
    vi high = (vi)(e > v_set(0x1.a8279ap-2f));
    vf f = v_select(high, v_fma(e, v_set(0.5f), v_set(-0.5f)), e);
    vf n = v_frombits(high & v_bits(v_set(1.0f)));
    return pe_log_e(f, n);
}

/* log(1 + e^x). Bound 2 ULP. max(x, 0) + log(1 + e^-|x|): neither overflows nor loses the left tail. */
PE_INLINE vf v_softplus_unit(vf x) {
    return v_greater(v_set(0.0f), x) + pe_log1p_unit(v_exp(-v_abs(x)));
}

/* log(1 + x). Bound 2 ULP. n from the rounded 1 + x, then f = 2^-n x + (2^-n - 1) in one
 * rounding straight from x, so that nothing of a small x is lost (n = 0: f = x). */
PE_INLINE vf v_log1p(vf x) {
    vf one = v_set(1.0f), infinity = v_set(__builtin_inff()), n;
    vf u = v_lesser(v_set(0x1.fffffep127f), one + x);
    vf direct = pe_split_log(u, &n);
    vf scale = v_ldexp(one, -v_lesser(v_set(64.0f), n));
    vf f = v_select((vi)(n > v_set(30.0f)), direct, v_fma(x, scale, scale - one));
    vf y = pe_log_e(f, n);
    y = v_select((vi)(x == v_set(0.0f)), x, y);
    vi odd = ~((vi)(x > v_set(-1.0f)) & (vi)(x < infinity));
    if (__builtin_expect(v_any(odd), 0)) return v_select(odd, pe_log_odd_result(one + x, y), y);
    return y;
}

#endif
