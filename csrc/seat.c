/* Seats of workers; see seat.h. Every failure of a system call here is harmless: the worker runs where it may. */
#define _GNU_SOURCE
#include "seat.h"
#include "pool.h"

#ifdef __linux__

#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_MOVED = 16 }; /* each costs 1.5 us; with more processors the scheduler finds an idle one itself */

/* 1 if something is left without `processor` */
static int without(const cpu_set_t *home, int processor, cpu_set_t *narrowed) {
    *narrowed = *home;
    if (processor < 0 || processor >= CPU_SETSIZE || !CPU_ISSET(processor, home))
        return 0;
    CPU_CLR(processor, narrowed);
    return CPU_COUNT(narrowed) > 0;
}

/* The worker does not run on `processor` now: the caller does. A sleeper that is at home is asked where that is
 * today; it cannot read `home` meanwhile, while a spinner might. */
static void send_away(struct pe_seat *seat, int processor, int sleeps) {
    cpu_set_t narrowed;
    pid_t thread = atomic_load(&seat->thread);
    if (!thread || (sleeps && !atomic_load(&seat->away) &&
                    sched_getaffinity(thread, sizeof seat->home, &seat->home) != 0))
        return;
    if (without(&seat->home, processor, &narrowed) && sched_setaffinity(thread, sizeof narrowed, &narrowed) == 0)
        atomic_store(&seat->away, 1);
}

void pe_seat_begin(struct pe_seat *seat, pthread_t worker) {
    cpu_set_t narrowed;
    CPU_ZERO(&seat->home);
    if (sched_getaffinity(0, sizeof seat->home, &seat->home) == 0 &&
        without(&seat->home, sched_getcpu(), &narrowed) &&
        pthread_setaffinity_np(worker, sizeof narrowed, &narrowed) == 0)
        atomic_store(&seat->away, 1);
}

/* From every worker at `place` takes `processor`, which is the caller's. */
static void clear(struct pe_pool *pool, int place, int processor) {
    int taken = atomic_load(&pool->seats_taken), found = 0;
    if (processor < 0 || atomic_load(&pool->workers) > MOST_MOVED)
        return;
    for (int i = 0; i < taken && !found; i++)
        found = atomic_load(&pool->seats[i].place) == place;
    if (!found)
        return;
    pe_lock_take(&pool->lock); /* nobody ends meanwhile: the numbers of threads stay true */
    for (int i = 0; i < taken; i++)
        if (atomic_load(&pool->seats[i].place) == place)
            send_away(&pool->seats[i], processor, place == PE_SEAT_ASLEEP);
    pe_lock_drop(&pool->lock);
}

void pe_seat_clear_sleepers(struct pe_pool *pool) { clear(pool, PE_SEAT_ASLEEP, sched_getcpu()); }

void pe_seat_clear_spinners(struct pe_pool *pool) {
    int processor = sched_getcpu();
    clear(pool, processor, processor);
}

static void go_home(struct pe_seat *seat) {
    if (atomic_exchange(&seat->away, 0))
        sched_setaffinity(0, sizeof seat->home, &seat->home);
}

/* Who sends it away at this very moment says `away` after: the next move, or the next sleep, undoes that. */
static void move_to(struct pe_seat *seat, int place) {
    if (!atomic_load(&seat->thread)) /* whatever a new worker does first, others can find it from then on */
        atomic_store(&seat->thread, (int)syscall(SYS_gettid));
    atomic_store(&seat->place, place);
    go_home(seat);
}

void pe_seat_wake(struct pe_seat *seat) { move_to(seat, PE_SEAT_BUSY); }

void pe_seat_spin(struct pe_seat *seat) {
    int processor = sched_getcpu();
    if (atomic_load_explicit(&seat->place, memory_order_relaxed) != processor)
        move_to(seat, processor);
}

void pe_seat_sleep(struct pe_seat *seat) {
    move_to(seat, PE_SEAT_BUSY);
    atomic_store(&seat->place, PE_SEAT_ASLEEP);
}

#else

void pe_seat_begin(struct pe_seat *seat, pthread_t worker) { (void)seat, (void)worker; }
void pe_seat_clear_sleepers(struct pe_pool *pool) { (void)pool; }
void pe_seat_clear_spinners(struct pe_pool *pool) { (void)pool; }
void pe_seat_wake(struct pe_seat *seat) { (void)seat; }
void pe_seat_spin(struct pe_seat *seat) { (void)seat; }
void pe_seat_sleep(struct pe_seat *seat) { (void)seat; }

#endif

struct pe_seat *pe_seat_take(struct pe_pool *pool) {
    struct pe_seat *seat = pool->seats;
    while (seat->pool)
        if (++seat == pool->seats + PE_MAX_THREADS)
            return NULL;
    seat->pool = pool;
    if (seat - pool->seats >= atomic_load(&pool->seats_taken))
        atomic_store(&pool->seats_taken, (int)(seat - pool->seats) + 1);
    atomic_store(&seat->thread, 0);
    atomic_store(&seat->place, PE_SEAT_BUSY);
    atomic_store(&seat->away, 0);
    return seat;
}

void pe_seat_leave(struct pe_seat *seat) {
    atomic_store(&seat->place, PE_SEAT_BUSY);
    seat->pool = NULL;
}
