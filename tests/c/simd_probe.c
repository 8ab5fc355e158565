/* Every verb and every function of the vocabulary as a loop over arrays, for tests/simd_probe.py.
 * Compiled once per level with -DPROBE_LEVEL='"simd/NAME.h"' and csrc on the include path, as a
 * shared library; with -DPROBE_MAIN as a program for qemu: COUNT NAME ... < inputs > outputs. */
#include PROBE_LEVEL
#include "simd/math.h"

#define EXPORT __attribute__((visibility("default")))
typedef void probe(const float *x, const float *y, const float *z, float *out, size_t count);

EXPORT int probe_lanes(void);
EXPORT int probe_lanes(void) { return VL; }

/* out[i] = expression of a = x[i], b = y[i], c = z[i] (z and y may be x); the tail by v_load_n */
#define PROBE(name, expression)                                                                       \
    EXPORT probe probe_##name;                                                                        \
    EXPORT void probe_##name(const float *x, const float *y, const float *z, float *out, size_t count) { \
        size_t i = 0;                                                                                 \
        for (; i + VL <= count; i += VL) {                                                            \
            vf a = v_load(x + i), b = v_load(y + i), c = v_load(z + i);                               \
            (void)a, (void)b, (void)c;                                                                \
            v_store(out + i, expression);                                                             \
        }                                                                                             \
        if (i < count) {                                                                              \
            size_t n = count - i;                                                                     \
            vf a = v_load_n(x + i, n), b = v_load_n(y + i, n), c = v_load_n(z + i, n);                \
            (void)a, (void)b, (void)c;                                                                \
            v_store_n(out + i, expression, n);                                                        \
        }                                                                                             \
    }

/* the bytes of a mask, each as the bits of a lane */
PE_INLINE vf as_bytes(vi mask) {
    uint8_t bytes[VL];
    vi wide;
    v_store_mask(bytes, mask);
    for (int i = 0; i < VL; i++) wide[i] = bytes[i];
    return v_frombits(wide);
}

#define AS_FLOATS(integers) v_frombits((vi)(integers))
#define ALL(P)                                                                                        \
    P(add, a + b) P(divide, a / b) P(less, AS_FLOATS(a < b)) P(equal, AS_FLOATS(a == b))              \
    P(set, v_set(x[0])) P(seti, AS_FLOATS(v_seti(v_bits(v_set(x[0]))[0])))                            \
    P(fma, v_fma(a, b, c)) P(fma_exact, v_fma_exact(a, b, c))                                         \
    P(lesser, v_lesser(a, b)) P(greater, v_greater(a, b)) P(min, v_min(a, b)) P(max, v_max(a, b))     \
    P(sqrt, v_sqrt(a)) P(floor, v_floor(a)) P(ceil, v_ceil(a)) P(trunc, v_trunc(a)) P(round, v_round(a)) \
    P(abs, v_abs(a)) P(copysign, v_copysign(a, b))                                                    \
    P(select, v_select((vi)(a < b), b, c)) P(toint, AS_FLOATS(v_toint(a)))                            \
    P(tofloat, v_tofloat(v_bits(a))) P(ldexp, v_ldexp(a, b))                                          \
    P(any, v_set(v_any((vi)(a < b)) ? 1.0f : 0.0f))                                                   \
    P(evens, v_evens(a, b)) P(odds, v_odds(a, b))                                                     \
    P(zip_low, v_zip_low(a, b)) P(zip_high, v_zip_high(a, b))                                         \
    P(by_number, v_lanes(a, v_bits(b) & (VL - 1)))                                                    \
    P(bf16, v_load_bf16((const uint16_t *)(const void *)x + i))                                       \
    P(from_bytes, AS_FLOATS(v_load_mask((const uint8_t *)(const void *)x + i)))                       \
    P(to_bytes, as_bytes((vi)(a < b)))                                                                \
    P(exp, v_exp(a)) P(exp2, v_exp2(a)) P(expm1, v_expm1(a)) P(log, v_log(a)) P(log2, v_log2(a))      \
    P(log10, v_log10(a)) P(log1p, v_log1p(a)) P(sin, v_sin(a)) P(cos, v_cos(a)) P(tan, v_tan(a))      \
    P(sinh, v_sinh(a)) P(cosh, v_cosh(a)) P(tanh, v_tanh(a)) P(asin, v_asin(a)) P(acos, v_acos(a))    \
    P(atan, v_atan(a)) P(atan2, v_atan2(a, b)) P(erf, v_erf(a)) P(erfc, v_erfc(a))                    \
    P(sigmoid, v_sigmoid(a)) P(softplus_unit, v_softplus_unit(a)) P(pow, v_pow(a, b))                 \
    P(rsqrt, v_rsqrt(a)) P(normal_cdf, v_normal_cdf(a))                                               \
    P(exp_weight, v_exp_weight(a)) P(exp2_weight, v_exp2_weight(a))

ALL(PROBE)

/* where v_load_n and v_store_n end is the test's question: exactly n lanes at x and at out */
EXPORT void probe_copy_n(const float *x, float *out, size_t n);
EXPORT void probe_copy_n(const float *x, float *out, size_t n) { v_store_n(out, v_load_n(x, n), n); }
/* x and out on a boundary of a whole vector */
EXPORT void probe_stream(const float *x, float *out);
EXPORT void probe_stream(const float *x, float *out) { v_stream(out, v_load(x)), v_stream_end(); }
/* all VL lanes of v_load_n */
EXPORT void probe_load_n(const float *x, float *out, size_t n);
EXPORT void probe_load_n(const float *x, float *out, size_t n) { v_store(out, v_load_n(x, n)); }
EXPORT void probe_load_mask(const uint8_t *x, int32_t *out);
EXPORT void probe_load_mask(const uint8_t *x, int32_t *out) { v_storei(out, v_load_mask(x)); }
EXPORT void probe_store_mask(const int32_t *x, uint8_t *out);
EXPORT void probe_store_mask(const int32_t *x, uint8_t *out) { v_store_mask(out, v_loadi(x)); }

#ifdef PROBE_MAIN
#include <stdio.h>
#include <stdlib.h>

#define NAMED(name, expression) {#name, probe_##name},
static const struct { const char *name; probe *run; } probes[] = {ALL(NAMED)};

/* reads COUNT floats for each of x, y, z and writes COUNT results, probe after probe */
int main(int argc, char **argv) {
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    float *x = malloc(4 * count * sizeof(float));
    if (count == 0 || !x || fread(x, sizeof(float), 3 * count, stdin) != 3 * count) return 2;
    for (int i = 2; i < argc; i++)
        for (size_t k = 0; k < sizeof probes / sizeof *probes; k++)
            if (strcmp(probes[k].name, argv[i]) == 0) {
                probes[k].run(x, x + count, x + 2 * count, x + 3 * count, count);
                if (fwrite(x + 3 * count, sizeof(float), count, stdout) != count) return 3;
            }
    free(x);
    return 0;
}
#endif
