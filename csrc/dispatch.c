/* Which table of kernels this process uses: the highest level that processor, system and build
 * have in common, or a lower one that PYENGINE_ISA names. */
#include "internal.h"
#include "machine.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* weak: a build by one line of cc holds only the levels that its -march allows */
extern const struct pe_kernels pe_kernels_generic;
extern const struct pe_kernels pe_kernels_avx2 __attribute__((weak));
extern const struct pe_kernels pe_kernels_avx512 __attribute__((weak));
extern const struct pe_qgemm_kernels pe_qgemm_kernels_avx512_vnni __attribute__((weak));
extern const struct pe_kernels pe_kernels_avx512_bf16 __attribute__((weak));
extern const struct pe_kernels pe_kernels_neon __attribute__((weak));

/* avx512's table with other byte products; filled when it is chosen */
static struct pe_kernels avx512_vnni;

static const struct { const char *name; const struct pe_kernels *table; } levels[PE_LEVEL_COUNT] = {
    [PE_LEVEL_GENERIC] = {"generic", &pe_kernels_generic},
    [PE_LEVEL_AVX2] = {"avx2", &pe_kernels_avx2},
    [PE_LEVEL_AVX512] = {"avx512", &pe_kernels_avx512},
    [PE_LEVEL_AVX512_VNNI] = {"avx512_vnni", &avx512_vnni},
    [PE_LEVEL_AVX512_BF16] = {"avx512_bf16", &pe_kernels_avx512_bf16},
    [PE_LEVEL_NEON] = {"neon", &pe_kernels_neon},
};

const char *pe_level_name(int level) { return levels[level].name; }

unsigned pe_available_levels(void) {
    unsigned available = pe_cpu_levels();
    for (int i = 0; i < PE_LEVEL_COUNT; i++)
        if (!levels[i].table)
            available &= ~(1u << i);
    if (!&pe_kernels_avx512 || !&pe_qgemm_kernels_avx512_vnni)
        available &= ~(1u << PE_LEVEL_AVX512_VNNI);
    return available;
}

int pe_choose_level(unsigned available, const char *wanted) {
    int best = PE_LEVEL_GENERIC;
    for (int i = 0; i < PE_LEVEL_COUNT; i++) {
        if (!(available >> i & 1))
            continue;
        if (wanted && !strcmp(wanted, levels[i].name))
            return i;
        best = i;
    }
    return best; /* an unknown name or a level that cannot run here: pe_machine.isa tells */
}

static struct { int level; const char *names[PE_LEVEL_COUNT + 1]; } chosen;
static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;

static void choose(void) {
    unsigned available = pe_available_levels();
    int count = 0;
    for (int i = 0; i < PE_LEVEL_COUNT; i++)
        if (available >> i & 1)
            chosen.names[count++] = levels[i].name;
    chosen.level = pe_choose_level(available, getenv("PYENGINE_ISA"));
    if (chosen.level == PE_LEVEL_AVX512_VNNI) {
        avx512_vnni = pe_kernels_avx512;
        avx512_vnni.isa = levels[chosen.level].name;
        avx512_vnni.qgemm = pe_qgemm_kernels_avx512_vnni;
    }
}

int pe_level_in_use(void) {
    pthread_once(&chosen_once, choose);
    return chosen.level;
}

const char *const *pe_isa_levels(void) {
    pthread_once(&chosen_once, choose);
    return chosen.names;
}

const struct pe_kernels *pe_choose_kernels(void) { return levels[pe_level_in_use()].table; }
