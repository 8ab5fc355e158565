#define _GNU_SOURCE
#include "futex.h"

#if defined(__linux__)

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void pe_futex_wait(_Atomic uint32_t *word, uint32_t expected) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, (void *)0, (void *)0, 0);
}

void pe_futex_wake(_Atomic uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, (void *)0, (void *)0, 0);
}

#else

#include <pthread.h>

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

void pe_futex_wait(_Atomic uint32_t *word, uint32_t expected) {
    pthread_mutex_lock(&gate);
    if (atomic_load(word) == expected)
        pthread_cond_wait(&changed, &gate);
    pthread_mutex_unlock(&gate);
}

void pe_futex_wake(_Atomic uint32_t *word, int count) {
    (void)word;
    (void)count; /* the condition is shared by all words: everybody looks again */
    pthread_mutex_lock(&gate);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&gate);
}

#endif
