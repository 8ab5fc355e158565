/* What the machine has: levels, caches, processors, limits. Features come from CPUID and XGETBV,
 * never from the vendor's name; whatever cannot be found has a default that works anywhere. */
#define _GNU_SOURCE
#include "internal.h"
#include "machine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

enum { CACHE_LEVELS = 3 };

/* Hypervisors report caches of 0 bytes or of the whole host: outside of these bounds a figure is
 * taken for nonsense, since block sizes follow from it. */
static const struct { size_t least, most, fallback; } cache_bounds[CACHE_LEVELS] = {
    {8u << 10, 512u << 10, 32u << 10},
    {64u << 10, 64u << 20, 512u << 10},
    {512u << 10, 1024u << 20, 8u << 20},
};

size_t pe_clamp_cache(int level, size_t bytes) {
    if (bytes < cache_bounds[level].least || bytes > cache_bounds[level].most)
        return cache_bounds[level].fallback;
    return bytes;
}

#if defined(__x86_64__)

#include <cpuid.h>

struct registers { unsigned a, b, c, d; };

static struct registers cpuid(unsigned leaf, unsigned subleaf) {
    struct registers r = {0, 0, 0, 0};
    __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
    return r;
}

/* which register sets the system saves on a task switch */
static unsigned saved_state(void) {
    unsigned low, high;
    if (!(cpuid(1, 0).c >> 27 & 1)) /* OSXSAVE */
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Linux gives a process the 8 KB of tile registers on request alone (from 5.16 on). It refuses where a thread has a
 * signal stack too small for them, and from then on it refuses such stacks: whoever uses no tiles must not ask. */
#if defined(__linux__) && defined(SYS_arch_prctl)
enum { ASK_SUPPORTED = 0x1021, ASK_PERMISSION = 0x1023, TILE_DATA = 18 };
static int system_knows_tiles(void) {
    uint64_t features = 0;
    return syscall(SYS_arch_prctl, ASK_SUPPORTED, &features) == 0 && (features >> TILE_DATA & 1);
}
int pe_cpu_allow_tiles(void) { return syscall(SYS_arch_prctl, ASK_PERMISSION, TILE_DATA) == 0; }
#else
static int system_knows_tiles(void) { return 0; }
int pe_cpu_allow_tiles(void) { return 0; }
#endif

static int has_all(unsigned word, unsigned bits) { return (word & bits) == bits; }

unsigned pe_cpu_levels(void) {
    struct registers basic = cpuid(1, 0), extended = cpuid(7, 0), extended1 = cpuid(7, 1);
    struct registers amd = cpuid(0x80000001, 0);
    unsigned saved = saved_state(), levels = 1u << PE_LEVEL_GENERIC;
    /* x86-64-v3: FMA MOVBE AVX F16C, BMI1 AVX2 BMI2, LZCNT */
    if (!has_all(saved, 0x06) || !has_all(basic.c, 1u << 12 | 1u << 22 | 1u << 28 | 1u << 29) ||
        !has_all(extended.b, 1u << 3 | 1u << 5 | 1u << 8) || !has_all(amd.c, 1u << 5))
        return levels;
    levels |= 1u << PE_LEVEL_AVX2;
    /* x86-64-v4: AVX512 F DQ CD BW VL */
    if (!has_all(saved, 0xe6) || !has_all(extended.b, 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31))
        return levels;
    levels |= 1u << PE_LEVEL_AVX512;
    if (!has_all(extended.c, 1u << 11)) /* VNNI */
        return levels;
    levels |= 1u << PE_LEVEL_AVX512_VNNI;
    if (!has_all(extended1.a, 1u << 5)) /* BF16 */
        return levels;
    levels |= 1u << PE_LEVEL_AVX512_BF16;
    /* AMX: BF16, TILE, INT8, and both of its states */
    if (has_all(extended.d, 1u << 22 | 1u << 24 | 1u << 25) && has_all(saved, 3u << 17) && system_knows_tiles())
        levels |= 1u << PE_LEVEL_AMX;
    return levels;
}

/* Leaf 4 and AMD's 0x8000001D share one layout; a processor answers at least one of them. */
static void find_caches(size_t caches[CACHE_LEVELS]) {
    static const unsigned leaves[2] = {4, 0x8000001d};
    for (int i = 0; i < 2; i++) {
        for (unsigned subleaf = 0; subleaf < 16; subleaf++) {
            struct registers r = cpuid(leaves[i], subleaf);
            unsigned type = r.a & 31, level = r.a >> 5 & 7;
            if (type == 0)
                break;
            if (type == 2 || level < 1 || level > CACHE_LEVELS) /* 2: instructions */
                continue;
            size_t ways = (r.b >> 22) + 1, partitions = (r.b >> 12 & 1023) + 1, line = (r.b & 4095) + 1;
            caches[level - 1] = ways * partitions * line * ((size_t)r.c + 1);
        }
        if (caches[0])
            return;
    }
}

static void find_name(char name[64]) {
    char text[49] = "";
    if ((unsigned)__get_cpuid_max(0x80000000, NULL) >= 0x80000004u)
        for (unsigned i = 0; i < 3; i++) {
            struct registers r = cpuid(0x80000002 + i, 0);
            memcpy(text + 16 * i, &r, 16);
        }
    const char *start = text + strspn(text, " ");
    snprintf(name, 64, "%s", *start ? start : "x86-64");
    for (size_t n = strlen(name); n && name[n - 1] == ' '; n--)
        name[n - 1] = 0;
}

#else

int pe_cpu_allow_tiles(void) { return 0; }

unsigned pe_cpu_levels(void) {
#if defined(__aarch64__)
    /* Advanced SIMD with float32 FMA is part of every 64-bit Arm processor: nothing to ask for */
    return 1u << PE_LEVEL_GENERIC | 1u << PE_LEVEL_NEON;
#else
    return 1u << PE_LEVEL_GENERIC;
#endif
}

static void find_caches(size_t caches[CACHE_LEVELS]) {
#if defined(__APPLE__)
    static const char *const names[CACHE_LEVELS] = {"hw.perflevel0.l1dcachesize", "hw.perflevel0.l2cachesize",
                                                    "hw.l3cachesize"};
    for (int i = 0; i < CACHE_LEVELS; i++) {
        int64_t bytes = 0;
        size_t length = sizeof bytes;
        if (!sysctlbyname(names[i], &bytes, &length, NULL, 0) && bytes > 0)
            caches[i] = (size_t)bytes;
    }
#else
    (void)caches;
#endif
}

static void find_name(char name[64]) {
#if defined(__APPLE__)
    size_t length = 63;
    if (!sysctlbyname("machdep.cpu.brand_string", name, &length, NULL, 0))
        return;
#endif
#if defined(__aarch64__)
    snprintf(name, 64, "aarch64");
#else
    snprintf(name, 64, "unknown processor");
#endif
}

#endif

static int read_text(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    int found = fgets(text, (int)size, file) != NULL;
    fclose(file);
    return found;
}

void pe_caches_from_files(const char *root, size_t caches[CACHE_LEVELS]) {
    for (int index = 0; index < 8; index++) {
        char path[4096], text[64], *unit;
        static const char base[] = "/sys/devices/system/cpu/cpu0/cache/index";
        snprintf(path, sizeof path, "%s%s%d/type", root, base, index);
        if (!read_text(path, text, sizeof text) || text[0] == 'I')
            continue;
        snprintf(path, sizeof path, "%s%s%d/level", root, base, index);
        int level = read_text(path, text, sizeof text) ? atoi(text) : 0;
        snprintf(path, sizeof path, "%s%s%d/size", root, base, index);
        if (level < 1 || level > CACHE_LEVELS || !read_text(path, text, sizeof text))
            continue;
        unsigned long long bytes = strtoull(text, &unit, 10);
        bytes *= *unit == 'K' ? 1024 : *unit == 'M' ? 1024 * 1024 : 1;
        if (bytes)
            caches[level - 1] = bytes;
    }
}

/* The set may need more than cpu_set_t's 1024 bits: the system refuses a set that is too small. */
static int count_affinity(int online) {
#if defined(__linux__)
    for (int bits = 1024; bits <= 1 << 20; bits *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)bits);
        if (!set)
            break;
        size_t size = CPU_ALLOC_SIZE((size_t)bits);
        int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return count;
    }
#endif
    return online;
}

uint64_t pe_physical_memory(void) {
#if defined(__APPLE__)
    uint64_t bytes = 0;
    size_t length = sizeof bytes;
    return sysctlbyname("hw.memsize", &bytes, &length, NULL, 0) ? 0 : bytes;
#else
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
#endif
}

int pe_parse_threads(const char *text) {
    char *end;
    if (!text)
        return 0;
    long value = strtol(text, &end, 10); /* saturates when out of range */
    end += strspn(end, " \t\n");
    return end == text || *end || value < 1 ? 0 : value > 1000000 ? 1000000 : (int)value;
}

static pe_machine machine;
static pthread_once_t machine_once = PTHREAD_ONCE_INIT;

static void look(void) {
    size_t caches[CACHE_LEVELS] = {0, 0, 0};
    find_name(machine.cpu);
    find_caches(caches);
    if (!caches[0])
        pe_caches_from_files("", caches);
    machine.l1d = pe_clamp_cache(0, caches[0]);
    machine.l2 = pe_clamp_cache(1, caches[1]);
    machine.l3 = pe_clamp_cache(2, caches[2]);

    snprintf(machine.isa, sizeof machine.isa, "%s", pe_level_name(pe_level_in_use()));
    snprintf(machine.isa_best, sizeof machine.isa_best, "%s",
             pe_level_name(pe_choose_level(pe_available_levels(), NULL)));

    long online = sysconf(_SC_NPROCESSORS_ONLN);
    machine.cpus_online = online > 0 ? (int)online : 1;
    machine.cpus_affinity = count_affinity(machine.cpus_online);
    machine.cpus_quota = pe_cgroup_cpu_quota("");
    machine.threads_default = machine.cpus_affinity;
    if (machine.cpus_quota > 0 && machine.cpus_quota < machine.threads_default)
        machine.threads_default = (int)machine.cpus_quota;
    if (machine.threads_default < 1)
        machine.threads_default = 1;
}

const struct pe_machine *pe_machine_cached(void) {
    pthread_once(&machine_once, look);
    return &machine;
}

void pe_machine_info(pe_machine *out) { *out = *pe_machine_cached(); }
