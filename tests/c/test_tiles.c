/* Tile registers and the rest of the process: a refusal falls back, fork and signals do no harm, no call leaves them in
 * use. On a machine without them (or at a lower level) the same products, and little to check beside. */
#define _GNU_SOURCE
#include "half_chain.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
/* The palette of the tiles that this thread has in use: 0 when they are released. */
__attribute__((target("amx-tile"))) static int tiles_in_use(void) {
    unsigned char config[64] = { 0 };
    if (half_order() == TILES) __asm__ volatile("sttilecfg %0" : "=m"(config));
    return config[0];
}
#else
static int tiles_in_use(void) { return 0; }
#endif

enum { M = 70, N = 100, K = 130 };
struct products {
    struct operand a, b, half_a, half_b, c, expected;
};

static struct operand halved(struct operand *f) {
    struct operand o = make_guarded(PE_BFLOAT16, f->t.shape[0], f->t.shape[1], ROWS, 0);
    for (int64_t i = 0; i < f->t.shape[0]; i++)
        for (int64_t j = 0; j < f->t.shape[1]; j++) {
            uint32_t bits;
            memcpy(&bits, at(&f->t, i, j), 4);
            uint16_t half = (uint16_t)(bits >> 16);
            bits &= 0xffff0000u;
            memcpy(at(&f->t, i, j), &bits, 4);
            memcpy((char *)o.t.data + i * o.t.strides[0] + j * o.t.strides[1], &half, 2);
        }
    return o;
}

static struct products make_products(void) {
    struct products p = { .a = make_matrix(M, K, ROWS, 0), .b = make_matrix(K, N, ROWS, 0),
                          .c = make_matrix(M, N, ROWS, 0), .expected = make_matrix(M, N, ROWS, 0) };
    p.half_a = halved(&p.a), p.half_b = halved(&p.b);
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++)
            *at(&p.expected.t, i, j) = half_order() == WIDENED ? chain(&p.a.t, &p.b.t, i, j, 0)
                                                              : half_chain(&p.a.t, &p.b.t, i, j, 0);
    return p;
}

static void drop_products(struct products *p) {
    drop(&p->a), drop(&p->b), drop(&p->half_a), drop(&p->half_b), drop(&p->c), drop(&p->expected);
}

static int is_right(struct products *p) {
    pe_gemm_args args = { .a = &p->half_a.t, .b = &p->half_b.t, .c = &p->c.t, .activation = PE_NO_ACTIVATION };
    int right = pe_gemm(ctx, &args, NULL) == PE_OK;
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) right &= same(*at(&p->c.t, i, j), *at(&p->expected.t, i, j));
    return right;
}

static int ended_well(pid_t child) {
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A signal stack that has no room for tile registers makes Linux refuse them. First of all tests: in a process that
 * has not asked yet. */
static int refused_process(void) {
    static char small[4096];
    const stack_t stack = { .ss_sp = small, .ss_size = sizeof small };
    if (sigaltstack(&stack, NULL)) return 1; /* smaller than any that this machine allows */
    prepare();
    const char *const *names = pe_isa_levels(), *wanted = getenv("PYENGINE_ISA");
    int right = half_order() != TILES, asked = !wanted || !strcmp(wanted, "amx");
    for (; *names && asked; names++) right &= strcmp(*names, "amx") != 0;
    struct products p = make_products();
    right &= is_right(&p);
    drop_products(&p);
    return right;
}

static void test_refusal(void) {
    pid_t child = fork();
    if (child == 0) _exit(!refused_process());
    CHECK(ended_well(child));
}

static void test_fork(void) {
    struct products p = make_products();
    for (int round = 0; round < 20; round++) {
        CHECK(is_right(&p));
        pid_t child = fork();
        if (child == 0) _exit(!is_right(&p));
        CHECK(is_right(&p));
        CHECK(ended_well(child));
    }
    drop_products(&p);
}

static volatile float handled;
static void handle(int number) {
    float sum = (float)number;
    for (int x = 0; x < 100; x++) sum = sum * 0.5f + handled;
    handled = sum;
}

static void *compute(void *arg) {
    int right = 1;
    for (int round = 0; round < 300; round++) right &= is_right(arg);
    return right && !tiles_in_use() ? arg : NULL;
}

static void test_signals_and_threads(void) {
    enum { THREADS = 4 };
    const struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART };
    const struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { { 0, 0 }, { 0, 0 } };
    struct products all[THREADS];
    pthread_t threads[THREADS];
    void *result;
    for (int x = 0; x < THREADS; x++) all[x] = make_products();
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int x = 1; x < THREADS; x++) CHECK(pthread_create(&threads[x], NULL, compute, &all[x]) == 0);
    CHECK(compute(&all[0]) == &all[0]);
    for (int x = 1; x < THREADS; x++) {
        pthread_join(threads[x], &result);
        CHECK(result == &all[x]);
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    for (int x = 0; x < THREADS; x++) drop_products(&all[x]);
}

int main(void) {
    test_refusal();
    prepare();
    test_fork();
    test_signals_and_threads();
    return check_report();
}
