#ifndef PE_KERNELS_CONVERT_H
#define PE_KERNELS_CONVERT_H

struct pe_convert_kernels {
    void (*reserved)(void);
};

#endif
