#ifndef PE_KERNELS_ELEMENTWISE_H
#define PE_KERNELS_ELEMENTWISE_H

struct pe_elementwise_kernels {
    void (*reserved)(void);
};

#endif
