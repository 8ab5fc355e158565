/* The machine: quotas out of trees of files (v1, v2, nested, odd), levels, threads, shapes' text. */
#define _GNU_SOURCE
#include "../../csrc/internal.h"
#include "../../csrc/machine.h"
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[256];

/* Writes root/path, making its directories. */
static void put(const char *path, const char *text) {
    char full[1024];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(full, 0777);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    CHECK(file != NULL);
    if (file) {
        fputs(text, file);
        fclose(file);
    }
}

static void new_root(void) {
    if (root[0]) {
        char command[300];
        snprintf(command, sizeof command, "rm -r '%s'", root);
        CHECK(system(command) == 0);
    }
    const char *place = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/pe_test_cpu_XXXXXX", place && *place ? place : "/tmp");
    CHECK(mkdtemp(root) != NULL);
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"

static int near(double a, double b) { return fabs(a - b) < 1e-9; }

static void test_v2(void) {
    new_root();
    CHECK(pe_cgroup_cpu_quota(root) == 0); /* no /proc at all */
    put("/proc/self/cgroup", "0::/a/b/c\n");
    CHECK(pe_cgroup_cpu_quota(root) == 0);
    put("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" V2_MOUNT);
    CHECK(pe_cgroup_cpu_quota(root) == 0); /* no files */
    put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    CHECK(pe_cgroup_cpu_quota(root) == 0);
    put("/sys/fs/cgroup/a/cpu.max", "350000 100000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 3.5));
    put("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 0.5));
    put("/sys/fs/cgroup/a/b/c/cpu.max", "200000 100000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 0.5));
    put("/sys/fs/cgroup/cpu.max", "20000 100000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 0.2));
    put("/sys/fs/cgroup/other/cpu.max", "1 100000\n"); /* not a parent */
    CHECK(near(pe_cgroup_cpu_quota(root), 0.2));
    static const char *const garbage[] = {
        "", "\n", "max", "max max", "0 0\n", "100000\n", "100000 0\n", "-5 100000\n",
        "12x 100000\n", "99999999999999999999999 100000\n", "\xff\xfe\x01",
    };
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        put("/sys/fs/cgroup/cpu.max", garbage[i]);
        CHECK(near(pe_cgroup_cpu_quota(root), 0.5));
    }
    put("/sys/fs/cgroup/a/memory.max", "max\n");
    CHECK(pe_cgroup_memory_limit(root) == 0);
    put("/sys/fs/cgroup/a/b/memory.max", "536870912\n");
    CHECK(pe_cgroup_memory_limit(root) == 536870912);
}

static void test_v2_mounts(void) {
    new_root(); /* a container: the mount's root is the process's group; a blank in the name */
    put("/proc/self/cgroup", "0::/pod/one\n");
    put("/proc/self/mountinfo", "30 23 0:26 /pod /sys/fs/c\\040group rw - cgroup2 cgroup2 rw\n");
    put("/sys/fs/c group/one/cpu.max", "150000 100000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 1.5));
    put("/sys/fs/c group/cpu.max", "100000 100000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 1));

    new_root(); /* the group lies outside of what is mounted: only the mount's own root can be read */
    put("/proc/self/cgroup", "0::/../../host\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "250000 100000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 2.5));
    put("/proc/self/cgroup", "0::/podx/one\n");
    put("/proc/self/mountinfo", "30 23 0:26 /pod /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 2.5));
    /* two mounts of one hierarchy: that which holds the group counts */
    put("/proc/self/mountinfo", "30 23 0:26 /pod /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
                                "31 23 0:26 /podx /mnt/cg rw - cgroup2 cgroup2 rw\n");
    put("/mnt/cg/one/cpu.max", "700000 100000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 7));

    static const char *const broken[] = {
        "", "\n", "30", "30 23 0:26 / ", "- - - -\n", " - cgroup2 x y\n",
        "30 23 0:26 / /sys - cgroup2\n", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 x",
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        put("/proc/self/mountinfo", broken[i]);
        CHECK(pe_cgroup_cpu_quota(root) == 0);
    }
    static const char *const lines[] = {"", ":", "0", "0:", "0:\n", "::::\n", "0::", "0:x:/a\n"};
    put("/proc/self/mountinfo", "30 23 0:26 / /none rw - cgroup2 cgroup2 rw\n");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        put("/proc/self/cgroup", lines[i]);
        CHECK(pe_cgroup_cpu_quota(root) == 0);
    }
    char *endless = malloc(20001); /* longer than any path */
    memset(endless, 'a', 20000);
    memcpy(endless, "0::/", 4);
    endless[20000] = 0;
    put("/proc/self/cgroup", endless);
    CHECK(pe_cgroup_cpu_quota(root) == 0);
    free(endless);
}

static void test_v1(void) {
    new_root();
    put("/proc/self/cgroup", "9:cpuset:/z\n4:cpu,cpuacct:/job/task\n3:memory:/job\n1:name=systemd:/\n0::/\n");
    put("/proc/self/mountinfo", V1_MOUNT "32 23 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                                         "33 23 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/cpuset/z/cpu.cfs_quota_us", "1\n"); /* another controller's tree */
    put("/sys/fs/cgroup/cpuset/z/cpu.cfs_period_us", "100\n");
    CHECK(pe_cgroup_cpu_quota(root) == 0);
    put("/sys/fs/cgroup/cpu,cpuacct/job/task/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/task/cpu.cfs_period_us", "100000\n");
    CHECK(pe_cgroup_cpu_quota(root) == 0);
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "125000\n");
    CHECK(pe_cgroup_cpu_quota(root) == 0); /* a quota without its period */
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "50000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 2.5));
    put("/sys/fs/cgroup/cpu,cpuacct/job/task/cpu.cfs_quota_us", "150000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 1.5));
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "rubbish\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 1.5));
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK(pe_cgroup_memory_limit(root) == 0);
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n");
    CHECK(pe_cgroup_memory_limit(root) == 1048576);

    /* both versions mounted: the tighter one counts */
    put("/proc/self/mountinfo", V1_MOUNT "34 23 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/unified/cpu.max", "100000 100000\n");
    CHECK(near(pe_cgroup_cpu_quota(root), 1));
}

static void test_caches(void) {
    size_t caches[3] = {0, 0, 0};
    new_root();
    pe_caches_from_files(root, caches);
    CHECK(!caches[0] && !caches[1] && !caches[2]);
    static const char *const files[] = {
        "1", "Data\n", "48K\n", "1", "Instruction\n", "64K\n", "2", "Unified\n", "2048K\n",
        "3", "Unified\n", "36M\n", "9", "Unified\n", "1K\n",
    };
    for (int i = 0; i < 5; i++) {
        char path[128];
        static const char *const names[] = {"level", "type", "size"};
        for (int k = 0; k < 3; k++) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", i, names[k]);
            put(path, files[3 * i + k]);
        }
    }
    pe_caches_from_files(root, caches);
    CHECK(caches[0] == 48 << 10 && caches[1] == 2 << 20 && caches[2] == 36 << 20);
    for (int level = 0; level < 3; level++) {
        CHECK(pe_clamp_cache(level, 0) > 0);
        CHECK(pe_clamp_cache(level, 1) == pe_clamp_cache(level, 0));
        CHECK(pe_clamp_cache(level, SIZE_MAX) == pe_clamp_cache(level, 0));
    }
    CHECK(pe_clamp_cache(0, 48 << 10) == 48 << 10);
}

static void test_levels(void) {
    unsigned all = 1u << PE_LEVEL_GENERIC | 1u << PE_LEVEL_AVX2 | 1u << PE_LEVEL_AVX512;
    CHECK(pe_choose_level(all, NULL) == PE_LEVEL_AVX512);
    CHECK(pe_choose_level(all, "avx2") == PE_LEVEL_AVX2);
    CHECK(pe_choose_level(all, "generic") == PE_LEVEL_GENERIC);
    CHECK(pe_choose_level(all, "avx512_bf16") == PE_LEVEL_AVX512); /* above the machine */
    CHECK(pe_choose_level(all, "avx512_vnni") == PE_LEVEL_AVX512);
    CHECK(pe_choose_level(all, "neon") == PE_LEVEL_AVX512);
    CHECK(pe_choose_level(all, "") == PE_LEVEL_AVX512);
    CHECK(pe_choose_level(all, "AVX9000") == PE_LEVEL_AVX512);
    CHECK(pe_choose_level(1, NULL) == PE_LEVEL_GENERIC);
    all |= 1u << PE_LEVEL_AVX512_VNNI; /* a machine with VNNI and no BF16, as many are */
    CHECK(pe_choose_level(all, NULL) == PE_LEVEL_AVX512_VNNI);
    CHECK(pe_choose_level(all, "avx512") == PE_LEVEL_AVX512);
    CHECK(pe_choose_level(all, "avx512_bf16") == PE_LEVEL_AVX512_VNNI);

    const char *const *names = pe_isa_levels();
    pe_machine machine;
    pe_machine_info(&machine);
    int seen = 0, count = 0;
    for (; names[count]; count++)
        seen |= !strcmp(names[count], machine.isa);
    CHECK(seen && !strcmp(names[0], "generic"));
    CHECK(!strcmp(names[count - 1], machine.isa_best));
    CHECK(!strcmp(pe_default_context()->kernels->isa, machine.isa));
    CHECK(machine.cpu[0] && machine.l1d && machine.l2 && machine.l3);
    CHECK(machine.cpus_online >= 1 && machine.cpus_affinity >= 1);
    CHECK(machine.threads_default >= 1 && machine.threads_default <= machine.cpus_affinity);
    CHECK(pe_physical_memory() > 1 << 20);
}

static void test_threads_text(void) {
    static const char *const nothing[] = {"", " ", "0", "-3", "x", "4x", "2.5", "0x10", "\xff", "1 2"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        CHECK(pe_parse_threads(nothing[i]) == 0);
    CHECK(pe_parse_threads(NULL) == 0);
    CHECK(pe_parse_threads("4") == 4 && pe_parse_threads(" 12 \n") == 12);
    CHECK(pe_parse_threads("99999999999999999999") > 256);
}

static void test_tensor(void) {
    char text[PE_SHAPE_TEXT];
    float data[24];
    pe_tensor t = {data, PE_FLOAT32, 3, {2, 3, 4}, {48, 16, 4}};
    pe_error err;
    CHECK(!strcmp(pe_shape_text(&t, text), "(2, 3, 4)"));
    CHECK(pe_numel(&t) == 24 && pe_is_contiguous(&t) && pe_check_tensor(&t, "op", "a", &err) == PE_OK);
    t.strides[0] = 0;
    CHECK(!pe_is_contiguous(&t));
    t.shape[0] = 1;
    CHECK(pe_is_contiguous(&t));
    t.shape[1] = 0;
    CHECK(pe_is_contiguous(&t) && pe_numel(&t) == 0);
    t.ndim = 1;
    CHECK(!strcmp(pe_shape_text(&t, text), "(1,)"));
    t.ndim = 0;
    CHECK(!strcmp(pe_shape_text(&t, text), "()") && pe_numel(&t) == 1);
    t.ndim = 9;
    CHECK(pe_numel(&t) == -1 && pe_shape_text(&t, text) == text);
    CHECK(pe_check_tensor(&t, "op", "a", &err) == PE_ERR_SHAPE && strstr(err.message, "op: a has 9 axes"));
    t.ndim = 8;
    for (int i = 0; i < 8; i++)
        t.shape[i] = INT64_MAX;
    CHECK(pe_numel(&t) == -1 && strlen(pe_shape_text(&t, text)) < PE_SHAPE_TEXT && strstr(text, "...)"));
    CHECK(pe_check_tensor(&t, "op", "a", &err) == PE_ERR_SHAPE);
    t.shape[7] = 0;
    CHECK(pe_numel(&t) == 0 && pe_check_tensor(&t, "op", "a", NULL) == PE_OK);
    t.shape[2] = -1;
    CHECK(pe_check_tensor(&t, "op", "a", &err) == PE_ERR_SHAPE && err.axis == 2);
    pe_tensor odd = {data, PE_FLOAT32, 1, {2}, {6}};
    CHECK(pe_check_tensor(&odd, "op", "a", &err) == PE_ERR_ARGUMENT);
    odd.dtype = 77;
    CHECK(pe_check_tensor(&odd, "op", "a", &err) == PE_ERR_DTYPE && pe_dtype_size(77) == 0);
    CHECK(pe_check_tensor(NULL, "op", "a", &err) == PE_ERR_ARGUMENT);
    CHECK(pe_dtype_size(PE_BFLOAT16) == 2 && !strcmp(pe_dtype_name(PE_INT64), "int64") && pe_dtype_name(-1));
    CHECK(pe_fail(NULL, PE_ERR_INDEX, 0, "x") == PE_ERR_INDEX);
    char longer[400];
    memset(longer, 'x', 399);
    longer[399] = 0;
    CHECK(pe_fail(&err, PE_ERR_INDEX, 1, "%s", longer) == PE_ERR_INDEX && strlen(err.message) == 239);
}

extern const struct pe_kernels pe_kernels_avx512 __attribute__((weak));

/* csrc/make.py counts on it (is_worth_running): nothing but the products is a composed level's own. */
static void test_composed_levels(void) {
    const struct pe_kernels *chosen = pe_choose_kernels(), *avx512 = &pe_kernels_avx512;
    if (!avx512 || (strncmp(chosen->isa, "avx512_", 7) && strcmp(chosen->isa, "amx"))) return;
    struct pe_kernels same = *chosen;
    CHECK(memcmp(&same.qgemm, &avx512->qgemm, sizeof same.qgemm) != 0);
    same.isa = avx512->isa, same.qgemm = avx512->qgemm, same.half = avx512->half;
    CHECK(memcmp(&same, avx512, sizeof same) == 0);
}

int main(void) {
    test_composed_levels();
    test_v2();
    test_v2_mounts();
    test_v1();
    test_caches();
    test_levels();
    test_threads_text();
    test_tensor();
    new_root();
    rmdir(root);
    return check_report();
}
