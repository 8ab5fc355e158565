/* Sleeping on a word of memory, and the short lock built on it. Linux has the futex; elsewhere
 * one mutex and one condition variable stand in for it (correct, slower, never on a hot path). */
#ifndef PE_FUTEX_H
#define PE_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/* Sleeps while *word == expected. May return early; callers test their condition again. */
void pe_futex_wait(_Atomic uint32_t *word, uint32_t expected);
void pe_futex_wake(_Atomic uint32_t *word, int count);

/* 0 free, 1 held, 2 held and somebody sleeps. A pthread mutex costs twice as much for a pair,
 * and a child of fork may not re-initialise one that another thread held. */
struct pe_lock { _Atomic uint32_t word; };

static inline void pe_lock_take(struct pe_lock *lock) {
    uint32_t free_value = 0;
    if (atomic_compare_exchange_strong_explicit(&lock->word, &free_value, 1, memory_order_acquire,
                                                memory_order_relaxed))
        return;
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        pe_futex_wait(&lock->word, 2);
}

static inline void pe_lock_drop(struct pe_lock *lock) {
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        pe_futex_wake(&lock->word, 1);
}

/* In the child of fork: the holder may not exist any more. */
static inline void pe_lock_reset(struct pe_lock *lock) { atomic_store(&lock->word, 0); }

static inline void pe_cpu_relax(void) {
#if defined(__x86_64__)
    __asm__ volatile("pause");
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

#endif
