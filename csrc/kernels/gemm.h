/* The product's kernels: two packings and one register tile. */
#ifndef PE_KERNELS_GEMM_H
#define PE_KERNELS_GEMM_H

#include <stddef.h>

struct pe_gemm_kernels {
    int mr, nr; /* the tile: mr rows of nr columns, kept in registers */
    /* to be completed by the family: pack_a, pack_b, tile */
    void (*reserved)(void);
};

#endif
