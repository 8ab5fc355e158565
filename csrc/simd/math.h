/* exp, log, tanh, erf ... over the vocabulary: written once for every level.
 *
 * Every function is branch-free but for rare paths behind v_any, keeps NaN, infinities, -0 and
 * denormals as IEEE wants, and gives the same bits on every level with a fused multiply-add.
 * The bound in each comment is in ULP of the float result and is what tests/test_simd_math.py
 * enforces on every level. Polynomials are minimax fits (tests/tools/fit.py prints each of
 * them); `u` in their comments is the variable they are fitted in.
 */
#ifndef PE_SIMD_MATH_H
#define PE_SIMD_MATH_H

#include "simd.h"

/* c[0] + c[1] u + c[2] u^2 + ... by Horner's rule. One chain: on Zen 4 the functions are bound by
 * the number of operations (exp 2.7 ns per 16 floats; 3.5 with even and odd powers apart). The
 * loop unrolls, the list is constant. */
#define V_POLY(u, ...) \
    pe_horner(u, (const float[]){__VA_ARGS__}, (int)(sizeof((const float[]){__VA_ARGS__}) / sizeof(float)))

PE_INLINE vf pe_horner(vf u, const float *c, int count) {
    vf sum = v_set(c[count - 1]);
    for (int i = count - 2; i >= 0; i--) sum = v_fma(sum, u, v_set(c[i]));
    return sum;
}

/* sums of bit patterns wrap; those of signed lanes must not */
typedef uint32_t pe_lanes_u32 __attribute__((vector_size(4 * VL)));
PE_INLINE vi pe_add_wrapping(vi a, vi b) { return (vi)((pe_lanes_u32)a + (pe_lanes_u32)b); }

#include "math_exp.h"
#include "math_log.h"
#include "math_trig.h"
#include "math_erf.h"
#include "math_pow.h"

#endif
