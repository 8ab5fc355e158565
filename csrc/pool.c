/* The pool, the caller's side: one parallel_for for the whole library.
 *
 * The caller starts at once and claims ranges until none is left; workers that arrive in time
 * claim some of them, workers that arrive late find nothing. Nobody waits for a thread that has
 * not taken a range. Callers and helping workers together are at most `threads`, so that several
 * Python threads share one budget; a caller is always served by its own thread. */
#include "pool.h"
#include "internal.h"
#include "machine.h"

#include <stdlib.h>

enum {
    CLAIMS_PER_THREAD = 16, /* the last one to finish keeps the others waiting 1/16 of a share at most */
    /* The cost model, in nanoseconds of work; measured on a 2-core Zen 4 guest by test_pool's `cost`.
     * A spinning worker answers in 0.2 us and its share comes back for the same: 2 us a thread pays.
     * Waking a sleeper costs the caller 2 to 13 us and the sleeper starts after 15 to 35 (a busy
     * machine may take milliseconds): a call on its own must bring this much a thread. */
    SHARE_NS = 2000,
    WAKE_NS = 50000,
    /* Shorter calls wake workers when they come in a row without gaps: the first calls of a long row
     * lose little, and a row shorter than this much work never pays for a wake-up it does not use. */
    ROW_NS = 200000
};

_Thread_local int pe_inside_call;

static struct pe_pool the_pool;

static int allowed_threads(int n) { return n < 1 ? 1 : n > PE_MAX_THREADS ? PE_MAX_THREADS : n; }

static void store_threads(struct pe_pool *pool, int threads) {
    atomic_store(&pool->threads, threads);
    atomic_store(&pool->spin_ns, threads <= pe_machine_cached()->threads_default ? PE_SPIN_NS : 0);
    atomic_store(&pool->start_failed, 0);
}

struct pe_pool *pe_pool_start(void) {
    int wanted = pe_parse_threads(getenv("PYENGINE_NUM_THREADS"));
    store_threads(&the_pool, allowed_threads(wanted ? wanted : pe_machine_cached()->threads_default));
    return &the_pool;
}

void pe_pool_reset_after_fork(struct pe_pool *pool) {
    /* only the forking thread lives on, and it is in no call: a body must not fork */
    pe_lock_reset(&pool->lock);
    atomic_store(&pool->open_jobs, 0);
    atomic_store(&pool->used_jobs, 0);
    atomic_store(&pool->active, 0);
    atomic_store(&pool->spinners, 0);
    atomic_store(&pool->sleepers, 0);
    atomic_store(&pool->tickets, 0);
    atomic_store(&pool->workers, 0);
    atomic_store(&pool->start_failed, 0);
    for (int j = 0; j < PE_JOBS; j++)
        atomic_store(&pool->jobs[j].state, 0);
    for (int i = 0; i < PE_MAX_THREADS; i++)
        if (pool->seats[i].pool)
            pe_seat_leave(&pool->seats[i]);
}

/* ---- what a program may set and ask ---- */

int pe_get_num_threads(pe_context *ctx) { return atomic_load(&ctx->pool->threads); }

void pe_set_num_threads(pe_context *ctx, int n) {
    struct pe_pool *pool = ctx->pool;
    pe_lock_take(&pool->lock); /* a worker that finds itself surplus ends before or after, not in between */
    store_threads(pool, allowed_threads(n));
    pe_lock_drop(&pool->lock);
    if (atomic_load(&pool->workers) >= allowed_threads(n))
        pe_wake_workers(pool, PE_MAX_THREADS); /* the surplus ends, the rest sleeps on */
}

void pe_set_flush_denormal(pe_context *ctx, int on) { atomic_store(&ctx->pool->flush, on != 0); }
int pe_get_flush_denormal(pe_context *ctx) { return atomic_load(&ctx->pool->flush); }

void pe_pool_statistics(pe_context *ctx, pe_pool_stats *out) {
    struct pe_pool *pool = ctx->pool;
    out->parallel_calls = atomic_load(&pool->parallel_calls);
    out->shared_calls = atomic_load(&pool->shared_calls);
    out->chunks = atomic_load(&pool->chunks);
    out->worker_chunks = atomic_load(&pool->worker_chunks);
    out->workers = atomic_load(&pool->workers);
}

/* ---- how many threads a call deserves ---- */

/* Work of calls that follow each other, this one included; 0 after a gap. Threads that race here
 * may lose a term: it is an estimate. */
static double row_of_calls(struct pe_pool *pool, double nanoseconds) {
    uint64_t now = pe_now_ns();
    uint64_t before = atomic_load_explicit(&pool->row_time, memory_order_relaxed);
    uint64_t row = atomic_load_explicit(&pool->row_ns, memory_order_relaxed);
    /* the previous call ran in between, perhaps for longer than its estimate */
    uint64_t patience = PE_SPIN_NS + 2 * (uint64_t)nanoseconds;
    row = (now - before < patience ? row : 0) + (uint64_t)nanoseconds;
    atomic_store_explicit(&pool->row_time, now, memory_order_relaxed);
    atomic_store_explicit(&pool->row_ns, row >= ROW_NS ? 0 : row, memory_order_relaxed);
    return (double)row;
}

int pe_threads_for(pe_context *ctx, double nanoseconds) {
    struct pe_pool *pool = ctx->pool;
    int threads = atomic_load_explicit(&pool->threads, memory_order_relaxed);
    if (threads == 1 || !(nanoseconds >= 2.0 * SHARE_NS) || pe_inside_call)
        return 1;
    double shares = nanoseconds / SHARE_NS, wakes = nanoseconds / WAKE_NS;
    int deserved = shares < threads ? (int)shares : threads;
    int awake = 1 + atomic_load_explicit(&pool->spinners, memory_order_relaxed);
    if (awake >= deserved || wakes >= threads)
        return deserved;
    if (wakes < deserved && row_of_calls(pool, nanoseconds) >= ROW_NS)
        return deserved;
    int woken = (int)wakes;
    return awake > woken ? awake : woken;
}

/* ---- one call ---- */

static struct pe_job *take_job(struct pe_pool *pool) {
    uint64_t used = atomic_load_explicit(&pool->used_jobs, memory_order_relaxed);
    while (~used) {
        uint64_t bit = ~used & (used + 1);
        if (atomic_compare_exchange_weak_explicit(&pool->used_jobs, &used, used | bit, memory_order_acquire,
                                                  memory_order_relaxed))
            return &pool->jobs[__builtin_ctzll(bit)];
    }
    return NULL;
}

/* Spinning workers cost nothing; sleepers and new threads cost a system call each. */
static void invite_workers(struct pe_pool *pool, int wanted, int room) {
    int missing = wanted < room ? wanted : room;
    int spinners = atomic_load(&pool->spinners);
    if (spinners > 0)
        pe_seat_clear_spinners(pool);
    missing -= spinners;
    if (missing > 0)
        missing -= pe_wake_workers(pool, missing);
    if (missing > 0 && atomic_load_explicit(&pool->workers, memory_order_relaxed) + 1 <
                           atomic_load_explicit(&pool->threads, memory_order_relaxed))
        pe_start_workers(pool, missing);
}

static void wait_for_helpers(struct pe_pool *pool, struct pe_job *job) {
    int spin_ns = atomic_load_explicit(&pool->spin_ns, memory_order_relaxed);
    uint64_t state = atomic_load_explicit(&job->state, memory_order_acquire), deadline = 0;
    unsigned looks = 0;
    while (pe_job_workers(state) && spin_ns && pe_spin_once(&looks, &deadline, spin_ns))
        state = atomic_load_explicit(&job->state, memory_order_acquire);
    if (!pe_job_workers(state))
        return;
    uint32_t seen = atomic_load(&job->finished); /* before the bit: the last worker changes it after */
    state = atomic_fetch_or_explicit(&job->state, PE_JOB_WAITING, memory_order_acq_rel);
    while (pe_job_workers(state)) {
        pe_futex_wait(&job->finished, seen);
        seen = atomic_load(&job->finished);
        state = atomic_load_explicit(&job->state, memory_order_acquire);
    }
}

static void count_call(struct pe_pool *pool, int64_t own, const struct pe_job *job) {
    uint64_t others = 0;
    uint32_t helpers = 0;
    if (job) {
        helpers = atomic_load_explicit(&job->helpers, memory_order_relaxed);
        others = atomic_load_explicit(&job->helper_chunks, memory_order_relaxed);
        atomic_fetch_add_explicit(&pool->parallel_calls, 1, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&pool->chunks, (uint64_t)own + others, memory_order_relaxed);
    if (helpers + (own > 0) > 1)
        atomic_fetch_add_explicit(&pool->shared_calls, 1, memory_order_relaxed);
    if (others)
        atomic_fetch_add_explicit(&pool->worker_chunks, others, memory_order_relaxed);
}

static void run_alone(struct pe_work *work) {
    work->step = work->chunks;
    pe_run_claim(work, 0);
}

static void run_shared(struct pe_pool *pool, struct pe_job *job, const struct pe_work *work, int threads,
                       pe_fp_state fp_state) {
    int64_t most = (int64_t)threads * CLAIMS_PER_THREAD;
    job->work = *work;
    job->work.step = (work->chunks - 1) / most + 1;
    int64_t claims = (work->chunks - 1) / job->work.step + 1, own = 0;
    job->fp_state = fp_state;
    atomic_store_explicit(&job->helpers, 0, memory_order_relaxed);
    atomic_store_explicit(&job->helper_chunks, 0, memory_order_relaxed);
    uint64_t bit = UINT64_C(1) << (job - pool->jobs);
    int active = 1 + atomic_fetch_add(&pool->active, 1);
    int room = atomic_load_explicit(&pool->threads, memory_order_relaxed) - active;
    atomic_store_explicit(&job->state, pe_job_open(threads - 1, claims), memory_order_release);
    atomic_fetch_or(&pool->open_jobs, bit); /* before looking at spinners: see sleep_until_ticket */
    invite_workers(pool, threads - 1, room);

    for (;;) {
        uint64_t state = atomic_fetch_add_explicit(&job->state, PE_JOB_CLAIM, memory_order_relaxed);
        int64_t claim = pe_job_next(state);
        if (claim >= claims)
            break;
        own += pe_run_claim(&job->work, claim);
    }
    atomic_fetch_and_explicit(&pool->open_jobs, ~bit, memory_order_relaxed);
    wait_for_helpers(pool, job);
    atomic_fetch_sub(&pool->active, 1);
    count_call(pool, own, job);
    atomic_fetch_and_explicit(&pool->used_jobs, ~bit, memory_order_release);
}

void pe_parallel_for(pe_context *ctx, int64_t count, int64_t grain, int max_threads, pe_range_body *body,
                     void *arg) {
    struct pe_pool *pool = ctx->pool;
    if (count <= 0)
        return;
    struct pe_work work = {body, arg, count, grain > 0 ? grain : 1, 0, 0};
    work.chunks = (count - 1) / work.grain + 1;
    if (pe_inside_call) {
        run_alone(&work);
        return;
    }
    int threads = atomic_load_explicit(&pool->threads, memory_order_relaxed);
    if (max_threads > 0 && max_threads < threads)
        threads = max_threads;
    if (work.chunks < threads)
        threads = (int)work.chunks;
    pe_fp_state kernels = pe_fp_kernel_state(atomic_load_explicit(&pool->flush, memory_order_relaxed));
    pe_fp_state before = pe_fp_enter(kernels);
    pe_inside_call = 1;
    struct pe_job *job = threads > 1 ? take_job(pool) : NULL;
    if (job) {
        run_shared(pool, job, &work, threads, kernels);
    } else {
        run_alone(&work);
        count_call(pool, work.chunks, NULL);
    }
    pe_inside_call = 0;
    pe_fp_leave(before);
}
