#ifndef PE_KERNELS_RANDOM_H
#define PE_KERNELS_RANDOM_H

struct pe_random_kernels {
    void (*reserved)(void);
};

#endif
