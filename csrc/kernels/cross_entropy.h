#ifndef PE_KERNELS_CROSS_ENTROPY_H
#define PE_KERNELS_CROSS_ENTROPY_H

struct pe_cross_entropy_kernels {
    void (*reserved)(void);
};

#endif
