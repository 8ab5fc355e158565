/* The pool, the workers' side: find a job, help, spin, sleep, end. */
#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <signal.h>

enum { STACK_BYTES = 1 << 20 };

/* One more thread computing, unless the budget is used up. */
static int take_budget(struct pe_pool *pool) {
    int active = atomic_load_explicit(&pool->active, memory_order_relaxed);
    while (active < atomic_load_explicit(&pool->threads, memory_order_relaxed))
        if (atomic_compare_exchange_weak(&pool->active, &active, active + 1))
            return 1;
    return 0;
}

static int joinable(uint64_t state) {
    return pe_job_next(state) < pe_job_claims(state) && pe_job_workers(state) < pe_job_limit(state);
}

/* Enters the job with its next claim in hand, or gives -1. */
static int64_t join_job(struct pe_pool *pool, struct pe_job *job) {
    uint64_t state = atomic_load_explicit(&job->state, memory_order_relaxed);
    if (!joinable(state) || !take_budget(pool))
        return -1;
    while (joinable(state))
        if (atomic_compare_exchange_weak_explicit(&job->state, &state, state + PE_JOB_WORKER + PE_JOB_CLAIM,
                                                  memory_order_acquire, memory_order_relaxed))
            return pe_job_next(state);
    atomic_fetch_sub(&pool->active, 1);
    return -1;
}

static void leave_job(struct pe_pool *pool, struct pe_job *job, int64_t chunks) {
    atomic_fetch_add_explicit(&job->helpers, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&job->helper_chunks, (uint64_t)chunks, memory_order_relaxed);
    /* both before leaving: who calls again at once must find the budget free and this worker awake */
    atomic_fetch_sub(&pool->active, 1);
    atomic_fetch_add(&pool->spinners, 1);
    /* From the next line on the job may serve another call. Waking its word then is a false alarm
     * to that caller, who looks again: the words belong to the pool and never go away. */
    uint64_t state = atomic_fetch_sub_explicit(&job->state, PE_JOB_WORKER, memory_order_acq_rel);
    if (pe_job_workers(state) == 1 && (state & PE_JOB_WAITING)) {
        atomic_fetch_add(&job->finished, 1);
        pe_futex_wake(&job->finished, 1);
    }
}

static int help(struct pe_pool *pool, int index) {
    struct pe_job *job = &pool->jobs[index];
    int64_t claim = join_job(pool, job), chunks = 0;
    if (claim < 0)
        return 0;
    atomic_fetch_sub_explicit(&pool->spinners, 1, memory_order_relaxed);
    pe_fp_enter(job->fp_state);
    for (;;) {
        chunks += pe_run_claim(&job->work, claim);
        /* a caller came in meanwhile: it is served by its own thread, so a worker gives way */
        if (atomic_load_explicit(&pool->active, memory_order_relaxed) >
            atomic_load_explicit(&pool->threads, memory_order_relaxed))
            break;
        uint64_t state = atomic_fetch_add_explicit(&job->state, PE_JOB_CLAIM, memory_order_relaxed);
        claim = pe_job_next(state);
        if (claim >= pe_job_claims(state)) {
            atomic_fetch_and_explicit(&pool->open_jobs, ~(UINT64_C(1) << index), memory_order_relaxed);
            break;
        }
    }
    leave_job(pool, job, chunks);
    return 1;
}

static int is_surplus(struct pe_pool *pool) {
    return atomic_load(&pool->workers) >= atomic_load(&pool->threads);
}

/* 1: some job was helped; 0: time to sleep. */
static int look_for_work(struct pe_pool *pool, struct pe_seat *seat) {
    uint64_t deadline = 0;
    unsigned looks = 0;
    for (;;) {
        uint64_t open = atomic_load_explicit(&pool->open_jobs, memory_order_relaxed);
        for (; open; open &= open - 1)
            if (help(pool, __builtin_ctzll(open)))
                return 1;
        if (looks % PE_LOOKS_PER_CLOCK == 0)
            pe_seat_spin(seat);
        int spin_ns = atomic_load_explicit(&pool->spin_ns, memory_order_relaxed);
        if (!spin_ns || !pe_spin_once(&looks, &deadline, spin_ns) || is_surplus(pool))
            return 0;
    }
}

static int work_in_sight(struct pe_pool *pool) {
    if (atomic_load(&pool->active) >= atomic_load(&pool->threads))
        return 0;
    for (uint64_t open = atomic_load(&pool->open_jobs); open; open &= open - 1)
        if (joinable(atomic_load(&pool->jobs[__builtin_ctzll(open)].state)))
            return 1;
    return 0;
}

static int wake_sleepers(struct pe_pool *pool, int wanted) {
    int sleepers = atomic_load(&pool->sleepers), count;
    do {
        count = wanted < sleepers ? wanted : sleepers;
        if (count <= 0)
            return 0;
    } while (!atomic_compare_exchange_weak(&pool->sleepers, &sleepers, sleepers - count));
    /* spinners from now on: a call made before they are up must not pay for waking them again */
    atomic_fetch_add(&pool->spinners, count);
    atomic_fetch_add(&pool->tickets, (uint32_t)count);
    pe_futex_wake(&pool->tickets, count);
    return count;
}

static void sleep_until_ticket(struct pe_pool *pool, struct pe_seat *seat) {
    pe_seat_sleep(seat);
    atomic_fetch_sub(&pool->spinners, 1);
    atomic_fetch_add(&pool->sleepers, 1);
    /* A caller that opened its job before the two lines above took this worker for a spinner and woke
     * nobody, and pe_set_num_threads may have looked for sleepers just before: nothing is lost if we
     * look once more now. */
    if (is_surplus(pool) || work_in_sight(pool))
        wake_sleepers(pool, 1);
    for (;;) {
        uint32_t tickets = atomic_load(&pool->tickets);
        while (tickets)
            if (atomic_compare_exchange_weak(&pool->tickets, &tickets, tickets - 1)) {
                pe_seat_wake(seat);
                return;
            }
        pe_futex_wait(&pool->tickets, 0);
    }
}

static int end_if_surplus(struct pe_pool *pool, struct pe_seat *seat) {
    if (!is_surplus(pool))
        return 0;
    pe_lock_take(&pool->lock);
    int surplus = is_surplus(pool);
    if (surplus) {
        pe_seat_leave(seat);
        atomic_fetch_sub(&pool->workers, 1);
        atomic_fetch_sub(&pool->spinners, 1);
    }
    pe_lock_drop(&pool->lock);
    return surplus;
}

static void *work_until_surplus(void *argument) {
    struct pe_seat *seat = argument;
    struct pe_pool *pool = seat->pool;
    pe_inside_call = 1;
#if defined(__APPLE__)
    pthread_setname_np("pyengine");
#elif defined(__linux__)
    pthread_setname_np(pthread_self(), "pyengine");
#endif
    pe_seat_wake(seat);
    for (;;) {
        while (look_for_work(pool, seat)) {
        }
        if (end_if_surplus(pool, seat))
            return NULL;
        sleep_until_ticket(pool, seat);
    }
}

int pe_wake_workers(struct pe_pool *pool, int wanted) {
    if (wanted <= 0 || atomic_load(&pool->sleepers) <= 0)
        return 0;
    pe_seat_clear_sleepers(pool);
    return wake_sleepers(pool, wanted);
}

static int start_one(struct pe_pool *pool) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t every, before;
    if (pthread_attr_init(&attributes))
        return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&every); /* signals are for the program's threads: Python's handlers expect them there */
    pthread_sigmask(SIG_SETMASK, &every, &before);
    struct pe_seat *seat = pe_seat_take(pool);
    atomic_fetch_add(&pool->workers, 1);
    atomic_fetch_add(&pool->spinners, 1);
    int failed = !seat || pthread_create(&thread, &attributes, work_until_surplus, seat);
    if (failed) {
        if (seat)
            pe_seat_leave(seat);
        atomic_fetch_sub(&pool->workers, 1);
        atomic_fetch_sub(&pool->spinners, 1);
        atomic_store(&pool->start_failed, 1);
    } else {
        pe_seat_begin(seat, thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}

int pe_start_workers(struct pe_pool *pool, int wanted) {
    int count = 0;
    if (atomic_load_explicit(&pool->start_failed, memory_order_relaxed))
        return 0;
    pe_lock_take(&pool->lock);
    while (count < wanted && atomic_load(&pool->workers) + 1 < atomic_load(&pool->threads) && start_one(pool))
        count++;
    pe_lock_drop(&pool->lock);
    return count;
}
