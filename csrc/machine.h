/* What cpu.c, cgroup.c and dispatch.c tell each other about the machine. */
#ifndef PE_MACHINE_H
#define PE_MACHINE_H

#include <stddef.h>
#include <stdint.h>

/* Levels in rising order; bit i of a mask is level i. */
enum pe_level {
    PE_LEVEL_GENERIC, PE_LEVEL_AVX2, PE_LEVEL_AVX512, PE_LEVEL_AVX512_VNNI, PE_LEVEL_AVX512_BF16,
    PE_LEVEL_AMX, PE_LEVEL_NEON, PE_LEVEL_COUNT
};

/* cpu.c: the levels that processor and system can run, whatever this build holds */
unsigned pe_cpu_levels(void);
/* Asks the system for the tile registers, for the whole process and what it forks; 0 when it refuses. */
int pe_cpu_allow_tiles(void);
uint64_t pe_physical_memory(void);
/* caches (l1d, l2, l3) out of a tree of files like /sys; found values replace those given */
void pe_caches_from_files(const char *root, size_t caches[3]);
size_t pe_clamp_cache(int level, size_t bytes);
/* The number in text, or 0 when text is not one positive number. */
int pe_parse_threads(const char *text);

/* dispatch.c: levels that machine and build share; the one that `wanted` (may be NULL) names if it
 * is among them, else the best; the one chosen for this process by PYENGINE_ISA */
unsigned pe_available_levels(void);
int pe_choose_level(unsigned available, const char *wanted);
int pe_level_in_use(void);
const char *pe_level_name(int level);

/* cgroup.c: the tightest limit along all parents, v1 and v2. `root` stands before every path that
 * is opened ("" for the real machine), so that a test can show a tree of files. 0: no limit. */
double pe_cgroup_cpu_quota(const char *root);
uint64_t pe_cgroup_memory_limit(const char *root);

#endif
