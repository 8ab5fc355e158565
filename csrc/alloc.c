/* Buffers: 64-byte aligned, cached by size class under a cap, never zeroed.
 *
 * Four classes to a power of two, so a block wastes at most a quarter of the request (or 63
 * bytes). A 64-byte header stands before every block: from a pointer to its class is one load.
 * Blocks of 2 MiB and more are maps of their own, laid on a huge-page boundary: they go back to
 * the cache with their pages, so that a large temporary faults once and not in every call.
 * One short lock guards lists and counters; system calls are made outside of it. */
#define _GNU_SOURCE
#include "alloc.h"
#include "internal.h"
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { HEADER = 64, SMALLEST_SHIFT = 8, CLASSES = 192, LARGEST_SHIFT = 46 };
#define HUGE_PAGE ((size_t)2 << 20)
#define PAGE ((size_t)4096)

struct block {
    uint64_t magic;
    size_t bytes;               /* of the class, without the header */
    uint32_t size_class;
    struct block *newer, *older; /* while cached: the class's list by time of release */
};
_Static_assert(sizeof(struct block) <= HEADER, "the header must keep the alignment");

struct list { struct block *newest, *oldest; };

struct pe_allocator {
    struct pe_lock lock;
    pe_memory_stats stats;
    uint64_t filled[CLASSES / 64]; /* bit c: class c has cached blocks */
    struct list cached[CLASSES];
};

#define MAGIC_USED UINT64_C(0x70796567616c6c6f)
#define MAGIC_CACHED UINT64_C(0x7079656763616368)

/* ---- size classes ---- */

/* Up to 256 bytes: 64, 128, 192, 256 are classes 0 .. 3. Above: (5 .. 8) * 2^k. */
static unsigned class_of(size_t bytes) {
    if (bytes <= 256)
        return bytes ? (unsigned)((bytes - 1) / 64) : 0;
    unsigned shift = 63 - (unsigned)__builtin_clzll(bytes - 1); /* 2^shift <= bytes-1 */
    unsigned quarter = (unsigned)((bytes - 1) >> (shift - 2)) & 3;
    return 4 + (shift - SMALLEST_SHIFT) * 4 + quarter;
}

static size_t bytes_of_class(unsigned c) {
    if (c < 4)
        return 64 * (size_t)(c + 1);
    return (size_t)(5 + (c - 4) % 4) << (SMALLEST_SHIFT - 2 + (c - 4) / 4);
}

size_t pe_class_bytes(size_t bytes) {
    return bytes > (size_t)1 << LARGEST_SHIFT ? 0 : bytes_of_class(class_of(bytes));
}

/* ---- the system ---- */

static size_t map_length(size_t bytes) { return (bytes + HEADER + PAGE - 1) & ~(PAGE - 1); }

/* A map of `length` bytes that starts on a huge-page boundary: what lies around it is given back. */
static void *map_aligned(size_t length) {
    char *start = mmap(NULL, length + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)start & (HUGE_PAGE - 1);
    if (before)
        munmap(start, before);
    if (HUGE_PAGE - before)
        munmap(start + before + length, HUGE_PAGE - before);
#ifdef MADV_HUGEPAGE
    madvise(start + before, length, MADV_HUGEPAGE); /* a hint: refused, it costs page faults only */
#endif
    return start + before;
}

static struct block *system_take(unsigned size_class) {
    size_t bytes = bytes_of_class(size_class);
    struct block *block;
    if (bytes >= HUGE_PAGE)
        block = map_aligned(map_length(bytes));
    else
        block = aligned_alloc(64, bytes + HEADER);
    if (block) {
        block->bytes = bytes;
        block->size_class = size_class;
    }
    return block;
}

static void system_give(struct block *block) {
    if (block->bytes >= HUGE_PAGE)
        munmap(block, map_length(block->bytes));
    else
        free(block);
}

/* Gives a chain (linked by `older`) back; the lock is not held. */
static void system_give_all(struct block *chain) {
    while (chain) {
        struct block *next = chain->older;
        system_give(chain);
        chain = next;
    }
}

/* ---- the cache; every function here needs the lock ---- */

static struct block *cache_pop(struct pe_allocator *a, unsigned c, int oldest) {
    struct list *list = &a->cached[c];
    struct block *block = oldest ? list->oldest : list->newest;
    if (!block)
        return NULL;
    *(block->newer ? &block->newer->older : &list->newest) = block->older;
    *(block->older ? &block->older->newer : &list->oldest) = block->newer;
    if (!list->newest)
        a->filled[c / 64] &= ~(UINT64_C(1) << c % 64);
    a->stats.cached -= block->bytes;
    return block;
}

static void cache_push(struct pe_allocator *a, struct block *block) {
    unsigned c = block->size_class;
    struct list *list = &a->cached[c];
    block->newer = NULL;
    block->older = list->newest;
    *(list->newest ? &list->newest->newer : &list->oldest) = block;
    list->newest = block;
    a->filled[c / 64] |= UINT64_C(1) << c % 64;
    a->stats.cached += block->bytes;
}

/* Takes blocks out, the largest class first and in it the oldest first, until `limit` holds. */
static struct block *cache_shrink(struct pe_allocator *a, size_t limit) {
    struct block *chain = NULL;
    for (int word = CLASSES / 64 - 1; word >= 0; word--)
        while (a->filled[word] && a->stats.cached > limit) {
            unsigned c = (unsigned)word * 64 + 63 - (unsigned)__builtin_clzll(a->filled[word]);
            struct block *block = cache_pop(a, c, 1);
            block->older = chain;
            chain = block;
            a->stats.system_calls++;
        }
    return chain;
}

/* ---- the public calls ---- */

static struct pe_allocator the_allocator;

struct pe_allocator *pe_allocator_start(void) {
    /* An eighth of what the process may use, at most 1 GiB: enough to keep the temporaries of one
     * training step, little enough beside the program that holds us. */
    uint64_t memory = pe_physical_memory(), limit = pe_cgroup_memory_limit("");
    if (limit && (!memory || limit < memory))
        memory = limit;
    uint64_t cap = memory / 8;
    the_allocator.stats.cap = cap < (uint64_t)1 << 30 ? (size_t)cap : (size_t)1 << 30;
    return &the_allocator;
}

struct pe_lock *pe_allocator_lock(struct pe_allocator *a) { return &a->lock; }

void *pe_alloc(pe_context *ctx, size_t bytes) {
    struct pe_allocator *a = ctx->allocator;
    if (bytes > (size_t)1 << LARGEST_SHIFT)
        return NULL;
    unsigned c = class_of(bytes);
    pe_lock_take(&a->lock);
    struct block *block = cache_pop(a, c, 0);
    if (block)
        a->stats.reuses++;
    else
        a->stats.system_calls++;
    size_t size = bytes_of_class(c);
    a->stats.allocations++;
    a->stats.in_use += size;
    if (a->stats.in_use > a->stats.peak)
        a->stats.peak = a->stats.in_use;
    pe_lock_drop(&a->lock);

    if (!block)
        block = system_take(c);
    if (!block && pe_trim(ctx)) /* the cache may hold what the system lacks */
        block = system_take(c);
    if (!block) {
        pe_lock_take(&a->lock);
        a->stats.in_use -= size;
        a->stats.allocations--;
        pe_lock_drop(&a->lock);
        return NULL;
    }
    block->magic = MAGIC_USED;
    return (char *)block + HEADER;
}

void pe_free(pe_context *ctx, void *p) {
    struct pe_allocator *a = ctx->allocator;
    if (!p)
        return;
    struct block *block = (struct block *)((char *)p - HEADER), *chain = NULL;
#ifdef PE_CHECK_FREE
    if (block->magic != MAGIC_USED) {
        fprintf(stderr, "pyengine: pe_free(%p): %s\n", p,
                block->magic == MAGIC_CACHED ? "freed twice" : "not a pointer from pe_alloc, or overwritten");
        abort();
    }
#endif
    block->magic = MAGIC_CACHED;
    pe_lock_take(&a->lock);
    a->stats.in_use -= block->bytes;
    if (block->bytes > a->stats.cap) {
        block->older = NULL;
        chain = block;
        a->stats.system_calls++;
    } else {
        if (a->stats.cached + block->bytes > a->stats.cap)
            chain = cache_shrink(a, a->stats.cap - block->bytes);
        cache_push(a, block);
    }
    pe_lock_drop(&a->lock);
    system_give_all(chain);
}

static size_t shrink_to(struct pe_allocator *a, size_t limit) {
    pe_lock_take(&a->lock);
    size_t before = a->stats.cached;
    struct block *chain = cache_shrink(a, limit);
    size_t given = before - a->stats.cached;
    pe_lock_drop(&a->lock);
    system_give_all(chain);
    return given;
}

size_t pe_trim(pe_context *ctx) { return shrink_to(ctx->allocator, 0); }

void pe_set_memory_cap(pe_context *ctx, size_t bytes) {
    struct pe_allocator *a = ctx->allocator;
    pe_lock_take(&a->lock);
    a->stats.cap = bytes;
    pe_lock_drop(&a->lock);
    shrink_to(a, bytes);
}

void pe_memory_statistics(pe_context *ctx, pe_memory_stats *out) {
    struct pe_allocator *a = ctx->allocator;
    pe_lock_take(&a->lock);
    *out = a->stats;
    pe_lock_drop(&a->lock);
}
