/* The table every instruction set fills: one const struct of kernel families.
 * Floor 2 sees this header and nothing else of the kernels. */
#ifndef PE_KERNELS_TABLE_H
#define PE_KERNELS_TABLE_H

#include "attention.h"
#include "batch_norm.h"
#include "cross_entropy.h"
#include "convert.h"
#include "depthwise.h"
#include "elementwise.h"
#include "gemm.h"
#include "half.h"
#include "int4.h"
#include "norm.h"
#include "optim.h"
#include "pooling.h"
#include "qgemm.h"
#include "random.h"
#include "recurrence.h"
#include "reduce.h"
#include "softmax.h"
#include "winograd.h"

struct pe_kernels {
    const char *isa;
    int vector_floats;
    struct pe_elementwise_kernels elementwise;
    struct pe_convert_kernels convert;
    struct pe_reduce_kernels reduce;
    struct pe_gemm_kernels gemm;
    struct pe_qgemm_kernels qgemm;
    struct pe_half_kernels half; /* without a tile where the machine has no instruction for it */
    struct pe_int4_kernels int4;
    struct pe_softmax_kernels softmax;
    struct pe_attention_kernels attention;
    struct pe_norm_kernels norm;
    struct pe_cross_entropy_kernels cross_entropy;
    struct pe_random_kernels random;
    struct pe_optim_kernels optim;
    struct pe_depthwise_kernels depthwise;
    struct pe_winograd_kernels winograd;
    struct pe_pooling_kernels pooling;
    struct pe_batch_norm_kernels batch_norm;
    struct pe_recurrence_kernels recurrence;
};

#endif
