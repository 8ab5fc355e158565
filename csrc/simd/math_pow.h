/* Powers and roots; included by math.h. */
#ifndef PE_SIMD_MATH_POW_H
#define PE_SIMD_MATH_POW_H

/* 1/sqrt(x) from the quotient q and what the root's own rounding took: with lost = x - root^2
 * it is q - q^3 lost / 2. For x over 2^-100, where lost is no denormal. */
PE_INLINE vf pe_rsqrt_normal(vf x) {
    vf root = v_sqrt(x), q = v_set(1.0f) / root;
    vf lost = v_fma_exact(-root, root, x);
    vf better = v_fma(lost * q * q * v_set(-0.5f), q, q);
    vi fine = (vi)(x > v_set(0.0f)) & (vi)(x < v_set(__builtin_inff()));
    return v_select(fine, better, q);
}

/* 1 / sqrt(x). Bound 1 ULP. Small numbers are scaled by 2^64 first. */
PE_INLINE vf v_rsqrt(vf x) {
    vi small = (vi)(x < v_set(0x1p-100f));
    if (__builtin_expect(v_any(small), 0)) {
        vf y = pe_rsqrt_normal(v_select(small, x * v_set(0x1p64f), x));
        return v_select(small, y * v_set(0x1p32f), y);
    }
    return pe_rsqrt_normal(x);
}

/* log2 of 2^extra a as high + *low, about 2^-33 off in relative terms; a normal, positive.
 * a = 2^n (1 + f), s = f / (2 + f) with its rest, log2(1+f) = (2 log2 e) s + s^3 P(s^2) with P
 * of degree 2 (s < 0.172); the first product and the sums keep their roundings in low, and the
 * rest of s counts with the slope there, c (1 + s^2). */
PE_INLINE vf pe_log2_twofold(vf a, vf extra, vf *low) {
    vf n;
    vf f = pe_split_log(a, &n);
    n = n + extra;
    vf d = v_set(2.0f) + f, inverse = v_set(1.0f) / d;
    vf s = f * inverse;
    vf s_low = v_fma(-s, f - (d - v_set(2.0f)), v_fma_exact(-s, d, f)) * inverse;
    vf c = v_set(0x1.715476p+1f), z = s * s;
    vf p = s * c;
    vf p_low = v_fma_exact(s, c, -p) + v_fma(s, v_set(0x1.4ae0c0p-25f), s_low * v_fma(c, z, c));
    p_low = v_fma(z * s, V_POLY(z, 0x1.ec70d4p-1f, 0x1.274bb4p-1f, 0x1.b96fc4p-2f), p_low);
    vf sum = n + p;
    vf rest = ((n - sum) + p) + p_low;
    vf high = sum + rest;
    *low = (sum - high) + rest;
    return high;
}

/* 2^(high + low), low small */
PE_INLINE vf pe_exp2_twofold(vf high, vf low) {
    vf whole = pe_clamp(high, -200.0f, 200.0f);
    vf n = v_round(whole);
    vf f = (whole - n) + low;
    return v_ldexp(pe_exp2_near0(f), n);
}

/* |x|^y where x is 0, infinite or NaN, or y infinite or NaN; `y_of_a` is right elsewhere */
PE_INLINE vf pe_pow_special(vf a, vf y, vf y_of_a) {
    vf zero = v_set(0.0f), one = v_set(1.0f), infinity = v_set(__builtin_inff());
    vi grows = (vi)(a > one) & (vi)(y > zero), shrinks = (vi)(a < one) & (vi)(y < zero);
    vi end = (vi)(a == zero) | (vi)(a == infinity) | (vi)(v_abs(y) == infinity);
    vf result = v_select(end, v_select(grows | shrinks, infinity, zero), y_of_a);
    result = v_select((vi)(a == one), one, result);
    return v_select((vi)(a != a) | (vi)(y != y), a + y, result);
}

/* The sign of x^y for x < 0, and NaN where y is not whole; x^0 = 1^y = 1 even for NaN. */
PE_INLINE vf pe_pow_sign(vf x, vf y, vf magnitude) {
    vf half = v_abs(y) * v_set(0.5f), zero = v_set(0.0f), one = v_set(1.0f);
    vi whole = (vi)(v_trunc(y) == y), odd = whole & (vi)(v_trunc(half) != half);
    vi negative = v_bits(x) & odd & v_seti(INT32_MIN);
    vf y_of_x = v_frombits(v_bits(magnitude) ^ negative);
    vi finite = (vi)(x < zero) & (vi)(v_abs(x) < v_set(__builtin_inff()));
    y_of_x = v_select(finite & ~whole, v_set(__builtin_nanf("")), y_of_x);
    return v_select((vi)(y == zero) | (vi)(x == one), one, y_of_x);
}

/* x^y, as C's powf in every special case. Bound 4 ULP. 2^(y log2|x|), the logarithm and its
 * product with y in two floats. */
PE_INLINE vf v_pow(vf x, vf y) {
    vf a = v_abs(x), infinity = v_set(__builtin_inff()), extra = v_set(0.0f), from = a, low;
    vi odd = ~((vi)(a >= v_set(0x1p-126f)) & (vi)(a < infinity) & (vi)(v_abs(y) < infinity));
    int any_odd = __builtin_expect(v_any(odd), 0);
    if (any_odd) {
        vi small = (vi)(a < v_set(0x1p-126f));
        from = v_select(small, a * v_set(0x1p23f), a);
        extra = v_select(small, v_set(-23.0f), extra);
    }
    vf high = pe_log2_twofold(from, extra, &low);
    vf product = y * high;
    vf rest = v_fma(y, low, v_fma_exact(y, high, -product));
    /* where the product overflowed its rest is no number */
    rest = v_select((vi)(v_abs(product) < v_set(200.0f)), rest, v_set(0.0f));
    vf magnitude = pe_exp2_twofold(product, rest);
    if (any_odd) magnitude = pe_pow_special(a, y, magnitude);
    if (v_any((vi)(x <= v_set(0.0f)) | (vi)(y == v_set(0.0f)) | odd)) return pe_pow_sign(x, y, magnitude);
    return magnitude;
}

#endif
