/* pe_reduce and pe_argmax: cut any strided tensor into rows, columns or gathered blocks, each
 * of which a kernel reduces in the canonical order of kernels/reduce.def. */
#include "internal.h"

#include <string.h>

/* elements of one task: about 64 KB x 2, so that a task outweighs its hand-over */
enum { TASK_ELEMENTS = 32768, PART_ELEMENTS = 65536 };
/* one element from L2, in nanoseconds, for the cost model; measured at 0.04 to 0.1 */
static const double ELEMENT_NS = 0.06;

enum { FORM_ROWS, FORM_COLUMNS, FORM_GATHER };

struct axis { int64_t size, stride, out; }; /* strides in bytes, in the input and in the output */

/* in (float32) as kept axes around one vector axis `m`, and the reduced sequence of `n` */
struct reduce_plan {
    const char *in;
    int kept, reduced;
    struct axis keep[PE_MAX_DIMS], reduce[PE_MAX_DIMS];
    struct axis m;      /* rows: the rows of one kernel call; columns: its outputs; gather: one */
    int64_t outer, n;
    int form;
};

static const char *const reduce_names[] = {
#define REDUCE(name, ...) #name,
#include "kernels/reduce.def"
#undef REDUCE
};
static const int allows_empty[] = {
#define REDUCE(name, identity, take, combine, finish, empty) empty,
#include "kernels/reduce.def"
#undef REDUCE
};

int pe_reduce_count(void) { return PE_REDUCE_OPS; }

const char *pe_reduce_name(int op) { return op >= 0 && op < PE_REDUCE_OPS ? reduce_names[op] : NULL; }

int pe_reduce_find(const char *name) {
    for (int op = 0; op < PE_REDUCE_OPS; op++)
        if (!strcmp(name, reduce_names[op])) return op;
    return -1;
}

/* ---- the plan ---- */

static int push_axis(struct axis *axes, int count, struct axis next) {
    if (next.size == 1) return count;
    struct axis *last = axes + count - 1;
    if (count && last->stride == next.stride * next.size && last->out == next.out * next.size) {
        *last = (struct axis){last->size * next.size, next.stride, next.out};
        return count;
    }
    axes[count] = next;
    return count + 1;
}

/* takes axis `which` out of the kept ones and makes it the vector axis */
static void choose_m(struct reduce_plan *p, int which) {
    p->m = p->keep[which];
    memmove(p->keep + which, p->keep + which + 1, (size_t)(p->kept - 1 - which) * sizeof p->keep[0]);
    p->kept--;
}

static void make_plan(struct reduce_plan *p, const pe_tensor *in, const pe_tensor *out, uint32_t axes) {
    *p = (struct reduce_plan){.in = in->data, .m = {1, 0, 0}, .outer = 1, .n = 1};
    for (int i = 0; i < in->ndim; i++) {
        struct axis next = {in->shape[i], in->strides[i], out->strides[i]};
        if (axes >> i & 1) {
            next.out = 0;
            p->reduced = push_axis(p->reduce, p->reduced, next);
        } else {
            p->kept = push_axis(p->keep, p->kept, next);
        }
    }
    for (int i = 0; i < p->reduced; i++) p->n *= p->reduce[i].size;
    if (!p->reduced) p->reduce[0] = (struct axis){1, sizeof(float), 0};
    p->form = FORM_GATHER;
    if (p->reduced <= 1 && p->reduce[0].stride == sizeof(float)) {
        p->form = FORM_ROWS;
        if (p->kept) choose_m(p, p->kept - 1);
    } else if (p->reduced == 1) {
        for (int i = p->kept - 1; i >= 0 && p->form != FORM_COLUMNS; i--)
            if (p->keep[i].stride == sizeof(float)) {
                p->form = FORM_COLUMNS;
                choose_m(p, i);
            }
    }
    for (int i = 0; i < p->kept; i++) p->outer *= p->keep[i].size;
}

/* where the outer index lies in memory */
static const char *outer_start(const struct reduce_plan *p, int64_t index) {
    const char *at = p->in;
    for (int i = p->kept - 1; i >= 0; i--) {
        at += index % p->keep[i].size * p->keep[i].stride;
        index /= p->keep[i].size;
    }
    return at;
}

/* to[0 .. count-1] = elements start .. start+count-1 of the reduced sequence */
static void gather(const struct reduce_plan *p, const char *from, int64_t start, int64_t count, float *to) {
    const int last = p->reduced - 1;
    int64_t index[PE_MAX_DIMS];
    for (int i = last; i >= 0; i--) {
        index[i] = start % p->reduce[i].size;
        start /= p->reduce[i].size;
        from += index[i] * p->reduce[i].stride;
    }
    while (count > 0) {
        const int64_t stride = p->reduce[last].stride;
        int64_t run = p->reduce[last].size - index[last];
        if (run > count) run = count;
        for (int64_t k = 0; k < run; k++) to[k] = *(const float *)(from + k * stride);
        to += run;
        count -= run;
        index[last] += run;
        from += run * stride;
        for (int i = last; i > 0 && index[i] == p->reduce[i].size; i--) {
            from += p->reduce[i - 1].stride - index[i] * p->reduce[i].stride;
            index[i] = 0;
            index[i - 1]++;
        }
    }
}

/* ---- running it ---- */

struct reduce_job {
    const struct reduce_plan *plan;
    const struct pe_reduce_op *op;
    float *to;                /* (parts, outer, m) */
    int64_t part, parts;      /* elements of a part: a power of two of blocks */
    int64_t strip, strips;    /* outputs of a task along m */
};

/* one output whose elements are copied together first, block after block */
static void gathered_row(const struct reduce_job *job, const char *from, int64_t start, int64_t n,
                         float *out) {
    float block[PE_REDUCE_BLOCK], level[PE_REDUCE_LEVELS], partial = 0;
    const int64_t blocks = (n + PE_REDUCE_BLOCK - 1) / PE_REDUCE_BLOCK;
    for (int64_t k = 0; k < blocks; k++) {
        int64_t first = k * PE_REDUCE_BLOCK;
        int64_t length = n - first < PE_REDUCE_BLOCK ? n - first : PE_REDUCE_BLOCK;
        gather(job->plan, from, start + first, length, block);
        job->op->rows(block, 0, 1, (size_t)length, &partial);
        int i = 0;
        for (int64_t carry = k; carry & 1; carry >>= 1, i++)
            job->op->merge((const float[2]){level[i], partial}, 1, 2, 1, &partial);
        level[i] = partial;
    }
    for (int i = 0; blocks >> i; i++)
        if ((blocks >> i & 1) && i > __builtin_ctzll((uint64_t)blocks))
            job->op->merge((const float[2]){level[i], partial}, 1, 2, 1, &partial);
    *out = partial;
}

/* task number -> (part, outer, strip), strips fastest */
static void run_tasks(int64_t begin, int64_t end, void *arg) {
    const struct reduce_job *job = arg;
    const struct reduce_plan *p = job->plan;
    for (int64_t task = begin; task < end; task++) {
        int64_t first = task % job->strips * job->strip;
        int64_t outer = task / job->strips % p->outer;
        int64_t part = task / job->strips / p->outer;
        int64_t start = part * job->part;
        int64_t n = p->n - start < job->part ? p->n - start : job->part;
        int64_t m = p->m.size - first < job->strip ? p->m.size - first : job->strip;
        float *to = job->to + (part * p->outer + outer) * p->m.size + first;
        const char *from = outer_start(p, outer) + first * p->m.stride;
        const int64_t step = p->reduce[0].stride;
        if (p->form == FORM_ROWS)
            job->op->rows((const float *)(from + start * step), (ptrdiff_t)(p->m.stride / 4), (size_t)m,
                          (size_t)n, to);
        else if (p->form == FORM_COLUMNS)
            job->op->columns((const float *)(from + start * step), (ptrdiff_t)(step / 4), (size_t)n,
                             (size_t)m, to);
        else
            gathered_row(job, from, start, n, to);
        if (job->parts == 1) job->op->finish(to, (size_t)m, (float)p->n);
    }
}

struct merge_job {
    const struct reduce_job *job;
    float *flat;
    int64_t outputs;
};

static void run_merge(int64_t begin, int64_t end, void *arg) {
    const struct merge_job *merge = arg;
    const struct reduce_job *job = merge->job;
    const size_t m = (size_t)(end - begin);
    job->op->merge(job->to + begin, (ptrdiff_t)merge->outputs, (size_t)job->parts, m, merge->flat + begin);
    job->op->finish(merge->flat + begin, m, (float)job->plan->n);
}

/* ---- the output ---- */

/* whether out's memory is (outer, m) without a gap, so that results can be written in place */
static int out_is_flat(const struct reduce_plan *p, int64_t size) {
    if (p->m.size > 1 && p->m.out != size) return 0;
    int64_t expected = size * p->m.size;
    for (int i = p->kept - 1; i >= 0; i--) {
        if (p->keep[i].out != expected) return 0;
        expected *= p->keep[i].size;
    }
    return 1;
}

static char *out_start(const struct reduce_plan *p, char *out, int64_t index) {
    for (int i = p->kept - 1; i >= 0; i--) {
        out += index % p->keep[i].size * p->keep[i].out;
        index /= p->keep[i].size;
    }
    return out;
}

static void scatter(const struct reduce_plan *p, const char *flat, char *out, size_t size) {
    for (int64_t outer = 0; outer < p->outer; outer++) {
        char *to = out_start(p, out, outer);
        for (int64_t j = 0; j < p->m.size; j++, flat += size) memcpy(to + j * p->m.out, flat, size);
    }
}

/* ---- checks ---- */

static pe_status check_operands(const char *name, const pe_tensor *in, const pe_tensor *out, int out_dtype,
                                uint32_t axes, pe_error *err) {
    char a[PE_SHAPE_TEXT], b[PE_SHAPE_TEXT];
    pe_status status = pe_check_dtype(in, PE_FLOAT32, name, "in", err);
    if (!status) status = pe_check_dtype(out, out_dtype, name, "out", err);
    if (status) return status;
    if (axes >> in->ndim)
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: an axis to reduce is not among the %d of in %s", name,
                       in->ndim, pe_shape_text(in, a));
    int fits = in->ndim == out->ndim;
    for (int i = 0; fits && i < in->ndim; i++) fits = out->shape[i] == (axes >> i & 1 ? 1 : in->shape[i]);
    if (!fits)
        return pe_fail(err, PE_ERR_SHAPE, -1,
                       "%s: out %s must have the shape of in %s with the reduced axes of size 1",
                       name, pe_shape_text(out, b), pe_shape_text(in, a));
    return PE_OK;
}

static pe_status check_not_empty(const char *name, const pe_tensor *in, uint32_t axes, pe_error *err) {
    char text[PE_SHAPE_TEXT];
    for (int i = 0; i < in->ndim; i++)
        if ((axes >> i & 1) && in->shape[i] == 0)
            return pe_fail(err, PE_ERR_SHAPE, i, "%s: axis %d of in %s has no elements to choose from",
                           name, i, pe_shape_text(in, text));
    return PE_OK;
}

/* ---- calls ---- */

/* Parts and strips follow from the plan alone; results do not depend on them. */
static void cut_tasks(struct reduce_job *job) {
    const struct reduce_plan *p = job->plan;
    /* tall columns go by whole tiles of the kernel, low ones by the cache line or two */
    const int64_t tile = p->form == FORM_COLUMNS ? (p->n > 256 ? 256 : 64) : 1;
    const int64_t width = p->m.size < tile ? p->m.size : tile;
    job->part = PE_REDUCE_BLOCK;
    while (job->part * width < PART_ELEMENTS && job->part < p->n) job->part *= 2;
    job->parts = p->n > job->part ? (p->n + job->part - 1) / job->part : 1;
    int64_t elements = job->parts > 1 ? job->part : p->n + 1;
    job->strip = p->form == FORM_GATHER ? 1 : (TASK_ELEMENTS + elements - 1) / elements;
    job->strip = (job->strip + tile - 1) / tile * tile;
    if (job->strip > p->m.size) job->strip = p->m.size;
    job->strips = (p->m.size + job->strip - 1) / job->strip;
}

pe_status pe_reduce(pe_context *ctx, const pe_reduce_args *args, pe_error *err) {
    const char *name = pe_reduce_name(args->op);
    if (!name) return pe_fail(err, PE_ERR_ARGUMENT, -1, "reduce: there is no operation number %d", args->op);
    pe_status status = check_operands(name, args->in, args->out, PE_FLOAT32, args->axes, err);
    const int64_t outputs = status ? 0 : pe_numel(args->out);
    if (!status && !allows_empty[args->op]) status = check_not_empty(name, args->in, args->axes, err);
    if (status || outputs == 0) return status;

    struct reduce_plan plan;
    make_plan(&plan, args->in, args->out, args->axes);
    struct reduce_job job = {.plan = &plan, .op = &ctx->kernels->reduce.op[args->op]};
    cut_tasks(&job);
    const int in_place = out_is_flat(&plan, sizeof(float));
    const int64_t needed = (job.parts > 1 ? job.parts * outputs : 0) + (in_place ? 0 : outputs);
    float *scratch = needed ? pe_alloc(ctx, (size_t)needed * sizeof(float)) : NULL;
    if (needed && !scratch)
        return pe_fail(err, PE_ERR_MEMORY, -1, "%s: no memory for %lld partial results", name,
                       (long long)needed);
    float *flat = in_place ? args->out->data : scratch;
    job.to = job.parts > 1 ? scratch + (in_place ? 0 : outputs) : flat;

    const int64_t tasks = job.parts * plan.outer * job.strips;
    const int64_t size = (plan.n < job.part ? plan.n + 1 : job.part) * job.strip;
    const int64_t grain = size < TASK_ELEMENTS ? TASK_ELEMENTS / size : 1;
    const double work = (double)outputs * (double)(plan.n + 8) * ELEMENT_NS;
    pe_parallel_for(ctx, tasks, grain, pe_threads_for(ctx, work), run_tasks, &job);
    if (job.parts > 1) {
        struct merge_job merge = {&job, flat, outputs};
        const double merging = (double)outputs * (double)job.parts * ELEMENT_NS;
        pe_parallel_for(ctx, outputs, 4096, pe_threads_for(ctx, merging), run_merge, &merge);
    }
    if (!in_place) scatter(&plan, (const char *)flat, args->out->data, sizeof(float));
    pe_free(ctx, scratch);
    return PE_OK;
}

/* ---- argmax ---- */

struct argmax_job {
    const struct reduce_plan *plan;
    const struct pe_reduce_kernels *kernels;
    int64_t *to; /* (outer, m) */
    int minimum;
};

/* index of the extreme of `n` elements at `from`, a stride apart, block after block */
static int64_t gathered_argmax(const struct argmax_job *job, const char *from) {
    const struct reduce_plan *p = job->plan;
    float block[PE_REDUCE_BLOCK], best = 0;
    int64_t place = -1;
    for (int64_t start = 0; start < p->n; start += PE_REDUCE_BLOCK) {
        int64_t length = p->n - start < PE_REDUCE_BLOCK ? p->n - start : PE_REDUCE_BLOCK;
        gather(p, from, start, length, block);
        int64_t at = (int64_t)job->kernels->argmax(block, (size_t)length, job->minimum);
        float rival = block[at];
        int better = job->minimum ? rival < best : rival > best;
        if (place < 0 || better || (rival != rival && best == best)) {
            best = rival;
            place = start + at;
        }
    }
    return place;
}

static void run_argmax(int64_t begin, int64_t end, void *arg) {
    const struct argmax_job *job = arg;
    const struct reduce_plan *p = job->plan;
    for (int64_t outer = begin; outer < end; outer++) {
        const char *from = outer_start(p, outer);
        int64_t *to = job->to + outer * p->m.size;
        if (p->form == FORM_COLUMNS && p->n <= INT32_MAX) {
            job->kernels->argmax_columns((const float *)from, (ptrdiff_t)(p->reduce[0].stride / 4),
                                         (size_t)p->n, (size_t)p->m.size, job->minimum, to);
            continue;
        }
        for (int64_t j = 0; j < p->m.size; j++) {
            const char *row = from + j * p->m.stride;
            to[j] = p->form == FORM_ROWS
                        ? (int64_t)job->kernels->argmax((const float *)row, (size_t)p->n, job->minimum)
                        : gathered_argmax(job, row);
        }
    }
}

pe_status pe_argmax(pe_context *ctx, const pe_argmax_args *args, pe_error *err) {
    const char *name = args->minimum ? "argmin" : "argmax";
    if (args->axis < 0 || args->axis >= args->in->ndim)
        return pe_fail(err, PE_ERR_SHAPE, args->axis, "%s: axis %d, but in has %d axes", name, args->axis,
                       args->in->ndim);
    const uint32_t axes = 1u << args->axis;
    pe_status status = check_operands(name, args->in, args->out, PE_INT64, axes, err);
    if (!status) status = check_not_empty(name, args->in, axes, err);
    const int64_t outputs = status ? 0 : pe_numel(args->out);
    if (status || outputs == 0) return status;

    struct reduce_plan plan;
    make_plan(&plan, args->in, args->out, axes);
    const int in_place = out_is_flat(&plan, sizeof(int64_t));
    int64_t *scratch = in_place ? NULL : pe_alloc(ctx, (size_t)outputs * sizeof(int64_t));
    if (!in_place && !scratch) return pe_fail(err, PE_ERR_MEMORY, -1, "%s: no memory for the indices", name);
    struct argmax_job job = {&plan, &ctx->kernels->reduce, in_place ? args->out->data : scratch,
                             args->minimum};
    const int64_t row = plan.m.size * plan.n;
    const int64_t grain = row < TASK_ELEMENTS ? TASK_ELEMENTS / row : 1;
    const double work = (double)plan.outer * (double)row * ELEMENT_NS * 2;
    pe_parallel_for(ctx, plan.outer, grain, pe_threads_for(ctx, work), run_argmax, &job);
    if (!in_place) scatter(&plan, (const char *)scratch, args->out->data, sizeof(int64_t));
    pe_free(ctx, scratch);
    return PE_OK;
}
