/* Buffers: classes, reuse, the cap, trimming, refusals, many threads. */
#include "../../csrc/alloc.h"
#include "../../csrc/pyengine.h"
#include "check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pe_context *ctx;

static pe_memory_stats stats(void) {
    pe_memory_stats s;
    pe_memory_statistics(ctx, &s);
    return s;
}

static void test_classes(void) {
    size_t before = 0;
    for (size_t bytes = 1; bytes < 300000; bytes += bytes < 3000 ? 1 : 61) {
        size_t got = pe_class_bytes(bytes);
        CHECK(got >= bytes && got % 64 == 0 && got >= before);
        CHECK(got - bytes <= 63 || got - bytes <= bytes / 4);
        CHECK(pe_class_bytes(got) == got);
        before = got;
    }
    for (int shift = 18; shift < 46; shift++)
        for (int part = 0; part < 16; part++) {
            size_t bytes = ((size_t)(16 + part) << (shift - 4)) + (size_t)(part & 1);
            CHECK(pe_class_bytes(bytes) >= bytes && pe_class_bytes(bytes) - bytes <= bytes / 4);
        }
    CHECK(pe_class_bytes(SIZE_MAX) == 0);
}

static void test_blocks(void) {
    static const size_t sizes[] = {0, 1, 63, 64, 65, 1000, 4096, 100000, 2097152, 2097153, 5000000, 70000000};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    char *block[COUNT];
    pe_memory_stats s = stats();
    for (int i = 0; i < COUNT; i++) {
        block[i] = pe_alloc(ctx, sizes[i]);
        CHECK(block[i] && (uintptr_t)block[i] % 64 == 0);
        memset(block[i], i + 1, sizes[i]);
    }
    CHECK(stats().in_use > s.in_use + 77000000);
    for (int i = 0; i < COUNT; i++) {
        CHECK(!sizes[i] || (block[i][0] == i + 1 && block[i][sizes[i] - 1] == i + 1));
        pe_free(ctx, block[i]);
    }
    CHECK(stats().in_use == s.in_use);
    CHECK(stats().peak >= s.in_use + 77000000);
    pe_free(ctx, NULL);

    uint64_t reuses = stats().reuses, calls = stats().system_calls;
    char *again = pe_alloc(ctx, 5000001);
    CHECK(again == block[10]); /* the same class: the same block, pages and all */
    CHECK(stats().reuses == reuses + 1 && stats().system_calls == calls);
    pe_free(ctx, again);

    CHECK(pe_alloc(ctx, SIZE_MAX) == NULL);
    CHECK(pe_alloc(ctx, SIZE_MAX - 63) == NULL);
    CHECK(pe_alloc(ctx, (size_t)1 << 62) == NULL);
    CHECK(stats().in_use == s.in_use);
}

static void test_cap(void) {
    pe_trim(ctx);
    CHECK(stats().cached == 0);
    size_t cap = stats().cap;
    CHECK(cap > 0 && cap <= (size_t)1 << 30);
    pe_set_memory_cap(ctx, 10 << 20);
    void *small = pe_alloc(ctx, 1000), *first = pe_alloc(ctx, 4 << 20), *second = pe_alloc(ctx, 4 << 20);
    void *third = pe_alloc(ctx, 4 << 20), *big = pe_alloc(ctx, 20 << 20);
    pe_free(ctx, small);
    pe_free(ctx, first);
    pe_free(ctx, second);
    CHECK(stats().cached == (8 << 20) + pe_class_bytes(1000));
    pe_free(ctx, third); /* the oldest of the largest class goes, the small block stays */
    CHECK(stats().cached == (8 << 20) + pe_class_bytes(1000));
    pe_free(ctx, big); /* over the cap: not kept, and nothing is thrown out for it */
    CHECK(stats().cached == (8 << 20) + pe_class_bytes(1000));
    void *newest = pe_alloc(ctx, 4 << 20);
    CHECK(newest == third);
    pe_free(ctx, newest);
    for (size_t bytes = 1000; bytes < 8 << 20; bytes += 999) /* a variety of shapes never passes it */
        pe_free(ctx, pe_alloc(ctx, bytes));
    CHECK(stats().cached <= 10 << 20);
    pe_set_memory_cap(ctx, 1 << 20);
    CHECK(stats().cached <= 1 << 20);
    pe_set_memory_cap(ctx, 0);
    CHECK(stats().cached == 0);
    pe_free(ctx, pe_alloc(ctx, 100));
    CHECK(stats().cached == 0);
    pe_set_memory_cap(ctx, cap);
    pe_free(ctx, pe_alloc(ctx, 100));
    CHECK(pe_trim(ctx) == pe_class_bytes(100));
}

static void *many_blocks(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    unsigned char *held[16] = {NULL};
    size_t bytes[16] = {0};
    long wrong = 0;
    for (int i = 0; i < 20000; i++) {
        int k = rand_r(&seed) % 16;
        if (held[k]) {
            wrong += held[k][0] != k + 1 || held[k][bytes[k] - 1] != k + 1;
            pe_free(ctx, held[k]);
            held[k] = NULL;
        } else {
            bytes[k] = 1 + (size_t)rand_r(&seed) % (i % 64 ? 5000 : 3000000);
            if (!(held[k] = pe_alloc(ctx, bytes[k])))
                return (void *)1;
            held[k][0] = held[k][bytes[k] - 1] = (unsigned char)(k + 1);
        }
    }
    for (int k = 0; k < 16; k++)
        pe_free(ctx, held[k]);
    return (void *)wrong;
}

static void test_threads(void) {
    pthread_t thread[4];
    size_t in_use = stats().in_use;
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&thread[i], NULL, many_blocks, (void *)(i + 1)) == 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(thread[i], &wrong);
        CHECK(wrong == NULL);
    }
    CHECK(stats().in_use == in_use);
}

int main(void) {
    ctx = pe_default_context();
    test_classes();
    test_blocks();
    test_cap();
    test_threads();
    return check_report();
}
