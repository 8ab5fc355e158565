/* The error function's family; included by math.h. */
#ifndef PE_SIMD_MATH_ERF_H
#define PE_SIMD_MATH_ERF_H

/* erf(x)/x - 1 on [-1, 1]: P(x^2), P of degree 6 */
PE_INLINE vf pe_erf_near0(vf z) {
    return V_POLY(z, 0x1.06eba8p-3f, -0x1.812740p-2f, 0x1.ce2d50p-4f, -0x1.b7fe90p-6f, 0x1.542e10p-8f,
                  -0x1.a50b0ep-11f, 0x1.4c344ep-14f);
}

/* erf. Bound 1.5 ULP (generic 2). Above 1: 1 - exp(-Q(|x|)), Q of degree 5 fits -log(erfc) on
 * [1, 4] as closely as 1 - erfc can show; from 4 on it rounds to 1. */
PE_INLINE vf v_erf(vf x) {
    vf a = v_lesser(v_set(4.0f), v_abs(x)), one = v_set(1.0f), n;
    vf q = V_POLY(a, 0x1.574ca0p-9f, 0x1.1e1c6ep+0f, 0x1.4ef88cp-1f, 0x1.6bb946p-4f, -0x1.e6027cp-7f,
                  0x1.2f5b92p-10f);
    vf r = pe_reduce_ln2(-q, &n);
    vf far = one - v_ldexp(pe_exp_near0(r), n);
    return v_copysign(v_select((vi)(a < one), v_fma(a, pe_erf_near0(a * a), a), far), x);
}

/* exp(-scale x^2) t in one last rounding, scale 1 or 1/2: x^2 as square + lost exactly, and
 * e^-lost = 1 - lost; t near 1, |x| < 15 */
PE_INLINE vf pe_times_gauss(vf t, vf x, float scale) {
    vf square = x * x, n;
    vf lost = v_fma_exact(x, x, -square);
    vf r = pe_reduce_ln2(square * v_set(-scale), &n);
    vf e = pe_exp_near0(r);
    return v_ldexp(t * v_fma(e, lost * v_set(-scale), e), n);
}

/* The quotients of both tails: returns 1/(a + k), *low what rounding took from it, *t is
 * (a - k)/(a + k) = 1 - 2k/(a + k). */
PE_INLINE vf pe_tail_quotients(vf a, float k, vf *low, vf *t) {
    vf one = v_set(1.0f), d = a + v_set(k), d_low = a - (d - v_set(k));
    vf inverse = one / d;
    *low = v_fma(-inverse, d_low, v_fma_exact(-d, inverse, one)) * inverse;
    *t = v_fma(inverse, v_set(-2.0f * k), one) + *low * v_set(-2.0f * k);
    return inverse;
}

/* erfc. Bound 4 ULP (generic 5.25), down to the last denormal. Below 1: (1 - x) - x P(x^2) with
 * erf's P. Above: exp(-x^2) P(t) / (x + 3) with t = (x - 3)/(x + 3), P of degree 9; 2 minus that
 * on the left. */
PE_INLINE vf v_erfc(vf x) {
    vf a = v_lesser(v_set(10.3f), v_abs(x)), low, t;
    vf inverse = pe_tail_quotients(a, 3.0f, &low, &t);
    vf p = V_POLY(t, 0x1.12f21ep+0f, -0x1.c44c48p-1f, 0x1.2e3250p-1f, -0x1.3dead6p-2f, 0x1.e9a240p-4f,
                  -0x1.b7af68p-6f, -0x1.4ec9f0p-10f, 0x1.8fdce2p-9f, -0x1.a8598cp-12f, -0x1.117a34p-12f);
    vf tail = pe_times_gauss(v_fma(p, inverse, p * low), a, 1.0f);
    tail = v_select((vi)(x < v_set(0.0f)), v_set(2.0f) - tail, tail);
    vf near = v_fma(-x, pe_erf_near0(x * x), v_set(1.0f) - x);
    return v_select((vi)(a < v_set(1.0f)), near, tail);
}

/* The normal distribution, erfc(-x / sqrt 2) / 2. Bound 4 ULP (generic 5), in the left tail too,
 * down to the last denormal. With a = |x|: exp(-a^2/2) P(t) / (a + 4), t = (a - 4)/(a + 4), P of degree 10;
 * 1 minus that for x > 0. */
PE_INLINE vf v_normal_cdf(vf x) {
    vf a = v_lesser(v_set(14.5f), v_abs(x)), low, t;
    vf inverse = pe_tail_quotients(a, 4.0f, &low, &t);
    vf p = V_POLY(t, 0x1.82b4bcp-1f, -0x1.373e3ap-1f, 0x1.8c6d72p-2f, -0x1.7dff5cp-3f, 0x1.eee4bap-5f,
                  -0x1.eda976p-8f, -0x1.d0de6ep-9f, 0x1.9d935ep-10f, 0x1.e68f92p-13f, -0x1.f0b622p-14f,
                  -0x1.6c4e3cp-17f);
    vf tail = pe_times_gauss(v_fma(p, inverse, p * low), a, 0.5f);
    return v_select((vi)(x > v_set(0.0f)), v_set(1.0f) - tail, tail);
}

#endif
