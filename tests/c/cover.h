/* A parallel_for that checks itself: every index once, in the promised ranges, before the call returns. */
#ifndef PE_COVER_H
#define PE_COVER_H

#include "../../csrc/internal.h"
#include "../../csrc/pool.h"

#include <stdlib.h>

static pe_context *ctx;

static inline pe_pool_stats stats(void) {
    pe_pool_stats s;
    pe_pool_statistics(ctx, &s);
    return s;
}

static inline void burn(int64_t nanoseconds) {
    for (uint64_t end = pe_now_ns() + (uint64_t)nanoseconds; pe_now_ns() < end;)
        pe_cpu_relax();
}

struct cover { int64_t count, grain; _Atomic int64_t wrong; _Atomic unsigned char *seen; int64_t burn_ns; };

static inline void cover_body(int64_t begin, int64_t end, void *arg) {
    struct cover *c = arg;
    int64_t expected = c->count - begin < c->grain ? c->count : begin + c->grain;
    if (begin < 0 || begin % c->grain || end != expected)
        atomic_fetch_add(&c->wrong, 1);
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add_explicit(&c->seen[i], 1, memory_order_relaxed);
    if (c->burn_ns)
        burn(c->burn_ns);
}

/* 1 when all is right; every range takes burn_ns of time */
static inline int covers(int64_t count, int64_t grain, int threads, int64_t burn_ns) {
    struct cover c = {count, grain, 0, calloc((size_t)count + 1, 1), burn_ns};
    pe_parallel_for(ctx, count, grain, threads, cover_body, &c);
    int right = c.wrong == 0;
    for (int64_t i = 0; i < count; i++)
        right &= atomic_load_explicit(&c.seen[i], memory_order_relaxed) == 1;
    free((void *)c.seen);
    return right;
}

#endif
