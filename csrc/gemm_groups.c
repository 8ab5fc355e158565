/* pe_gemm_groups: products of ragged groups. Those that need no pack made first share one parallel_for over the tasks
 * of all groups; a group of many rows, whose b is worth packing by all threads, runs as a product of its own. Plans and
 * chains are pe_gemm's, so are the bits. */
#include "gemm_task.h"

#define MANY_GROUPS 16 /* so many are tasks enough: each runs whole, and asks for its next panel of b while it works */

struct group {
    struct pe_gemm_run run;
    int64_t first; /* of its tasks among all */
};

struct groups_run {
    pe_context *ctx;
    const struct group *groups;
    int64_t count;
    size_t floats; /* of a task's own memory, at most */
    int failed;
};

/* The group that task x belongs to: the last one that begins at or before it. */
static const struct group *group_of(const struct groups_run *all, int64_t x) {
    int64_t low = 0, high = all->count;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (all->groups[middle].first <= x) low = middle;
        else high = middle;
    }
    return &all->groups[low];
}

static void tasks_body(int64_t begin, int64_t end, void *arg) {
    struct groups_run *all = arg;
    float *memory = pe_alloc(all->ctx, (all->floats + 1) * sizeof(float));
    if (!memory) {
        __atomic_store_n(&all->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t x = begin; x < end; x++) {
        const struct group *group = group_of(all, x);
        pe_gemm_run_task(&group->run, &group->run.g, x - group->first, memory);
    }
    pe_free(all->ctx, memory);
}

/* The product of the places begin .. end-1 of the axis that is cut: rows where b is a stack of matrices, else k. */
static struct pe_gemm_problem problem_of(const pe_gemm_groups_args *args, int64_t group, int64_t begin, int64_t end) {
    const pe_tensor *a = args->a, *b = args->b, *c = args->c;
    const int stacked = b->ndim == 3;
    struct pe_gemm_problem g = {
        .m = stacked ? end - begin : a->shape[0], .k = stacked ? a->shape[1] : end - begin,
        .n = b->shape[b->ndim - 1],
        .a_i = a->strides[0] / 4, .a_p = a->strides[1] / 4,
        .b_p = b->strides[b->ndim - 2] / 4, .b_j = b->strides[b->ndim - 1] / 4,
        .c_i = c->strides[c->ndim - 2] / 4, .c_j = c->strides[c->ndim - 1] / 4, .accumulate = args->accumulate,
        .one_thread = args->ends->shape[0] >= MANY_GROUPS,
    };
    g.a = (const float *)a->data + begin * (stacked ? g.a_i : g.a_p);
    g.b = (const float *)b->data + (stacked ? group * (b->strides[0] / 4) : begin * g.b_p);
    g.c = (float *)c->data + (stacked ? begin * g.c_i : group * (c->strides[0] / 4));
    return g;
}

static int64_t end_of(const pe_gemm_groups_args *args, int64_t group) {
    return group < 0 ? 0 : *(const int64_t *)((const char *)args->ends->data + group * args->ends->strides[0]);
}

static pe_status check_ends(const pe_gemm_groups_args *args, int64_t groups, int64_t places, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(args->ends, PE_INT64, "gemm_groups", "ends", err);
    if (status) return status;
    if (args->ends->ndim != 1 || args->ends->shape[0] != groups)
        return pe_fail(err, PE_ERR_SHAPE, 0, "gemm_groups: ends %s must hold one number for each of %lld groups",
                       pe_shape_text(args->ends, text), (long long)groups);
    for (int64_t i = 0; i < groups; i++)
        if (end_of(args, i) < end_of(args, i - 1) || end_of(args, i) > places)
            return pe_fail(err, PE_ERR_ARGUMENT, 0, "gemm_groups: ends[%lld] is %lld after %lld, of %lld rows",
                           (long long)i, (long long)end_of(args, i), (long long)end_of(args, i - 1), (long long)places);
    if (end_of(args, groups - 1) != places)
        return pe_fail(err, PE_ERR_ARGUMENT, 0, "gemm_groups: ends stop at %lld of %lld rows",
                       (long long)end_of(args, groups - 1), (long long)places);
    return PE_OK;
}

static pe_status check(const pe_gemm_groups_args *args, int64_t *groups, pe_error *err) {
    char a[PE_SHAPE_TEXT], b[PE_SHAPE_TEXT], c[PE_SHAPE_TEXT];
    pe_status status = pe_gemm_check_operand(args->a, "a", 2, 0, err);
    if (!status) status = pe_gemm_check_operand(args->b, "b", 2, 0, err);
    if (!status) status = pe_gemm_check_operand(args->c, "c", 2, 0, err);
    if (status) return status;
    const int64_t *x = args->a->shape, *y = args->b->shape, *z = args->c->shape;
    const int stacked = args->b->ndim == 3;
    const int fits = stacked ? args->a->ndim == 2 && args->c->ndim == 2 && y[1] == x[1] && z[0] == x[0] && z[1] == y[2]
                             : args->a->ndim == 2 && args->b->ndim == 2 && args->c->ndim == 3 && y[0] == x[1] &&
                                   z[1] == x[0] && z[2] == y[1];
    if (!fits)
        return pe_fail(err, PE_ERR_SHAPE, -1, "gemm_groups: a %s, b %s and c %s do not fit",
                       pe_shape_text(args->a, a), pe_shape_text(args->b, b), pe_shape_text(args->c, c));
    *groups = stacked ? y[0] : z[0];
    if ((status = check_ends(args, *groups, stacked ? x[0] : x[1], err))) return status;
    if ((status = pe_gemm_check_writable(args->c, err))) return status;
    if ((status = pe_gemm_check_apart(args->c, args->a, "a", err))) return status;
    return pe_gemm_check_apart(args->c, args->b, "b", err);
}

pe_status pe_gemm_groups(pe_context *ctx, const pe_gemm_groups_args *args, pe_error *err) {
    int64_t count = 0, tasks = 0;
    size_t bytes;
    pe_status status = check(args, &count, err);
    if (status) return status;
    struct group *groups = __builtin_mul_overflow((size_t)count + 1, sizeof *groups, &bytes) ? NULL
                                                                                            : pe_alloc(ctx, bytes);
    if (!groups) return pe_fail(err, PE_ERR_MEMORY, -1, "gemm_groups: no memory for %lld groups", (long long)count);
    struct groups_run all = { .ctx = ctx, .groups = groups };
    double nanoseconds = 0;
    for (int64_t i = 0; i < count && !status; i++) {
        const struct pe_gemm_problem g = problem_of(args, i, end_of(args, i - 1), end_of(args, i));
        struct group *next = &groups[all.count];
        if (g.m == 0 || g.n == 0) continue;
        pe_gemm_start(ctx, &g, 1, &next->run);
        if (next->run.plan.b == PE_GEMM_SHARED) {
            status = pe_gemm_run_batch(ctx, &g, &(struct pe_gemm_batch){ .count = 1 }, err);
            continue;
        }
        const size_t floats = pe_gemm_task_floats(&next->run.plan);
        next->first = tasks, tasks += next->run.plan.tasks, nanoseconds += next->run.plan.nanoseconds, all.count++;
        if (floats > all.floats) all.floats = floats;
    }
    if (!status && tasks) {
        const int64_t grain = 1 + (int64_t)(2000 / (nanoseconds / (double)tasks + 1));
        pe_parallel_for(ctx, tasks, grain, pe_threads_for(ctx, nanoseconds), tasks_body, &all);
        if (all.failed)
            status = pe_fail(err, PE_ERR_MEMORY, -1, "gemm_groups: no memory for %zu bytes of packing",
                             all.floats * sizeof(float));
    }
    pe_free(ctx, groups);
    return status;
}
