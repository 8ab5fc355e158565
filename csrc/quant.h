/* Quantized products between their checks (quant_check.c), packs (qpack.c) and runs (qgemm.c, int4.c). */
#ifndef PE_QUANT_H
#define PE_QUANT_H

#include "dot.h"

#define PE_QUANT_MAX_K 65793 /* the largest k with k * 255 * 128 < 2^31 */

/* A pack as its user sees it: the header's sizes, and where its parts lie. */
struct pe_qpack_view {
    int kind, group, has_scale;
    int64_t k, n, panels; /* panels of nr columns */
    size_t panel_bytes;
    const int8_t *data;   /* INT8: panels of bytes. INT4: panels of scales, zeros and nibbles */
    const int32_t *sums;  /* INT8: of each column */
    const float *scale;   /* INT8: of each column */
};

/* qpack.c: refuses what is no pack of this size and level */
pe_status pe_qpack_open(pe_context *, const void *packed, size_t bytes, const char *operation,
                        struct pe_qpack_view *view, pe_error *);

/* One product of bytes on packed operands; arrays of m or n elements, dense; scale_b and sums padded. */
struct pe_qproduct {
    pe_context *ctx;
    int64_t m, n, groups;
    const uint8_t *a;
    size_t a_row;
    const int8_t *panels;
    size_t panel_bytes;
    const int32_t *sums, *zero; /* zero: of each row, or NULL */
    int32_t *whole;             /* c as int32, or NULL */
    float *real;                /* c as float32, or NULL */
    int64_t c_i, c_j;
    const float *scale_a, *scale_b, *bias;
    pe_loop *activation;
    int past_caches; /* set by the run: whole lines of `whole` need not pass the caches */
};
void pe_qgemm_run(struct pe_qproduct *);
/* bytes of one packed row of a */
size_t pe_qgemm_row_bytes(const struct pe_kernels *, int64_t k);

/* int4.c: x against an INT4 pack */
pe_status pe_int4_run(pe_context *, const struct pe_qpack_view *, const pe_qlinear_args *, const float *bias,
                      pe_error *);

/* quantize.c: what quantizes one row of floats */
struct pe_row_quant { float scale, inverse; int32_t zero, least, most; };
struct pe_row_quant pe_row_quant_of(const struct pe_qgemm_kernels *, int kind, const float *x, int64_t n);

/* quant_check.c */
struct pe_operand_rule { const char *name; int axes; unsigned dtypes; /* bit i: dtype i is allowed */ };
pe_status pe_quant_operand(const pe_tensor *t, const char *operation, const struct pe_operand_rule *, pe_error *);
/* (n) or, when m > 0, (m) or (1) */
pe_status pe_quant_vector(const pe_tensor *t, const char *operation, const char *name, int dtype, int64_t size,
                          int one_allowed, pe_error *);
pe_status pe_quant_apart(const pe_tensor *out, const pe_tensor *t, const char *operation, const char *name,
                         pe_error *);
pe_status pe_quant_writable(const pe_tensor *out, const char *operation, pe_error *);
/* vectors of 4-byte elements, dense: count elements of t, the first repeated when t has but one */
void pe_quant_dense(void *to, const pe_tensor *t, int64_t count);

#endif
