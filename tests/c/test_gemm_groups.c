/* Products of ragged groups: bit for bit what pe_gemm gives for each group by itself, in every layout, for groups
 * without rows, of one row and of more than one block; and what is refused. */
#include "check.h"
#include "../../csrc/pyengine.h"

#include <stdlib.h>
#include <string.h>

enum { GROUPS = 6, ROWS = 400, M = 33, K = 70, N = 50, LARGEST = 130 * 130 };

static const int64_t ends[GROUPS] = {0, 1, 4, 60, 60, ROWS};
static float a[ROWS * 200], b[GROUPS * LARGEST], c[GROUPS * LARGEST], expected[GROUPS * LARGEST];

static pe_tensor matrix(float *data, int64_t rows, int64_t columns, int turned) {
    pe_tensor t = {data, PE_FLOAT32, 2, {rows, columns}, {columns * 4, 4}};
    if (turned) t.strides[0] = 4, t.strides[1] = rows * 4;
    return t;
}

/* of groups, each laid out as the matrix above */
static pe_tensor stack(float *data, int64_t rows, int64_t columns, int turned) {
    const pe_tensor one = matrix(data, rows, columns, turned);
    pe_tensor t = {data, PE_FLOAT32, 3, {GROUPS, rows, columns}, {rows * columns * 4, one.strides[0], one.strides[1]}};
    return t;
}

static pe_tensor part(const pe_tensor *t, int axis, int64_t begin, int64_t end) {
    pe_tensor p = *t;
    p.data = (char *)t->data + begin * t->strides[axis];
    p.shape[axis] = end - begin;
    return p;
}

static pe_tensor one_of(const pe_tensor *t, int64_t group) {
    pe_tensor p = {(char *)t->data + group * t->strides[0], PE_FLOAT32, 2, {t->shape[1], t->shape[2]},
                   {t->strides[1], t->strides[2]}};
    return p;
}

static void compare(const pe_tensor *x, const pe_tensor *y, pe_tensor *z, int cut, int accumulate) {
    const pe_tensor e = {(void *)ends, PE_INT64, 1, {GROUPS}, {8}};
    const pe_gemm_groups_args args = {x, y, z, &e, accumulate};
    for (int i = 0; i < GROUPS * LARGEST; i++) c[i] = expected[i] = 0.5f;
    CHECK(!pe_gemm_groups(pe_default_context(), &args, NULL));
    for (int g = 0; g < GROUPS; g++) {
        const int64_t begin = g ? ends[g - 1] : 0;
        const pe_tensor p = part(x, cut, begin, ends[g]), q = cut ? part(y, 0, begin, ends[g]) : one_of(y, g);
        pe_tensor r = cut ? one_of(z, g) : part(z, 0, begin, ends[g]);
        r.data = expected + ((float *)r.data - c);
        const pe_gemm_args alone = {.a = &p, .b = &q, .c = &r, .accumulate = accumulate,
                                    .activation = PE_NO_ACTIVATION};
        CHECK(!pe_gemm(pe_default_context(), &alone, NULL));
    }
    CHECK(!memcmp(c, expected, sizeof c));
}

static void all_layouts(void) {
    for (int layout = 0; layout < 8; layout++) {
        const int ta = layout & 1, tb = layout >> 1 & 1, tc = layout >> 2;
        pe_tensor x = matrix(a, ROWS, K, ta), y = stack(b, K, N, tb), z = matrix(c, ROWS, N, tc);
        compare(&x, &y, &z, 0, layout == 3);
        x = matrix(a, M, ROWS, ta), y = matrix(b, ROWS, N, tb), z = stack(c, M, N, tc);
        compare(&x, &y, &z, 1, layout == 3);
    }
}

static void threads_do_not_matter(void) {
    pe_tensor x = matrix(a, ROWS, K, 0), y = stack(b, K, N, 1), z = matrix(c, ROWS, N, 0);
    for (int n = 1; n < 4; n++) {
        pe_set_num_threads(pe_default_context(), n);
        compare(&x, &y, &z, 0, 0);
    }
}

static void refused(void) {
    pe_context *ctx = pe_default_context();
    int64_t wrong[GROUPS];
    pe_tensor x = matrix(a, ROWS, K, 0), y = stack(b, K, N, 0), z = matrix(c, ROWS, N, 0);
    pe_tensor e = {wrong, PE_INT64, 1, {GROUPS}, {8}};
    pe_gemm_groups_args args = {&x, &y, &z, &e, 0};
    memcpy(wrong, ends, sizeof ends);
    CHECK(!pe_gemm_groups(ctx, &args, NULL));
    wrong[2] = 61;
    CHECK(pe_gemm_groups(ctx, &args, NULL) == PE_ERR_ARGUMENT); /* falls */
    wrong[2] = 4, wrong[GROUPS - 1] = ROWS + 1;
    CHECK(pe_gemm_groups(ctx, &args, NULL) == PE_ERR_ARGUMENT);
    wrong[GROUPS - 1] = ROWS - 1;
    CHECK(pe_gemm_groups(ctx, &args, NULL) == PE_ERR_ARGUMENT);
    wrong[GROUPS - 1] = ROWS, wrong[0] = -1;
    CHECK(pe_gemm_groups(ctx, &args, NULL) == PE_ERR_ARGUMENT);
    wrong[0] = 0, e.shape[0] = GROUPS - 1;
    CHECK(pe_gemm_groups(ctx, &args, NULL) == PE_ERR_SHAPE);
    e.shape[0] = GROUPS, z.shape[1] = N - 1;
    CHECK(pe_gemm_groups(ctx, &args, NULL) == PE_ERR_SHAPE);
    z.shape[1] = N, z.data = a;
    CHECK(pe_gemm_groups(ctx, &args, NULL) == PE_ERR_ARGUMENT);
    z.data = c, z.dtype = PE_INT32;
    CHECK(pe_gemm_groups(ctx, &args, NULL) == PE_ERR_DTYPE);
}

int main(void) {
    for (int i = 0; i < ROWS * 200; i++) a[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int i = 0; i < GROUPS * LARGEST; i++) b[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    all_layouts();
    threads_do_not_matter();
    refused();
    return check_report();
}
