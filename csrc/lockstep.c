/* Steps that depend on each other, each cut into blocks: see lockstep.h and docs/decisions/009.
 *
 * `place` says which step is at work and which of its blocks are taken, `finished` counts blocks. A thread takes the
 * free block nearest to its own; where none is left it waits until the step is finished, and the first to see that
 * takes a block of the next. A thread that holds a block computes and waits for nothing, so somebody always gets on. */
#define _GNU_SOURCE
#include "lockstep.h"
#include "futex.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { LOOKS_PER_YIELD = 256, LOOKS_BEFORE_SLEEP = 100 * LOOKS_PER_YIELD, SLEEP_NS = 50000 };

struct lockstep {
    pe_step_body *body;
    void *arg;
    int64_t steps;
    int blocks, threads, crowded;
    _Alignas(128) _Atomic uint64_t place; /* step << 32 | a bit for each block taken */
    _Alignas(128) _Atomic int64_t finished;
};

/* A block of `step`, whose step before is finished; -1: none is left. */
static int take_block(struct lockstep *l, int64_t step, int home) {
    const uint64_t every = UINT64_MAX >> (64 - l->blocks);
    uint64_t place = atomic_load_explicit(&l->place, memory_order_acquire);
    for (;;) {
        const int64_t at = (int64_t)(place >> 32);
        const uint64_t taken = at < step ? 0 : place & every, open = every & ~taken, near = open >> home << home;
        if (at > step || !open) return -1;
        const int block = __builtin_ctzll(near ? near : open);
        if (atomic_compare_exchange_weak_explicit(&l->place, &place,
                                                  (uint64_t)step << 32 | taken | UINT64_C(1) << block,
                                                  memory_order_acq_rel, memory_order_acquire))
            return block;
    }
}

/* Others compute what is awaited. Where they may be queued behind this very thread it steps aside, and in the end
 * sleeps, which lets even threads of lower priority run. */
static void wait_for(struct lockstep *l, int64_t finished) {
    for (unsigned looks = 1; atomic_load_explicit(&l->finished, memory_order_acquire) < finished; looks++) {
        pe_cpu_relax();
        if (looks > LOOKS_BEFORE_SLEEP) nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
        else if (l->crowded || looks % LOOKS_PER_YIELD == 0) sched_yield();
    }
}

static void run_steps(int64_t number, int64_t end, void *arg) {
    struct lockstep *l = arg;
    const int home = (int)(number * l->blocks / l->threads);
    (void)end;
    int64_t step = (int64_t)(atomic_load_explicit(&l->place, memory_order_acquire) >> 32);
    for (; step < l->steps; step++) {
        for (int block; (block = take_block(l, step, home)) >= 0;) {
            l->body(step, block, l->arg);
            atomic_fetch_add_explicit(&l->finished, 1, memory_order_release);
        }
        wait_for(l, (step + 1) * l->blocks);
    }
}

void pe_lockstep(pe_context *ctx, int64_t steps, int blocks, int threads, pe_step_body *body, void *arg) {
    if (threads > blocks) threads = blocks;
    struct lockstep l = {.body = body, .arg = arg, .steps = steps, .blocks = blocks, .threads = threads,
                         .crowded = threads > pe_machine_cached()->threads_default};
    pe_parallel_for(ctx, threads, 1, threads, run_steps, &l);
}
