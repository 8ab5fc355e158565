/* What floor 2's machinery costs on this machine: a call of the pool, a pair of the allocator, and
 * whether the cost model ever makes two threads slower than one. Built by one line:
 * cc -O3 -march=native -Icsrc bench/c/machinery.c, every C file of csrc and csrc/isa, -lm -lpthread
 */
#define _GNU_SOURCE
#include "../../csrc/internal.h"
#include "../../csrc/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pe_context *ctx;

static void show_pair(size_t bytes) {
    double best = 1e9;
    for (int round = 0; round < 9; round++) {
        uint64_t start = pe_now_ns();
        for (int i = 0; i < 20000; i++)
            pe_free(ctx, pe_alloc(ctx, bytes));
        double ns = (double)(pe_now_ns() - start) / 20000;
        best = ns < best ? ns : best;
    }
    printf("pe_alloc + pe_free of %zu cached bytes: %.1f ns\n", bytes, best);
}

static void empty_body(int64_t begin, int64_t end, void *arg) { (void)begin, (void)end, (void)arg; }

static void meet_body(int64_t begin, int64_t end, void *arg) {
    /* each of the two ranges waits for the other: the call lasts until the worker has come */
    (void)begin, (void)end;
    atomic_fetch_add((_Atomic int *)arg, 1);
    for (uint64_t end = pe_now_ns() + 20000000; atomic_load((_Atomic int *)arg) < 2 && pe_now_ns() < end;)
        pe_cpu_relax();
}

static void work_body(int64_t begin, int64_t end, void *arg) {
    (void)begin, (void)end;
    for (int64_t i = 0; i < *(int64_t *)arg; i++)
        __asm__ volatile("" : : : "memory");
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { SAMPLES = 301 };

static double median_ns(int64_t count, int threads, pe_range_body *body, void *arg, unsigned pause_us) {
    static double ns[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        if (pause_us)
            usleep(pause_us);
        if (body == meet_body)
            *(_Atomic int *)arg = 0;
        uint64_t start = pe_now_ns();
        pe_parallel_for(ctx, count, 1, threads, body, arg);
        ns[i] = (double)(pe_now_ns() - start);
    }
    qsort(ns, SAMPLES, sizeof *ns, by_value);
    return ns[SAMPLES / 2];
}

/* What the cost model makes of calls of this size, in a row or each after a pause: one thread and
 * the model's choice take turns, so that a busy machine disturbs both alike. */
static void show_model(int64_t loops, double alone_ns, unsigned pause_us) {
    static double one[SAMPLES], model[SAMPLES];
    int shared = 0;
    for (int block = 0; block < SAMPLES; block += 43)
        for (int with_model = 0; with_model < 2; with_model++)
            for (int i = block; i < block + 43; i++) {
                if (pause_us)
                    usleep(pause_us);
                uint64_t start = pe_now_ns();
                int threads = with_model ? pe_threads_for(ctx, alone_ns) : 1;
                pe_parallel_for(ctx, 32, 1, threads, work_body, &loops);
                (with_model ? model : one)[i] = (double)(pe_now_ns() - start);
                shared += threads > 1;
            }
    double mean_one = 0, mean_model = 0;
    qsort(one, SAMPLES, sizeof *one, by_value);
    qsort(model, SAMPLES, sizeof *model, by_value);
    for (int i = 0; i < SAMPLES * 9 / 10; i++) {
        mean_one += one[i];
        mean_model += model[i];
    }
    printf("%8.1f us of work, %s: 2 threads in %3d %% of calls, time / one thread's: median %.2f, "
           "mean of the lower 90 %% %.2f\n",
           alone_ns / 1000, pause_us ? "after 200 us" : "in a row    ", shared * 100 / SAMPLES,
           model[SAMPLES / 2] / one[SAMPLES / 2], mean_model / mean_one);
}

static void show_cost(void) {
    _Atomic int met = 0;
    pe_set_num_threads(ctx, 2);
    pe_parallel_for(ctx, 2, 1, 0, empty_body, NULL); /* starts the worker */
    printf("clock alone: %.0f ns (in every figure below)\n", median_ns(0, 1, empty_body, NULL, 0));
    printf("one range, one thread: %.0f ns\n", median_ns(1, 1, empty_body, NULL, 0));
    printf("two empty ranges, worker spinning: %.0f ns\n", median_ns(2, 2, empty_body, NULL, 0));
    printf("two ranges that meet, worker spinning: %.0f ns\n", median_ns(2, 2, meet_body, &met, 0));
    printf("two empty ranges, worker asleep: %.0f ns\n", median_ns(2, 2, empty_body, NULL, 300));
    printf("two ranges that meet, worker asleep: %.0f ns\n", median_ns(2, 2, meet_body, &met, 300));
    for (int64_t loops = 100; loops < 400000; loops *= 2) {
        double alone = median_ns(32, 1, work_body, &loops, 0);
        show_model(loops, alone, 0);
        show_model(loops, alone, 200);
    }
}

int main(void) {
    ctx = pe_default_context();
    show_pair(64);
    show_pair(1 << 20);
    show_pair(64 << 20);
    show_cost();
    return 0;
}
