/* Optimizer updates of float32 parameters: the rows of optim.def. */
#ifndef PE_KERNELS_OPTIM_H
#define PE_KERNELS_OPTIM_H

#include <stddef.h>

enum {
#define OPTIM(name, ...) PE_OPTIM_##name,
#include "optim.def"
#undef OPTIM
    PE_OPTIM_RULES
};

/* n elements of one parameter, its gradient and its states (those the rule has) */
struct pe_optim_piece {
    float *p;
    const float *g;
    float *s0, *s1, *s2;
    size_t n;
};

/* updates every piece in place; the vectors of all pieces are disjoint */
typedef void pe_optim_kernel(const struct pe_optim_piece *pieces, size_t count, const double *hyper);

struct pe_optim_kernels {
    pe_optim_kernel *const *step; /* PE_OPTIM_RULES of them */
};

#endif
