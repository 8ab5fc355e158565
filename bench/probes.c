/* What this machine can do: loops that do nothing but one kind of work, at one level.
 *
 * bench/limits.py compiles this file once per level with -DPROBE_VOCABULARY="simd/LEVEL.h".
 * A probe that any kernel beats is a wrong probe: arithmetic probes therefore hold enough independent
 * accumulators to cover latency times ports, and few enough that none is spilled to memory.
 */
#define _GNU_SOURCE
#include PROBE_VOCABULARY

#include <pthread.h>
#include <sched.h>
#include <time.h>

/* latency x ports is 8 to 12 vectors on the machines known; 12 and two operands fit 16 registers */
#if VL == 16 || defined(__aarch64__)
#define CHAINS 24
#else
#define CHAINS 12
#endif
/* the array of accumulators stays in registers only if the loop over it disappears */
#define EACH(i, count) _Pragma("GCC unroll 24") for (int i = 0; i < (count); i++)
#define UNROLL 8
#define EXPORT __attribute__((visibility("default")))
#define STEP (UNROLL * VL)
/* Arrays of one probe start this much further apart than their length, so that no load has the low
 * 12 address bits of a store in flight (which would stall it on x86). */
#define PAD 320

/* Works `repeats` times on the thread's own memory; the value only keeps the work alive. */
typedef float probe_body(float *memory, size_t floats, long repeats);

/* hides a value's origin from the compiler, so that it folds nothing */
static float opaque(float x) {
    volatile float hidden = x;
    return hidden;
}

static float horizontal(vf x) {
    float sum = 0;
    for (int i = 0; i < VL; i++) sum += x[i];
    return sum;
}

/* ---- arithmetic: 1024 rounds of CHAINS instructions per repeat ---------- */

#define ROUNDS 1024

/* a chain of dependent one-cycle additions: the clock */
static float clock_cycles(float *memory, size_t floats, long repeats) {
    (void)memory, (void)floats;
    uint64_t x = (uint64_t)opaque(1), step = (uint64_t)opaque(3);
    for (long r = 0; r < repeats * ROUNDS; r++)
        EACH(i, CHAINS) {
            x += step;
            __asm__("" : "+r"(x));
        }
    return (float)x;
}

static float fma_fp32(float *memory, size_t floats, long repeats) {
    (void)memory, (void)floats;
    vf chain[CHAINS], half = v_set(opaque(0.5f)), one = v_set(opaque(1));
    EACH(i, CHAINS) chain[i] = v_set((float)i);
    for (long r = 0; r < repeats * ROUNDS; r++) EACH(i, CHAINS) chain[i] = v_fma(chain[i], half, one);
    vf sum = v_set(0);
    EACH(i, CHAINS) sum += chain[i];
    return horizontal(sum);
}

#if defined(__AMX_BF16__) && defined(__AMX_INT8__)
#include "simd/amx.h"
#include <sys/syscall.h>
#include <unistd.h>

/* Linux gives tile registers on request; refused, the first instruction ends the process (see limits.py). */
static void ask_for_tiles(void) { syscall(SYS_arch_prctl, 0x1023, 18); }

/* four sums, each of its pair of operands, as a kernel has them: CHAINS products a round */
#define TILES(name, product)                                            \
    static float name(float *memory, size_t floats, long repeats) {     \
        (void)memory, (void)floats;                                     \
        amx_enter(AMX_STRIP);                                           \
        for (long r = 0; r < repeats * ROUNDS * CHAINS / 4; r++) {      \
            product(0, 4, 6);                                           \
            product(1, 4, 7);                                           \
            product(2, 5, 6);                                           \
            product(3, 5, 7);                                           \
        }                                                               \
        _tile_release();                                                \
        return 0;                                                       \
    }
TILES(tiles_bf16, _tile_dpbf16ps)
TILES(tiles_int8, _tile_dpbusd)
#else
static void ask_for_tiles(void) {}
#endif

#if defined(__AVX512BF16__) && VL == 16 && !defined(__AMX_BF16__)
static float dot_bf16(float *memory, size_t floats, long repeats) {
    (void)memory, (void)floats;
    vf chain[CHAINS];
    __m512bh a = (__m512bh)v_set(opaque(0.5f)), b = (__m512bh)v_set(opaque(1));
    EACH(i, CHAINS) chain[i] = v_set((float)i);
    for (long r = 0; r < repeats * ROUNDS; r++)
        EACH(i, CHAINS) chain[i] = (vf)_mm512_dpbf16_ps((__m512)chain[i], a, b);
    vf sum = v_set(0);
    EACH(i, CHAINS) sum += chain[i];
    return horizontal(sum);
}
#endif

#if defined(__AVX512VNNI__) && VL == 16 && !defined(__AMX_INT8__)
static float dot_int8(float *memory, size_t floats, long repeats) {
    (void)memory, (void)floats;
    vi chain[CHAINS]; /* an array of __m512i, which may alias anything, would be stored every round */
    __m512i a = (__m512i)v_seti((int)opaque(3)), b = (__m512i)v_seti((int)opaque(5));
    EACH(i, CHAINS) chain[i] = v_seti(i);
    for (long r = 0; r < repeats * ROUNDS; r++)
        EACH(i, CHAINS) chain[i] = (vi)_mm512_dpbusd_epi32((__m512i)chain[i], a, b);
    vi sum = v_seti(0);
    EACH(i, CHAINS) sum += chain[i];
    return horizontal(v_tofloat(sum));
}
#endif

/* ---- memory: one pass over all of the thread's memory per repeat --------- */

/* | and not +: it runs on every vector port, so the loads alone are measured. UNROLL streams side by side,
 * each over its part of the memory: an Ice Lake Xeon reads 13.9 GB/s of DRAM so, 9.8 in one stream, since a
 * prefetcher runs ahead within one page of each stream only. Caches do not care. */
static float read_all(float *memory, size_t floats, long repeats) {
    vi any[UNROLL] = {0};
    size_t part = floats / UNROLL;
    for (long r = 0; r < repeats; r++)
        for (size_t i = 0; i < part; i += VL)
            EACH(u, UNROLL) any[u] |= v_loadi((const int32_t *)memory + (size_t)u * part + i);
    EACH(u, UNROLL) any[0] |= any[u];
    return (float)v_any(any[0]);
}

static float copy(float *memory, size_t floats, long repeats) {
    float *to = memory, *from = memory + floats + PAD;
    for (long r = 0; r < repeats; r++)
        for (size_t i = 0; i < floats; i += STEP)
            EACH(u, UNROLL) v_store(to + i + u * VL, v_load(from + i + u * VL));
    return to[0];
}

/* a = b + s c */
static float triad(float *memory, size_t floats, long repeats) {
    float *a = memory, *b = a + floats + PAD, *c = b + floats + PAD;
    vf s = v_set(opaque(0.5f));
    for (long r = 0; r < repeats; r++)
        for (size_t i = 0; i < floats; i += STEP)
            EACH(u, UNROLL) v_store(a + i + u * VL, v_fma(s, v_load(c + i + u * VL), v_load(b + i + u * VL)));
    return a[0];
}

/* a += s b, in streams as read_all: what is written was read, as in an optimizer's step */
static float update(float *memory, size_t floats, long repeats) {
    float *a = memory, *b = a + floats + PAD;
    vf s = v_set(opaque(0.5f));
    size_t part = floats / UNROLL;
    for (long r = 0; r < repeats; r++)
        for (size_t i = 0; i < part; i += VL)
            EACH(u, UNROLL) {
                float *p = a + (size_t)u * part + i;
                v_store(p, v_fma(s, v_load(b + (size_t)u * part + i), v_load(p)));
            }
    return a[0];
}

/* copy and triad past the caches: a line that is written whole need not be read first */
#if VL == 16 && defined(__x86_64__)
static void stream(float *p, vf x) { _mm512_stream_ps(p, (__m512)x); }
#elif VL == 8 && defined(__x86_64__)
static void stream(float *p, vf x) { _mm256_stream_ps(p, (__m256)x); }
#else
static void stream(float *p, vf x) { v_store(p, x); }
#endif

static float copy_stream(float *memory, size_t floats, long repeats) {
    float *to = memory, *from = memory + floats + PAD;
    for (long r = 0; r < repeats; r++)
        for (size_t i = 0; i < floats; i += STEP)
            EACH(u, UNROLL) stream(to + i + u * VL, v_load(from + i + u * VL));
    return to[0];
}

static float triad_stream(float *memory, size_t floats, long repeats) {
    float *a = memory, *b = a + floats + PAD, *c = b + floats + PAD;
    vf s = v_set(opaque(0.5f));
    for (long r = 0; r < repeats; r++)
        for (size_t i = 0; i < floats; i += STEP)
            EACH(u, UNROLL) stream(a + i + u * VL, v_fma(s, v_load(c + i + u * VL), v_load(b + i + u * VL)));
    return a[0];
}

/* ---- the table, and the threads ------------------------------------------ */

static const struct probe {
    const char *name;
    probe_body *body;
    int operations; /* per instruction; 0: bytes are counted */
    int arrays;
    int passes; /* reads and writes, each of an array's length */
} probes[] = {
    {"clock", clock_cycles, 1, 0, 0},
    {"fp32", fma_fp32, 2 * VL, 0, 0},
#if defined(__AMX_BF16__) && defined(__AMX_INT8__)
    {"bf16", tiles_bf16, 2 * 16 * 16 * 32, 0, 0},
    {"int8", tiles_int8, 2 * 16 * 16 * 64, 0, 0},
#else
#if defined(__AVX512BF16__) && VL == 16
    {"bf16", dot_bf16, 4 * VL, 0, 0},
#endif
#if defined(__AVX512VNNI__) && VL == 16
    {"int8", dot_int8, 8 * VL, 0, 0},
#endif
#endif
    {"read", read_all, 0, 1, 1},
    {"copy", copy, 0, 2, 2},
    {"copy_stream", copy_stream, 0, 2, 2},
    {"triad", triad, 0, 3, 3},
    {"update", update, 0, 2, 3},
    {"triad_stream", triad_stream, 0, 3, 3},
};
enum { PROBE_COUNT = sizeof probes / sizeof probes[0], MAX_THREADS = 256 };

static size_t array_floats(const struct probe *p, size_t bytes) {
    if (p->arrays == 0)
        return 0;
    size_t floats = bytes / sizeof(float) / (size_t)p->arrays;
    return floats < 2 * PAD + STEP ? 0 : (floats - PAD) / STEP * STEP;
}

typedef struct {
    const struct probe *probe;
    float *memory;
    size_t floats;
    long repeats;
    int cpu; /* to be pinned to, or -1 */
    pthread_barrier_t *start;
    struct timespec begin, end;
    volatile float sink;
} worker;

static void *work(void *argument) {
    worker *w = argument;
    if (w->cpu >= 0) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(w->cpu, &one);
        pthread_setaffinity_np(pthread_self(), sizeof one, &one); /* refused: it runs where it may */
    }
    w->sink = w->probe->body(w->memory, w->floats, 1);
    pthread_barrier_wait(w->start);
    clock_gettime(CLOCK_MONOTONIC, &w->begin);
    w->sink = w->probe->body(w->memory, w->floats, w->repeats);
    clock_gettime(CLOCK_MONOTONIC, &w->end);
    return NULL;
}

static double seconds(struct timespec t) { return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec; }

EXPORT int probe_count(void) { return PROBE_COUNT; }
EXPORT const char *probe_name(int i) { return probes[i].name; }
EXPORT int probe_counts_bytes(int i) { return probes[i].arrays > 0; }

/* Operations or bytes per repeat and thread. */
EXPORT double probe_work(int i, size_t bytes) {
    const struct probe *p = &probes[i];
    if (p->arrays)
        return (double)array_floats(p, bytes) * (double)sizeof(float) * p->passes;
    return (double)p->operations * CHAINS * ROUNDS;
}

/* Seconds from the first thread's begin to the last one's end; each has `bytes` of memory. */
EXPORT double probe_run(int i, int threads, const int *cpus, char *memory, size_t bytes, long repeats) {
    static worker workers[MAX_THREADS];
    pthread_t ids[MAX_THREADS];
    static pthread_barrier_t start;
    ask_for_tiles();
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int t = 0; t < threads; t++) {
        workers[t] = (worker){.probe = &probes[i], .memory = (float *)(memory + (size_t)t * bytes),
                              .floats = array_floats(&probes[i], bytes), .repeats = repeats, .cpu = cpus[t],
                              .start = &start};
        if (pthread_create(&ids[t], NULL, work, &workers[t]))
            return -1; /* the caller gives up; the others wait at the barrier until the process ends */
    }
    double begin = 0, end = 0;
    for (int t = 0; t < threads; t++) {
        pthread_join(ids[t], NULL);
        double b = seconds(workers[t].begin), e = seconds(workers[t].end);
        begin = t == 0 || b < begin ? b : begin;
        end = t == 0 || e > end ? e : end;
    }
    pthread_barrier_destroy(&start);
    return end - begin;
}
