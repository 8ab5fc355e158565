/* The one floating-point state under which every kernel runs: round to nearest, exceptions
 * masked, denormals kept unless flush is on. A program that changed its rounding mode or set
 * FTZ itself (a library built with -ffast-math does so at load time) must get the same bits from
 * its own thread as from the workers, and must find its state untouched afterwards. */
#ifndef PE_FPSTATE_H
#define PE_FPSTATE_H

#include <stdint.h>

#if defined(__x86_64__)

typedef uint32_t pe_fp_state; /* MXCSR */
enum { PE_FP_DEFAULT = 0x1f80, PE_FP_FLUSH = 0x8040 /* FTZ and DAZ */, PE_FP_FLAGS = 0x3f };

static inline pe_fp_state pe_fp_get(void) {
    pe_fp_state value;
    __asm__ volatile("stmxcsr %0" : "=m"(value));
    return value;
}
static inline void pe_fp_set(pe_fp_state value) {
    __asm__ volatile("ldmxcsr %0" : : "m"(value) : "memory");
}

#elif defined(__aarch64__)

typedef uint64_t pe_fp_state; /* FPCR */
enum { PE_FP_DEFAULT = 0, PE_FP_FLUSH = 1 << 24 /* FZ */, PE_FP_FLAGS = 0 };

static inline pe_fp_state pe_fp_get(void) {
    pe_fp_state value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
}
static inline void pe_fp_set(pe_fp_state value) {
    __asm__ volatile("msr fpcr, %0" : : "r"(value) : "memory");
}

#else

typedef uint32_t pe_fp_state;
enum { PE_FP_DEFAULT = 0, PE_FP_FLUSH = 0, PE_FP_FLAGS = 0 };
static inline pe_fp_state pe_fp_get(void) { return 0; }
static inline void pe_fp_set(pe_fp_state value) { (void)value; }

#endif

static inline pe_fp_state pe_fp_kernel_state(int flush) {
    return flush ? (pe_fp_state)PE_FP_DEFAULT | PE_FP_FLUSH : (pe_fp_state)PE_FP_DEFAULT;
}

/* Gives the state to put back. Writing the register is dearer than reading it: only when needed. */
static inline pe_fp_state pe_fp_enter(pe_fp_state wanted) {
    pe_fp_state old = pe_fp_get();
    if ((old & ~(pe_fp_state)PE_FP_FLAGS) != wanted)
        pe_fp_set(wanted);
    return old;
}

static inline void pe_fp_leave(pe_fp_state old) {
    if (pe_fp_get() != old)
        pe_fp_set(old);
}

#endif
