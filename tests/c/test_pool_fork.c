/* Fork beside a living pool, and a stress of everything at once: eight callers, resizing, buffers and
 * forked children that compute. The first argument is the number of forks in the stress. */
#define _GNU_SOURCE
#include "check.h"
#include "cover.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
/* the children of fork start threads again, which is what is tested */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "die_after_fork=0"; }
#endif

static int child_computes(void) {
    alarm(20);
    int right = stats().workers == 0;
    right &= covers(1000, 10, 0, 100) && covers(77, 1, 0, 0);
    void *p = pe_alloc(ctx, 100000);
    right &= p != NULL;
    pe_free(ctx, p);
    return right;
}

static int fork_and_compute(void) {
    pid_t child = fork();
    if (child == 0)
        _exit(child_computes() ? 0 : 1);
    int status = 0;
    int ended = child > 0 && waitpid(child, &status, 0) == child;
    int right = ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!right)
        fprintf(stderr, "the child ended with %s %d\n", WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return right;
}

static void *fork_in_thread(void *arg) { return fork_and_compute() ? arg : NULL; }

static void test_fork(void) {
    pthread_t thread;
    int mark;
    void *result;
    pe_set_num_threads(ctx, 3);
    CHECK(covers(1000, 10, 0, 100));
    CHECK(fork_and_compute());
    CHECK(covers(1000, 10, 0, 100));
    CHECK(pthread_create(&thread, NULL, fork_in_thread, &mark) == 0);
    pthread_join(thread, &result);
    CHECK(result == &mark);
    pid_t child = fork(); /* exit(), with its handlers, while workers of the child spin */
    if (child == 0) {
        alarm(20);
        exit(covers(1000, 10, 0, 100) && fork_and_compute() ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- all at once: callers, resizing, buffers, forks ---- */

static _Atomic int stop;

static void *stress_caller(void *arg) {
    unsigned seed = (unsigned)(uintptr_t)arg;
    uintptr_t wrong = 0;
    while (!atomic_load(&stop)) {
        int64_t count = 1 + rand_r(&seed) % 3000, grain = 1 + rand_r(&seed) % 40;
        wrong += !covers(count, grain, rand_r(&seed) % 6, rand_r(&seed) % 4 ? 0 : 200);
        void *p = pe_alloc(ctx, 1 + (size_t)rand_r(&seed) % 100000);
        wrong += !p;
        pe_free(ctx, p);
        if (rand_r(&seed) % 16 == 0)
            usleep((unsigned)rand_r(&seed) % 200);
    }
    return (void *)wrong;
}

static void *stress_resizer(void *arg) {
    unsigned seed = 99;
    while (!atomic_load(&stop)) {
        pe_set_num_threads(ctx, 1 + rand_r(&seed) % 8);
        usleep((unsigned)rand_r(&seed) % 2000);
    }
    return arg;
}

static void test_stress(int forks) {
    pthread_t caller[8], resizer;
    stop = 0;
    for (uintptr_t i = 0; i < 8; i++)
        CHECK(pthread_create(&caller[i], NULL, stress_caller, (void *)(i + 1)) == 0);
    CHECK(pthread_create(&resizer, NULL, stress_resizer, NULL) == 0);
    for (int i = 0; i < forks; i++)
        CHECK(fork_and_compute());
    usleep(200000);
    stop = 1;
    for (int i = 0; i < 8; i++) {
        void *wrong;
        pthread_join(caller[i], &wrong);
        CHECK(wrong == NULL);
    }
    pthread_join(resizer, NULL);
    CHECK(atomic_load(&ctx->pool->active) == 0 && atomic_load(&ctx->pool->used_jobs) == 0);
    CHECK(atomic_load(&ctx->pool->open_jobs) == 0);
    int threads = pe_get_num_threads(ctx);
    for (int i = 0; i < 2000 && stats().workers >= threads; i++)
        usleep(1000);
    CHECK(stats().workers < threads);
    int workers = stats().workers; /* no worker was lost from the accounts */
    for (int i = 0; i < 2000 && atomic_load(&ctx->pool->sleepers) != workers; i++)
        usleep(1000);
    CHECK(atomic_load(&ctx->pool->sleepers) == workers && atomic_load(&ctx->pool->spinners) == 0);
    CHECK(atomic_load(&ctx->pool->tickets) == 0);
}

int main(int argc, char **argv) {
    ctx = pe_default_context();
    alarm(300); /* a hang is a failure, not a wait */
    test_fork();
#if defined(__SANITIZE_ADDRESS__)
    /* gcc 12's ASan does not free its own allocator's locks in a child: it hangs there, not we */
    test_stress(0);
    (void)argc, (void)argv;
#else
    test_stress(argc > 1 ? atoi(argv[1]) : 20);
#endif
    return check_report();
}
