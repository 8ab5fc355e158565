/* The pool: coverage of ranges, sharing, nesting, budget, resizing, floating-point state, idleness. */
#define _GNU_SOURCE
#include "check.h"
#include "cover.h"

#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static void test_cover(void) {
    static const int64_t counts[] = {0, 1, 2, 7, 64, 65, 1000, 4097}, grains[] = {1, 2, 3, 64, 1000, 5000};
    for (int threads = 1; threads <= 5; threads++) {
        pe_set_num_threads(ctx, threads);
        for (int i = 0; i < 8; i++)
            for (int k = 0; k < 6; k++)
                CHECK(covers(counts[i], grains[k], 0, 0));
    }
    pe_set_num_threads(ctx, 3);
    struct cover none = {-5, 1, 0, NULL, 0};
    pe_parallel_for(ctx, -5, 1, 0, cover_body, &none); /* nothing to do: the body would crash */
    CHECK(covers(100, 1, 1, 0) && covers(100, 1, 1000, 0) && covers(100, 1, -1, 0));
}

static void sum_sizes(int64_t begin, int64_t end, void *arg) {
    atomic_fetch_add((_Atomic int64_t *)arg, end - begin);
}

static void test_huge_counts(void) {
    _Atomic int64_t sum = 0;
    pe_parallel_for(ctx, INT64_MAX, INT64_MAX / 7, 0, sum_sizes, &sum);
    CHECK(sum == INT64_MAX);
    sum = 0;
    pe_parallel_for(ctx, INT64_MAX, INT64_MAX, 0, sum_sizes, &sum);
    CHECK(sum == INT64_MAX);
    sum = 0;
    pe_parallel_for(ctx, 10, 0, 0, sum_sizes, &sum);
    CHECK(sum == 10);
    sum = 0;
    pe_parallel_for(ctx, 3000000, 1, 0, sum_sizes, &sum);
    CHECK(sum == 3000000);
}

/* ---- threads appear when asked for, and not before ---- */

static void test_lazy(void) {
    CHECK(stats().workers == 0);
    pe_set_num_threads(ctx, 4);
    CHECK(stats().workers == 0);
    CHECK(covers(100, 100, 0, 0) && covers(100, 1, 1, 0));
    CHECK(stats().workers == 0 && stats().parallel_calls == 0);
    uint64_t chunks = stats().chunks;
    CHECK(covers(100, 1, 0, 10000));
    CHECK(stats().workers == 3 && stats().parallel_calls == 1 && stats().chunks == chunks + 100);
    for (int i = 0; i < 100 && !stats().shared_calls; i++)
        CHECK(covers(100, 1, 0, 10000));
    CHECK(stats().shared_calls > 0 && stats().worker_chunks > 0 && stats().worker_chunks < stats().chunks);
}

static void wait_for_workers(int wanted) {
    for (int i = 0; i < 2000 && stats().workers != wanted; i++)
        usleep(1000);
    CHECK(stats().workers == wanted);
}

static void test_resize(void) {
    pe_set_num_threads(ctx, 6);
    CHECK(covers(200, 1, 0, 1000));
    wait_for_workers(5);
    pe_set_num_threads(ctx, 2);
    wait_for_workers(1);
    CHECK(covers(200, 1, 0, 1000));
    pe_set_num_threads(ctx, 1);
    wait_for_workers(0);
    uint64_t calls = stats().parallel_calls;
    CHECK(covers(200, 1, 0, 1000) && stats().parallel_calls == calls);
    pe_set_num_threads(ctx, 0);
    CHECK(pe_get_num_threads(ctx) == 1);
    pe_set_num_threads(ctx, 100000);
    CHECK(pe_get_num_threads(ctx) == 256);
    pe_set_num_threads(ctx, 3);
}

/* ---- nesting and the budget ---- */

struct nested { pthread_t thread; _Atomic int64_t *sum; };

static void nested_inner(int64_t begin, int64_t end, void *arg) {
    struct nested *outer = arg;
    if (pthread_equal(outer->thread, pthread_self()))
        atomic_fetch_add(outer->sum, end - begin);
}

static void nested_outer(int64_t begin, int64_t end, void *arg) {
    struct nested mine = {pthread_self(), arg};
    for (int64_t i = begin; i < end; i++)
        pe_parallel_for(ctx, 10, 1, 0, nested_inner, &mine);
}

static _Atomic int computing, most_computing;

static void budget_body(int64_t begin, int64_t end, void *arg) {
    (void)begin, (void)end, (void)arg;
    int now = atomic_fetch_add(&computing, 1) + 1, most = atomic_load(&most_computing);
    while (now > most && !atomic_compare_exchange_weak(&most_computing, &most, now)) {
    }
    burn(2000);
    atomic_fetch_sub(&computing, 1);
}

static void *budget_caller(void *arg) {
    for (int i = 0; i < 300; i++)
        pe_parallel_for(ctx, 16, 1, 0, budget_body, arg);
    return NULL;
}

static void test_nesting_and_budget(void) {
    _Atomic int64_t sum = 0;
    pe_set_num_threads(ctx, 3);
    pe_parallel_for(ctx, 100, 1, 0, nested_outer, &sum);
    CHECK(sum == 1000);

    pthread_t caller[4];
    pe_set_num_threads(ctx, 4);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&caller[i], NULL, budget_caller, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(caller[i], NULL);
    /* each of the four callers may find the worker in its place finishing one chunk */
    CHECK(most_computing >= 1 && most_computing <= 4 + 3);
    CHECK(atomic_load(&ctx->pool->active) == 0);
    most_computing = 0;
    for (int i = 0; i < 300; i++)
        pe_parallel_for(ctx, 16, 1, 0, budget_body, NULL);
    CHECK(most_computing <= 4);
}

/* ---- one floating-point state for callers and workers ---- */

struct fp_case { float in; _Atomic int flushed, rounded_up; };

static void fp_body(int64_t begin, int64_t end, void *arg) {
    struct fp_case *c = arg;
    (void)begin, (void)end;
    volatile float tiny = c->in, one = 1.0f, small = 0x1p-30f;
    atomic_fetch_add(&c->flushed, tiny * one == 0.0f);
    atomic_fetch_add(&c->rounded_up, one + small > 1.0f);
    burn(1000);
}

static void test_fp_state(void) {
    for (int upward = 0; upward < 2; upward++)
        for (int flush = 0; flush < 2; flush++)
            for (int count = 1; count <= 64; count += 63) {
                struct fp_case c = {1e-40f, 0, 0};
                fesetround(upward ? FE_UPWARD : FE_TONEAREST);
                pe_fp_state mine = pe_fp_get();
                pe_set_flush_denormal(ctx, flush);
                pe_parallel_for(ctx, count, 1, 0, fp_body, &c);
                CHECK(pe_fp_get() == mine);
                fesetround(FE_TONEAREST);
                CHECK(c.flushed == (flush ? count : 0));
                CHECK(c.rounded_up == 0);
            }
    CHECK(pe_get_flush_denormal(ctx) == 1);
    pe_set_flush_denormal(ctx, 0);
    CHECK(pe_get_flush_denormal(ctx) == 0);
}

/* ---- signals and the cost model ---- */

static _Atomic int signals_open;

static void signal_body(int64_t begin, int64_t end, void *arg) {
    sigset_t blocked;
    (void)begin, (void)end;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (!pthread_equal(pthread_self(), *(pthread_t *)arg))
        for (int signal = SIGHUP; signal <= SIGALRM; signal++)
            signals_open += signal != SIGKILL && !sigismember(&blocked, signal);
    burn(20000);
}

static void test_signals_and_cost(void) {
    pthread_t self = pthread_self();
    pe_set_num_threads(ctx, 2);
    pe_parallel_for(ctx, 20, 1, 0, signal_body, &self);
    CHECK(signals_open == 0);
    usleep(20000);
    CHECK(pe_threads_for(ctx, 0) == 1 && pe_threads_for(ctx, 100) == 1 && pe_threads_for(ctx, -5) == 1);
    CHECK(pe_threads_for(ctx, (double)NAN) == 1);
    CHECK(pe_threads_for(ctx, 10000) == 1); /* the worker sleeps: not worth waking */
    CHECK(pe_threads_for(ctx, 1e6) == 2 && pe_threads_for(ctx, 1e300) == 2);
    CHECK(pe_threads_for(ctx, INFINITY) == 2);
    pe_set_num_threads(ctx, 1);
    CHECK(pe_threads_for(ctx, 1e9) == 1);
}

static void test_idle(void) {
    struct timespec before, after;
    pe_set_num_threads(ctx, 4);
    CHECK(covers(1000, 1, 0, 1000));
    usleep(20000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    usleep(50000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec < 3000000);
}

/* ---- where workers run ---- */

#ifdef __linux__
struct places { pthread_t caller; _Atomic int helped; };

static void place_body(int64_t begin, int64_t end, void *arg) {
    struct places *p = arg;
    (void)begin, (void)end;
    if (!pthread_equal(pthread_self(), p->caller)) p->helped++;
    burn(20000);
}

/* The one worker's seat, once it sleeps. */
static struct pe_seat *sleeping_seat(void) {
    for (int wait = 0; wait < 2000; wait++, usleep(1000))
        for (struct pe_seat *s = ctx->pool->seats; s < ctx->pool->seats + PE_MAX_THREADS; s++)
            if (s->place == PE_SEAT_ASLEEP && stats().workers == 1) return s; /* left seats are PE_SEAT_BUSY */
    return NULL;
}

/* Whatever processor the caller computes on, a sleeping worker is sent elsewhere before it is woken, helps, and may run
 * everywhere again when it sleeps the next time. */
static void test_seats(void) {
    cpu_set_t all, one, mask;
    struct places p = {.caller = pthread_self()};
    sched_getaffinity(0, sizeof all, &all);
    if (CPU_COUNT(&all) < 2) {
        printf("test_seats: one processor: nowhere else to run\n");
        return;
    }
    pe_set_num_threads(ctx, 2);
    pe_parallel_for(ctx, 200, 1, 0, place_body, &p); /* the worker inherits the caller's whole affinity */
    for (int round = 0, processor = 0, tries = 0; round < 8; round++, processor++) {
        while (!CPU_ISSET(processor % CPU_SETSIZE, &all)) processor++;
        processor %= CPU_SETSIZE;
        CPU_ZERO(&one);
        CPU_SET(processor, &one);
        sched_setaffinity(0, sizeof one, &one);
        struct pe_seat *seat;
        do { /* again where it was still on its way to sleep: woken by the last round's work, it had not run yet */
            seat = sleeping_seat();
            if (!seat) break;
            int at_home = 0; /* or it will be when it wakes; while it moves it is neither */
            for (int wait = 0; wait < 2000 && !at_home && !seat->away; wait++, usleep(wait > 1 ? 1000 : 0)) {
                sched_getaffinity(seat->thread, sizeof mask, &mask);
                at_home = CPU_EQUAL(&mask, &all);
            }
            CHECK(at_home || seat->away);
            pe_seat_clear_sleepers(ctx->pool);
        } while (!seat->away && ++tries < 100);
        CHECK(seat != NULL);
        if (!seat) break;
        sched_getaffinity(seat->thread, sizeof mask, &mask);
        CHECK(seat->away && !CPU_ISSET(processor, &mask) && CPU_COUNT(&mask) == CPU_COUNT(&all) - 1);
        CHECK(CPU_EQUAL(&seat->home, &all));
        p.helped = 0;
        for (int i = 0; i < 500 && !p.helped; i++) pe_parallel_for(ctx, 200, 1, 0, place_body, &p);
        CHECK(p.helped > 0);
    }
    sched_setaffinity(0, sizeof all, &all);
}
#else
static void test_seats(void) {}
#endif

int main(void) {
    ctx = pe_default_context();
    alarm(60); /* a hang is a failure, not a wait */
    test_lazy();
    test_cover();
    test_huge_counts();
    test_resize();
    test_nesting_and_budget();
    test_fp_state();
    test_signals_and_cost();
    test_idle();
    test_seats();
    return check_report();
}
