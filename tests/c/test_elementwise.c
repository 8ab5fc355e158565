/* pe_elementwise: the walk (broadcasting, strides, sizes, guard pages, in place) and its errors.
 * The numbers of every row against float64 are tests/test_ops.py's. */
#include "check.h"
#include "pyengine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static pe_context *context;
static pe_error error;

/* ---- memory that ends at a page nobody may touch, and starts after one ---- */

typedef struct {
    char *base;
    size_t room;
} guarded;

static guarded guarded_alloc(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    guarded g = {NULL, (bytes + page - 1) / page * page};
    if (g.room == 0) g.room = page;
    char *all = mmap(NULL, g.room + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) abort();
    if (mprotect(all, page, PROT_NONE) || mprotect(all + page + g.room, page, PROT_NONE)) abort();
    g.base = all + page;
    return g;
}
static void guarded_free(guarded g) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap(g.base - page, g.room + 2 * page);
}

/* ---- tensors ---- */

static pe_tensor tensor(void *data, int dtype, int ndim, const int64_t *shape) {
    pe_tensor t = {.data = data, .dtype = dtype, .ndim = ndim};
    int64_t step = (int64_t)pe_dtype_size(dtype);
    for (int axis = ndim - 1; axis >= 0; axis--) {
        t.shape[axis] = shape[axis];
        t.strides[axis] = step;
        step *= shape[axis];
    }
    return t;
}
static pe_tensor floats(float *data, int64_t n) { return tensor(data, PE_FLOAT32, 1, &n); }

static pe_status run(const char *op, const pe_tensor *out, const pe_tensor *a, const pe_tensor *b,
                     const pe_tensor *c) {
    pe_elementwise_args args = {.op = pe_elementwise_find(op), .inputs = 1 + (b != NULL) + (c != NULL),
                                .in = {a, b, c}, .out = out};
    memset(&error, 0, sizeof error);
    return pe_elementwise(context, &args, &error);
}

static void *element(const pe_tensor *t, const int64_t *index, int ndim) {
    char *p = t->data;
    for (int axis = 0; axis < t->ndim; axis++)
        if (t->shape[axis] > 1) p += index[axis + ndim - t->ndim] * t->strides[axis];
    return p;
}
static int next_index(const pe_tensor *t, int64_t *index) {
    for (int axis = t->ndim - 1; axis >= 0; axis--) {
        if (++index[axis] < t->shape[axis]) return 1;
        index[axis] = 0;
    }
    return 0;
}

/* out = a - b (not symmetric: a mixed-up operand shows) against the same, element by element */
static void check_sub(const pe_tensor *out, const pe_tensor *a, const pe_tensor *b) {
    int64_t index[PE_MAX_DIMS] = {0};
    long wrong = 0;
    CHECK(run("sub", out, a, b, NULL) == PE_OK);
    do {
        float want = *(float *)element(a, index, out->ndim) - *(float *)element(b, index, out->ndim);
        wrong += *(float *)element(out, index, out->ndim) != want;
    } while (next_index(out, index));
    CHECK(wrong == 0);
    if (wrong) fprintf(stderr, "  sub: %ld elements wrong, out has %d axes\n", wrong, out->ndim);
}

static void fill(float *p, int64_t n, int seed) {
    for (int64_t i = 0; i < n; i++) p[i] = (float)((i * 37 + seed) % 1009) - 500;
}

static void test_sizes_at_guard_pages(void) {
    enum { MOST = 3000 };
    guarded ga = guarded_alloc(4 * MOST), gb = guarded_alloc(4 * MOST), go = guarded_alloc(4 * MOST);
    for (int64_t n = 1; n < MOST; n += n < 200 ? 1 : 97) {
        for (int at_end = 0; at_end < 2; at_end++) {
            float *a = (float *)(at_end ? ga.base + ga.room - 4 * n : ga.base);
            float *b = (float *)(at_end ? gb.base + gb.room - 4 * n : gb.base);
            float *o = (float *)(at_end ? go.base + go.room - 4 * n : go.base);
            uint8_t *m = (uint8_t *)(at_end ? go.base + go.room - n : go.base);
            pe_tensor ta = floats(a, n), tb = floats(b, n), to = floats(o, n), one = floats(b, 1);
            pe_tensor tm = tensor(m, PE_BOOL, 1, &n);
            fill(a, n, 1), fill(b, n, 2);
            check_sub(&to, &ta, &tb);
            check_sub(&to, &ta, &one);
            check_sub(&to, &one, &tb);
            CHECK(run("lt", &tm, &ta, &tb, NULL) == PE_OK);
            int right = 1;
            for (int64_t i = 0; i < n; i++) right &= m[i] == (a[i] < b[i]);
            CHECK(right);
            CHECK(run("logical_not", &tm, &tm, NULL, NULL) == PE_OK);
            for (int64_t i = 0; i < n; i++) right &= m[i] == !(a[i] < b[i]);
            CHECK(run("where", &ta, &tm, &ta, &tb) == PE_OK); /* in place: the larger of the two */
            for (int64_t i = 0; i < n; i++) right &= a[i] >= b[i];
            CHECK(right);
        }
    }
    guarded_free(ga), guarded_free(gb), guarded_free(go);
}

/* every pair of a shape's axes may be broadcast, permuted, reversed or gapped */
static void test_strides(void) {
    static const int64_t shapes[][4] = {
        {1, 1, 1, 1}, {2, 3, 4, 5}, {1, 7, 1, 3}, {40, 1, 33, 17}, {3, 3, 3, 3}, {1, 1, 600, 2},
        {1, 50, 3, 70}, {2, 1, 1, 5000}, {1, 1, 130, 130}, {300, 2, 1, 7}, {4, 64, 9, 9}, {1, 1, 1, 3},
    };
    enum { ROOM = 400000 };
    float *memory = calloc(3 * ROOM, sizeof *memory);
    unsigned state = 1;
    fill(memory, 3 * ROOM, 5);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (int variant = 0; variant < 120; variant++) {
            pe_tensor t[3];
            for (int i = 0; i < 3; i++) {
                int order[4] = {0, 1, 2, 3}, gap[4];
                t[i] = (pe_tensor){.data = memory + (ptrdiff_t)i * ROOM, .dtype = PE_FLOAT32, .ndim = 4};
                for (int axis = 3; axis > 0; axis--) {
                    state = state * 1664525u + 1013904223u;
                    int with = variant < 8 ? axis : (int)(state >> 16) % (axis + 1), kept = order[axis];
                    order[axis] = order[with], order[with] = kept;
                }
                int64_t step = 4;
                for (int axis = 3; axis >= 0; axis--) {
                    state = state * 1664525u + 1013904223u;
                    const int at = order[axis];
                    const int64_t n = shapes[s][at];
                    gap[axis] = variant < 8 ? 1 : 1 + ((state >> 20) % 8 == 0);
                    const int broadcast = i > 0 && (state >> 24) % 4 == 0;
                    t[i].shape[at] = broadcast ? 1 : n;
                    t[i].strides[at] = step * gap[axis];
                    if (!broadcast) step *= n * gap[axis];
                    if (!broadcast && variant > 30 && (state >> 28) % 4 == 0) {
                        t[i].data = (char *)t[i].data + (n - 1) * t[i].strides[at];
                        t[i].strides[at] = -t[i].strides[at];
                    }
                }
                if (step > 4 * ROOM) goto next;
                while (i > 0 && variant % 3 == 0 && t[i].ndim > 0 && t[i].shape[0] == 1) {
                    t[i].ndim--;
                    memmove(t[i].shape, t[i].shape + 1, 3 * sizeof *t[i].shape);
                    memmove(t[i].strides, t[i].strides + 1, 3 * sizeof *t[i].strides);
                }
            }
            check_sub(&t[0], &t[1], &t[2]);
        next:;
        }
    }
    free(memory);
}

static void test_in_place(void) {
    float a[96], want[96];
    int64_t shape[2] = {8, 12};
    fill(a, 96, 3);
    for (int i = 0; i < 96; i++) want[i] = a[i] - a[i];
    pe_tensor t = tensor(a, PE_FLOAT32, 2, shape), turned = t;
    CHECK(run("sub", &t, &t, &t, NULL) == PE_OK);
    CHECK(memcmp(a, want, sizeof a) == 0);
    fill(a, 96, 3);
    for (int i = 0; i < 96; i++) want[i] = -a[i];
    turned.shape[0] = 12, turned.shape[1] = 8, turned.strides[0] = 4, turned.strides[1] = 48;
    CHECK(run("neg", &turned, &turned, NULL, NULL) == PE_OK);
    CHECK(memcmp(a, want, sizeof a) == 0);

    pe_tensor even = floats(a, 48), odd = floats(a + 1, 48), shifted = floats(a + 1, 48);
    even.strides[0] = odd.strides[0] = 8;
    CHECK(run("neg", &even, &odd, NULL, NULL) == PE_OK); /* interleaved, no element shared */
    CHECK(a[0] == -a[1] && a[94] == -a[95]);
    pe_tensor flat = floats(a, 48);
    CHECK(run("neg", &flat, &shifted, NULL, NULL) == PE_ERR_ARGUMENT);
    CHECK(strstr(error.message, "overlaps") != NULL);
    pe_tensor first = floats(a, 1);
    CHECK(run("neg", &flat, &first, NULL, NULL) == PE_ERR_ARGUMENT);
}

static void test_threads_give_the_same_bits(void) {
    enum { N = 3000017 };
    float *a = malloc(N * sizeof *a), *one = malloc(N * sizeof *a), *many = malloc(N * sizeof *a);
    fill(a, N, 9);
    pe_tensor ta = floats(a, N), to = floats(one, N), tm = floats(many, N);
    const int before = pe_get_num_threads(context);
    pe_set_num_threads(context, 1);
    CHECK(run("softsign", &to, &ta, NULL, NULL) == PE_OK);
    pe_set_num_threads(context, 3);
    pe_pool_stats start, end;
    pe_pool_statistics(context, &start);
    CHECK(run("softsign", &tm, &ta, NULL, NULL) == PE_OK);
    pe_pool_statistics(context, &end);
    pe_set_num_threads(context, before);
    CHECK(end.parallel_calls > start.parallel_calls);
    CHECK(memcmp(one, many, N * sizeof *a) == 0);
    free(a), free(one), free(many);
}

static void test_errors(void) {
    float a[24] = {0}, o[24];
    int64_t s23[2] = {2, 3}, s32[2] = {3, 2};
    pe_tensor ta = tensor(a, PE_FLOAT32, 2, s23), tb = tensor(a, PE_FLOAT32, 2, s32);
    pe_tensor to = tensor(o, PE_FLOAT32, 2, s23), bad;
    CHECK(run("add", &to, &ta, &tb, NULL) == PE_ERR_SHAPE);
    CHECK(strstr(error.message, "add") && strstr(error.message, "input 1"));
    CHECK(strstr(error.message, "(3, 2)") && strstr(error.message, "(2, 3)"));
    CHECK(run("no_such_operation", &to, &ta, NULL, NULL) == PE_ERR_ARGUMENT);
    CHECK(run("add", &to, &ta, NULL, NULL) == PE_ERR_ARGUMENT);
    CHECK(run("neg", NULL, &ta, NULL, NULL) == PE_ERR_ARGUMENT);
    bad = to, bad.dtype = PE_FLOAT64;
    CHECK(run("neg", &bad, &ta, NULL, NULL) == PE_ERR_DTYPE);
    CHECK(run("neg", &to, &bad, NULL, NULL) == PE_ERR_DTYPE);
    bad = to, bad.strides[0] = 0;
    CHECK(run("neg", &bad, &ta, NULL, NULL) == PE_ERR_ARGUMENT && error.axis == 0);
    bad = to, bad.ndim = 9;
    CHECK(run("neg", &bad, &ta, NULL, NULL) == PE_ERR_SHAPE);
    bad = to, bad.shape[1] = -3;
    CHECK(run("neg", &bad, &ta, NULL, NULL) == PE_ERR_SHAPE);
    bad = to, bad.strides[1] = 3;
    CHECK(run("neg", &bad, &ta, NULL, NULL) == PE_ERR_ARGUMENT);
    bad = to, bad.data = NULL;
    CHECK(run("neg", &bad, &ta, NULL, NULL) == PE_ERR_ARGUMENT);
    bad = to, bad.shape[0] = INT64_MAX / 2;
    CHECK(run("neg", &bad, &bad, NULL, NULL) == PE_ERR_SHAPE);

    pe_tensor empty = to, none = floats(NULL, 0), scalar = {.data = a, .dtype = PE_FLOAT32};
    empty.shape[0] = 0;
    CHECK(run("neg", &empty, &empty, NULL, NULL) == PE_OK);
    CHECK(run("neg", &none, &none, NULL, NULL) == PE_OK);
    CHECK(run("add", &none, &none, &scalar, NULL) == PE_OK);
    CHECK(run("neg", &empty, &ta, NULL, NULL) == PE_ERR_SHAPE);
    a[0] = 3;
    pe_tensor out_scalar = {.data = o, .dtype = PE_FLOAT32};
    CHECK(run("add", &out_scalar, &scalar, &scalar, NULL) == PE_OK && o[0] == 6);
}

/* what a caller relies on to build gradients: every op named takes what it is given */
static void test_rows(void) {
    for (int op = 0; op < pe_elementwise_count(); op++) {
        const pe_elementwise_info *row = pe_elementwise_describe(op);
        CHECK(pe_elementwise_find(row->name) == op);
        CHECK(row->inputs >= 1 && row->inputs <= 4);
        for (int i = 0; i < row->inputs; i++) {
            if (row->backward[i] < 0) continue;
            const pe_elementwise_info *gradient = pe_elementwise_describe(row->backward[i]);
            const int takes = row->backward_takes[i];
            int given = 1, fits = gradient->in_dtype[0] == row->out_dtype;
            for (int j = 0; j < row->inputs; j++)
                if (takes >> j & 1) fits &= given < 4 && gradient->in_dtype[given++] == row->in_dtype[j];
            if (takes & PE_TAKES_OUTPUT) fits &= given < 4 && gradient->in_dtype[given++] == row->out_dtype;
            CHECK(fits && given == gradient->inputs && gradient->out_dtype == row->in_dtype[i]);
        }
    }
    CHECK(pe_elementwise_describe(-1) == NULL && pe_elementwise_describe(pe_elementwise_count()) == NULL);
    CHECK(pe_elementwise_find(NULL) == -1);
}

int main(void) {
    context = pe_default_context();
    test_rows();
    test_sizes_at_guard_pages();
    test_strides();
    test_in_place();
    test_threads_give_the_same_bits();
    test_errors();
    return check_report();
}
