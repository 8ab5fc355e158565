/* What the rows of elementwise.def say beside the vocabulary: small functions of one vector, and
 * the first (slope) and second (bend) derivatives that are too long for a row. */
#ifndef PE_KERNELS_ELEMENTWISE_FORMULAS_H
#define PE_KERNELS_ELEMENTWISE_FORMULAS_H

#define LN_2 0x1.62e430p-1f
#define LN_10 0x1.26bb1cp+1f
#define TWO_OVER_ROOT_PI 0x1.20dd76p+0f

PE_INLINE vf sign_of(vf x) { return v_select(x > 0, v_set(1), v_select(x < 0, v_set(-1), x)); }
PE_INLINE vf squared(vf x) { return x * x; }
PE_INLINE vf cubed(vf x) { return x * x * x; }
PE_INLINE vf clamp(vf x, float low, float high) { return v_max(v_min(x, v_set(high)), v_set(low)); }

/* The gates below are 0 or 1 to the last bit beyond 30, and so are their slopes: there the slope
 * is taken at 30, since 0 times infinity is none. */
PE_INLINE vf within_gate(vf x) { return clamp(x, -30, 30); }

/* s (1 - s) = e / (1 + e)^2, e = exp(-|x|): exact on both sides, where 1 - s is not */
PE_INLINE vf sigmoid_slope(vf x) {
    vf e = v_exp(-v_abs(x));
    return e / squared(1 + e);
}

/* (x s)' = s + x s',  (x s)'' = s' (2 + x (1 - 2 s)),  s = sigmoid(x), 1 - 2 s = -tanh(x / 2).
 * Without a clamp: s' and s reach down to denormals, x s' is 0 long before x overflows. */
PE_INLINE vf silu_slope(vf x) {
    vf finite = clamp(x, -200, 200);
    return v_sigmoid(x) + finite * sigmoid_slope(finite);
}
PE_INLINE vf silu_bend(vf x) {
    vf finite = clamp(x, -200, 200);
    return sigmoid_slope(finite) * (2 + finite * (1 - 2 * v_sigmoid(finite)));
}

/* P the normal distribution, p its density: (x P)' = P + x p,  (x P)'' = p (2 - x^2) */
PE_INLINE vf normal_density(vf x) { return 0x1.988454p-2f * v_exp(-0.5f * x * x); }
PE_INLINE vf gelu_slope(vf x) {
    vf near = within_gate(x);
    return v_normal_cdf(x) + near * normal_density(near);
}
PE_INLINE vf gelu_bend(vf x) {
    vf near = within_gate(x);
    return normal_density(near) * (2 - near * near);
}

/* (1 + tanh(u)) / 2 = sigmoid(2 u); w = 2 u = 2 sqrt(2 / pi) (x + 0.044715 x^3) */
#define GELU_TANH_LINEAR 0x1.988454p+0f
#define GELU_TANH_CUBIC 0.044715f
PE_INLINE vf gelu_tanh_inner(vf x) { return GELU_TANH_LINEAR * (x + GELU_TANH_CUBIC * x * x * x); }
PE_INLINE vf gelu_tanh_inner_slope(vf x) { return GELU_TANH_LINEAR * (1 + 3 * GELU_TANH_CUBIC * x * x); }
/* (x s(w))' = s + x s' w' */
PE_INLINE vf gelu_tanh_slope(vf x) {
    vf near = within_gate(x), w = gelu_tanh_inner(near);
    return v_sigmoid(w) + near * sigmoid_slope(w) * gelu_tanh_inner_slope(near);
}
/* (x s(w))'' = s' (2 w' + x (w'' + (1 - 2 s) w'^2)) */
PE_INLINE vf gelu_tanh_bend(vf x) {
    vf near = within_gate(x), w = gelu_tanh_inner(near), slope = gelu_tanh_inner_slope(near);
    vf w_bend = 6 * GELU_TANH_LINEAR * GELU_TANH_CUBIC * near;
    return sigmoid_slope(w) * (2 * slope + near * (w_bend + (1 - 2 * v_sigmoid(w)) * squared(slope)));
}

/* t = tanh(softplus(x)) = n / (n + 2), n = e (e + 2), e = exp(x); 1 to the last bit from 10 on */
PE_INLINE vf mish_gate(vf x) {
    vf e = v_exp(v_min(x, v_set(30))), n = e * (e + 2);
    return n / (n + 2);
}
/* t' = s (1 - t^2) = 4 s (n + 1) / (n + 2)^2, s = sigmoid(x) */
PE_INLINE vf mish_gate_slope(vf x) {
    vf e = v_exp(x), n = e * (e + 2);
    return 4 * v_sigmoid(x) * (n + 1) / squared(n + 2);
}
/* (x t)' = t + x t',  (x t)'' = t' (2 + x (1 - s - 2 t s)) */
PE_INLINE vf mish_slope(vf x) {
    vf finite = clamp(x, -200, 30);
    return mish_gate(x) + finite * mish_gate_slope(finite);
}
PE_INLINE vf mish_bend(vf x) {
    vf finite = clamp(x, -200, 30), s = v_sigmoid(finite);
    return mish_gate_slope(finite) * (2 + finite * (1 - s - 2 * mish_gate(finite) * s));
}

#endif
