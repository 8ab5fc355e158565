/* pe_elementwise: checks, then the row's loop over a walk; short calls in order go straight to it. */
#include "broadcast.h"

#include <string.h>

/* What a row costs, for the choice of threads. LIGHT: an element from L2. The others: the arithmetic of one
 * vector, 8 or 16 lanes alike, where it is fastest (EPYC Zen 4: exp 2.8, tanh 5.7; a Xeon of Ice Lake
 * takes 5 and 6). Too high, and two threads are called for work that one ends sooner; too low only
 * starts them later. */
static const double light_element_ns = 0.1;
enum { LIGHT, EXP, SIN, POW };
static const double vector_ns[] = {[EXP] = 2.8, [SIN] = 5.7, [POW] = 14};
/* below this many elements a call in order is run at once, without looking for threads */
enum { AT_ONCE = 2048 };

#define UNARY(t, name, work, slope, keep, f, df, d2) work, slope, slope,
#define UNARY_PIECEWISE(t, name, work, keep, f, df) work, work,
#define UNARY_BY(t, name, work, f, op, takes) work,
#define BINARY(t, name, work, slope, f, da, db, haa, hab, hbb) work, slope, slope, slope, slope, slope,
#define BINARY_LINEAR(t, name, work, slope, f, op_a, takes_a, db, hab, hbb) work, slope, slope, slope,
#define BINARY_PIECEWISE(t, name, work, f, da, db) work, work, work,
#define BINARY_BY(t, name, work, f, op_a, takes_a, op_b, takes_b) work,
#define COMPARE(t, name, relation) LIGHT,
#define TEST(t, name, property) LIGHT,
#define LOGICAL(name, f) LIGHT,
#define LOGICAL_NOT(name, f) LIGHT,
#define CHOICE(t, name) LIGHT, LIGHT, LIGHT,
static const uint8_t work_of[PE_OP_COUNT] = {
#include "kernels/elementwise.def"
};

static pe_status check_call(const pe_elementwise_args *args, const pe_elementwise_info *op,
                            pe_error *err) {
    if (!op) return pe_fail(err, PE_ERR_ARGUMENT, -1, "elementwise: there is no operation %d", args->op);
    if (args->inputs != op->inputs)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: takes %d inputs, %d were given", op->name, op->inputs,
                       args->inputs);
    for (int i = 0; i <= op->inputs; i++) {
        const pe_tensor *t = i ? args->in[i - 1] : args->out;
        const int wanted = i ? op->in_dtype[i - 1] : op->out_dtype;
        if (!t && !i) return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: out is missing", op->name);
        if (!t) return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: input %d is missing", op->name, i - 1);
        if (t->dtype == wanted) continue;
        if (!i)
            return pe_fail(err, PE_ERR_DTYPE, -1, "%s: out must be %s, is %s", op->name,
                           pe_dtype_name(wanted), pe_dtype_name(t->dtype));
        return pe_fail(err, PE_ERR_DTYPE, -1, "%s: input %d must be %s, is %s", op->name, i - 1,
                       pe_dtype_name(wanted), pe_dtype_name(t->dtype));
    }
    return PE_OK;
}

/* ---- the short way: few elements, all in order or one for all ---- */

/* elements of t if they lie in order without a gap, -1 if not or if they are not few */
static int64_t few_in_order(const pe_tensor *t, int64_t size) {
    int64_t count = 1;
    if (t->ndim < 0 || t->ndim > PE_MAX_DIMS || !t->data) return -1;
    for (int axis = t->ndim - 1; axis >= 0; axis--) {
        if (t->shape[axis] == 1) continue;
        if (t->shape[axis] < 1 || t->shape[axis] > AT_ONCE || t->strides[axis] != count * size) return -1;
        count *= t->shape[axis];
        if (count > AT_ONCE) return -1;
    }
    return count;
}

typedef struct {
    pe_loop *loop;
    void *out;
    const void *data[4];
    ptrdiff_t step[4];
} short_call;

static void call_loop(int64_t begin, int64_t end, void *arg) {
    const short_call *call = arg;
    (void)begin; /* one range */
    call->loop(call->out, call->data, call->step, (size_t)end);
}

static int run_short(pe_context *ctx, const pe_elementwise_args *args,
                     const pe_elementwise_info *op, pe_loop *loop) {
    const pe_tensor *out = args->out;
    const int64_t size = op->out_dtype == PE_BOOL ? 1 : 4;
    const int64_t n = few_in_order(out, size);
    short_call call;
    if (n < 0) return 0;
    call.loop = loop;
    call.out = out->data;
    const uintptr_t begin = (uintptr_t)out->data, end = begin + (uintptr_t)(n * size);
    for (int i = 0; i < args->inputs; i++) {
        const pe_tensor *in = args->in[i];
        const int64_t in_size = op->in_dtype[i] == PE_BOOL ? 1 : 4;
        const int64_t m = few_in_order(in, in_size);
        if (m < 0 || in->ndim > out->ndim || (m != 1 && !pe_same_shape(in, out))) return 0;
        const uintptr_t from = (uintptr_t)in->data, to = from + (uintptr_t)(m * in_size);
        const int same = from == begin && m == n && in_size == size;
        if (from < end && begin < to && !same) return 0;
        call.data[i] = in->data;
        call.step[i] = m == 1 ? 0 : 1;
    }
    pe_parallel_for(ctx, n, n, 1, call_loop, &call);
    return 1;
}

/* ---- the whole way ---- */

static void run_loop(const void *arg, char *const *data, const ptrdiff_t *step, size_t n) {
    pe_loop *const *loop = arg;
    const void *in[4] = {data[1], data[2], data[3], data[4]};
    (*loop)(data[0], in, step + 1, n);
}

pe_status pe_elementwise(pe_context *ctx, const pe_elementwise_args *args, pe_error *err) {
    const pe_elementwise_info *op = pe_elementwise_describe(args->op);
    pe_status status = check_call(args, op, err);
    pe_walk w;
    if (status) return status;
    pe_loop *loop = ctx->kernels->elementwise.loop[args->op];
    if (run_short(ctx, args, op, loop)) return PE_OK;
    status = pe_walk_begin(&w, op->name, args->out, args->in, args->inputs, err);
    if (status) return status;
    const int work = work_of[args->op];
    const double ns = work == LIGHT ? light_element_ns : vector_ns[work] / ctx->kernels->vector_floats;
    pe_walk_run(ctx, &w, ns, run_loop, &loop);
    return PE_OK;
}

pe_status pe_activation_loop(pe_context *ctx, int op, const char *operation, pe_loop **loop, pe_error *err) {
    *loop = NULL;
    if (op == PE_NO_ACTIVATION) return PE_OK;
    const pe_elementwise_info *info =
        op >= 0 && op < pe_elementwise_count() ? pe_elementwise_describe(op) : NULL;
    if (!info)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: activation %d is no elementwise operation", operation, op);
    if (info->inputs != 1 || info->in_dtype[0] != PE_FLOAT32 || info->out_dtype != PE_FLOAT32)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: activation %s must take one float32 and give one", operation,
                       info->name);
    *loop = ctx->kernels->elementwise.loop[op];
    return PE_OK;
}
