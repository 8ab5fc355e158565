/* The one context of a process: its kernels, pool and allocator, and what fork does to them. */
#include "internal.h"
#include "alloc.h"
#include "pool.h"

#include <pthread.h>

static struct pe_context context;
static pthread_once_t context_once = PTHREAD_ONCE_INIT;

/* Held across fork, so that the child never inherits a half-made list or a half-started worker. */
static void before_fork(void) {
    pe_lock_take(&context.pool->lock);
    pe_lock_take(pe_allocator_lock(context.allocator));
}

static void after_fork_in_parent(void) {
    pe_lock_drop(pe_allocator_lock(context.allocator));
    pe_lock_drop(&context.pool->lock);
}

/* The child has no workers; the first call that deserves some starts them again. */
static void after_fork_in_child(void) {
    pe_lock_reset(pe_allocator_lock(context.allocator));
    pe_pool_reset_after_fork(context.pool);
}

static void start(void) {
    context.kernels = pe_choose_kernels();
    context.pool = pe_pool_start();
    context.allocator = pe_allocator_start();
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

pe_context *pe_default_context(void) {
    pthread_once(&context_once, start);
    return &context;
}
