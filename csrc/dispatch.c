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
extern const struct pe_half_kernels pe_half_kernels_avx512_bf16 __attribute__((weak));
extern const struct pe_qgemm_kernels pe_qgemm_kernels_amx __attribute__((weak));
extern const struct pe_half_kernels pe_half_kernels_amx __attribute__((weak));
extern const struct pe_kernels pe_kernels_neon __attribute__((weak));

/* avx512's table with the products of a level above it; filled when one is chosen */
static struct pe_kernels composed;

static const struct { const char *name; const struct pe_kernels *table; } levels[PE_LEVEL_COUNT] = {
    [PE_LEVEL_GENERIC] = {"generic", &pe_kernels_generic},
    [PE_LEVEL_AVX2] = {"avx2", &pe_kernels_avx2},
    [PE_LEVEL_AVX512] = {"avx512", &pe_kernels_avx512},
    [PE_LEVEL_AVX512_VNNI] = {"avx512_vnni", &composed},
    [PE_LEVEL_AVX512_BF16] = {"avx512_bf16", &composed},
    [PE_LEVEL_AMX] = {"amx", &composed},
    [PE_LEVEL_NEON] = {"neon", &pe_kernels_neon},
};

static int tiles_refused; /* by the system, to this process */

const char *pe_level_name(int level) { return levels[level].name; }

unsigned pe_available_levels(void) {
    unsigned available = pe_cpu_levels();
    for (int i = 0; i < PE_LEVEL_COUNT; i++)
        if (!levels[i].table)
            available &= ~(1u << i);
    if (!&pe_kernels_avx512 || !&pe_qgemm_kernels_avx512_vnni)
        available &= ~(1u << PE_LEVEL_AVX512_VNNI | 1u << PE_LEVEL_AVX512_BF16 | 1u << PE_LEVEL_AMX);
    if (!&pe_half_kernels_avx512_bf16)
        available &= ~(1u << PE_LEVEL_AVX512_BF16);
    if (!&pe_qgemm_kernels_amx || !&pe_half_kernels_amx || tiles_refused)
        available &= ~(1u << PE_LEVEL_AMX);
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

static void compose(int level) {
    composed = pe_kernels_avx512;
    composed.isa = levels[level].name;
    composed.qgemm = level == PE_LEVEL_AMX ? pe_qgemm_kernels_amx : pe_qgemm_kernels_avx512_vnni;
    if (level == PE_LEVEL_AVX512_BF16) composed.half = pe_half_kernels_avx512_bf16;
    if (level == PE_LEVEL_AMX) composed.half = pe_half_kernels_amx;
}

static void choose(void) {
    const char *wanted = getenv("PYENGINE_ISA");
    unsigned available = pe_available_levels();
    int count = 0;
    if (pe_choose_level(available, wanted) == PE_LEVEL_AMX && !pe_cpu_allow_tiles()) {
        tiles_refused = 1;
        available = pe_available_levels();
    }
    for (int i = 0; i < PE_LEVEL_COUNT; i++)
        if (available >> i & 1)
            chosen.names[count++] = levels[i].name;
    chosen.level = pe_choose_level(available, wanted);
    if (levels[chosen.level].table == &composed) compose(chosen.level);
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
