#ifndef PE_KERNELS_OPTIM_H
#define PE_KERNELS_OPTIM_H

struct pe_optim_kernels {
    void (*reserved)(void);
};

#endif
