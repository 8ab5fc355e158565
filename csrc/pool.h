/* The pool's data, shared by pool.c (the caller's side) and pool_worker.c (the workers' side). */
#ifndef PE_POOL_H
#define PE_POOL_H

#include "fpstate.h"
#include "futex.h"
#include "pyengine.h"
#include "seat.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { PE_MAX_THREADS = 256, PE_JOBS = 64 /* bits of one mask */ };

/* How long a worker without work spins before it sleeps, and a caller before it sleeps on a worker
 * that still holds a chunk. Longer than the Python code between two operations of one training
 * step (2-20 us), far shorter than a person could notice in an idle process. */
enum { PE_SPIN_NS = 60000, PE_LOOKS_PER_CLOCK = 32, PE_LOOKS_PER_YIELD = 128 };

/* What one call runs: body over [0, count) in ranges of `grain`. A claim takes `step` ranges. */
struct pe_work {
    pe_range_body *body;
    void *arg;
    int64_t count, grain, chunks, step;
};

/* A job's whole protocol is one word, so that joining, claiming and leaving are one atomic
 * operation each, and a job that has nothing left to claim cannot be joined:
 *   bits  0-7   workers inside            bits 20-39  next claim
 *   bits  8-15  most workers allowed      bits 40-59  claims in all
 *   bit   16    the caller sleeps until the first field is 0
 * A worker joins by taking a claim in the same compare-and-swap: whoever is inside holds work, and
 * that is all a caller ever waits for. The other fields may be read only while inside, when the
 * caller cannot have left. Claims overshoot by at most one a thread; the fields have the room. */
#define PE_JOB_WORKER UINT64_C(1)
#define PE_JOB_WAITING (UINT64_C(1) << 16)
#define PE_JOB_CLAIM (UINT64_C(1) << 20)

static inline uint64_t pe_job_open(int limit, int64_t claims) {
    return (uint64_t)limit << 8 | (uint64_t)claims << 40;
}
static inline unsigned pe_job_workers(uint64_t state) { return (unsigned)(state & 255); }
static inline unsigned pe_job_limit(uint64_t state) { return (unsigned)(state >> 8 & 255); }
static inline int64_t pe_job_next(uint64_t state) { return (int64_t)(state >> 20 & 0xfffff); }
static inline int64_t pe_job_claims(uint64_t state) { return (int64_t)(state >> 40 & 0xfffff); }

struct pe_job {
    _Alignas(128) _Atomic uint64_t state;
    _Atomic uint32_t finished;      /* a sleeping caller's word; changes when the last worker leaves */
    _Atomic uint32_t helpers;       /* workers that took part */
    _Atomic uint64_t helper_chunks; /* and the chunks they ran */
    pe_fp_state fp_state;
    struct pe_work work;
};

struct pe_pool {
    _Alignas(128) _Atomic uint64_t open_jobs; /* bit j: job j may have claims left; spinners poll this */
    _Alignas(128) _Atomic uint64_t used_jobs;
    _Atomic int active;   /* callers in a shared call plus workers inside jobs: the budget */
    _Alignas(128) _Atomic int threads;
    _Atomic int spinners; /* workers awake without work, those on their way out of sleep included */
    _Atomic int sleepers; /* asleep and not yet given a ticket */
    _Atomic uint32_t tickets; /* the semaphore they sleep on: one wakes one worker */
    _Atomic int workers;
    _Atomic int start_failed; /* the system refused a thread: do not ask again in every call */
    _Atomic int flush;
    _Atomic int spin_ns;  /* 0 when there are more threads than processors: spinning would take theirs */
    struct pe_lock lock;  /* creation and end of workers */
    _Atomic uint64_t row_time, row_ns; /* see pe_threads_for */
    _Alignas(128) _Atomic uint64_t parallel_calls, shared_calls, chunks, worker_chunks;
    struct pe_job jobs[PE_JOBS];
    _Atomic int seats_taken;              /* at most, at any time: later seats were never used */
    struct pe_seat seats[PE_MAX_THREADS]; /* one a worker, the first free one is taken */
};

extern _Thread_local int pe_inside_call; /* this thread runs a body: further calls run inline */

struct pe_pool *pe_pool_start(void); /* the one of this process; called once */
void pe_pool_reset_after_fork(struct pe_pool *);

/* pool_worker.c */
int pe_wake_workers(struct pe_pool *pool, int wanted);   /* both give how many they got */
int pe_start_workers(struct pe_pool *pool, int wanted);

/* Runs one claim's ranges and gives their number. begin never passes count, so nothing overflows. */
static inline int64_t pe_run_claim(const struct pe_work *work, int64_t claim) {
    int64_t first = claim * work->step, last = first + work->step;
    if (last > work->chunks)
        last = work->chunks;
    for (int64_t i = first; i < last; i++) {
        int64_t begin = i * work->grain;
        work->body(begin, work->count - begin < work->grain ? work->count : begin + work->grain, work->arg);
    }
    return last - first;
}

static inline uint64_t pe_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* One step of a spin of at most spin_ns; *deadline starts at 0. 0 when the time is over. Every few
 * microseconds the processor is offered to others: the thread that is waited for, or the caller whom
 * a woken worker displaced, may be queued behind this very spin (on a machine busy with other
 * programs that made calls of 0.1 ms 30 % slower). */
static inline int pe_spin_once(unsigned *looks, uint64_t *deadline, int spin_ns) {
    pe_cpu_relax();
    if (++*looks % PE_LOOKS_PER_CLOCK)
        return 1;
    uint64_t now = pe_now_ns();
    if (!*deadline)
        *deadline = now + (uint64_t)spin_ns;
    if (*looks % PE_LOOKS_PER_YIELD == 0)
        sched_yield();
    return now < *deadline;
}

#endif
