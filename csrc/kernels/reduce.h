#ifndef PE_KERNELS_REDUCE_H
#define PE_KERNELS_REDUCE_H

struct pe_reduce_kernels {
    void (*reserved)(void);
};

#endif
