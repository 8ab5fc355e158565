#ifndef PE_KERNELS_SOFTMAX_H
#define PE_KERNELS_SOFTMAX_H

struct pe_softmax_kernels {
    void (*reserved)(void);
};

#endif
