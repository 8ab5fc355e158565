/* The product of two matrices of bfloat16 where the level has an instruction for it (kernels/half.h). */
#ifndef PE_HALF_H
#define PE_HALF_H

#include "gemm_plan.h"

static inline int pe_half_has_tile(const pe_context *ctx) { return ctx->kernels->half.dot.tile != NULL; }

/* The whole batch. a, b and, where it is set, the pack are bfloat16; c float32 or, with c_half, bfloat16. */
pe_status pe_half_run_batch(pe_context *ctx, const struct pe_gemm_problem *problem, const struct pe_gemm_batch *batch,
                            pe_error *err);

/* half_pack.c: all of b in panels for the tile; how many bytes that is, -1 for more than there are */
void pe_half_pack_b(pe_context *ctx, const struct pe_gemm_problem *, uint16_t *to, int threads);
int64_t pe_half_pack_bytes(const pe_context *ctx, int64_t k, int64_t n);
/* ... and steps p0 .. p0+depth-1 of its columns j .. j+columns-1 back in float32, `width` (of whole vectors) a row */
void pe_half_widen(const pe_context *ctx, const void *panels, int64_t k, int64_t j, int64_t columns, int64_t p0,
                   int64_t depth, float *to, int64_t width);

/* Rows of a as the tile reads them: in place where that may be (then to is not touched), else in `to`, of bytes. */
struct pe_half_rows { const uint8_t *a; size_t a_row, bytes; };
struct pe_half_rows pe_half_rows_of(const pe_context *ctx, const struct pe_gemm_problem *);
int pe_half_pack_a(pe_context *ctx, const struct pe_gemm_problem *, uint8_t *to, size_t a_row, int threads);

#endif
