/* Where workers start to run: seat.c. A scheduler that sees every processor of a small machine in use may queue a
 * woken worker behind the very caller that woke it, where it waits for milliseconds beside an idle processor
 * (Linux 6: with two processors after most pauses of 20 ms). So no worker is woken on its caller's processor. */
#ifndef PE_SEAT_H
#define PE_SEAT_H

#include <pthread.h>
#include <stdatomic.h>

#ifdef __linux__
#include <sched.h>
#else
typedef struct { char none; } cpu_set_t;
#endif

struct pe_pool;

enum { PE_SEAT_BUSY = -1, PE_SEAT_ASLEEP = -2 };

/* One worker's. */
struct pe_seat {
    struct pe_pool *pool; /* NULL: free */
    _Atomic int thread;   /* the system's number of the worker's thread; 0 until it runs */
    _Atomic int place;    /* the processor it spins on, or: */
    _Atomic int away;     /* its affinity was narrowed from `home`; the worker itself restores it */
    cpu_set_t home;
};

/* These three with the pool's lock held: a free seat, or NULL; its worker was just created, and starts elsewhere than
 * on the caller's processor; its worker ends. */
struct pe_seat *pe_seat_take(struct pe_pool *pool);
void pe_seat_begin(struct pe_seat *seat, pthread_t worker);
void pe_seat_leave(struct pe_seat *seat);

/* Before sleepers are woken: takes the caller's processor from them (where one fell asleep does not tell where it
 * will wake). And before a call counts on spinners: takes it from those that spun here last, before the scheduler put
 * the caller in their place. */
void pe_seat_clear_sleepers(struct pe_pool *pool);
void pe_seat_clear_spinners(struct pe_pool *pool);

/* The worker says what it does next; spinning, every few microseconds. */
void pe_seat_wake(struct pe_seat *seat);
void pe_seat_spin(struct pe_seat *seat);
void pe_seat_sleep(struct pe_seat *seat);

#endif
