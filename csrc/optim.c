/* pe_optim_step: one call walks all tensors. They count as one long sequence of elements, which
 * is cut into chunks: many tiny tensors share a chunk, a big one is shared by threads. */
#include "internal.h"

#include <string.h>

/* 16k elements of Adam are 450 KB of traffic: some 10 us, well above the cost of a hand-over */
enum { CHUNK = 16384, PIECES = 64 };
static const double ELEMENT_NS = 0.4; /* Adam from L2, the dearest rule */

static const pe_optim_info rules[] = {
#define HYPER_NAME(name) #name,
#define HYPER_ONE(name) +1
#define OPTIM(name, states, HYPER, DERIVED, ...) \
    {#name, states, 0 HYPER(HYPER_ONE), {HYPER(HYPER_NAME)}},
#include "kernels/optim.def"
#undef OPTIM
};

int pe_optim_count(void) { return PE_OPTIM_RULES; }

int pe_optim_find(const char *name) {
    for (int rule = 0; rule < PE_OPTIM_RULES; rule++)
        if (!strcmp(name, rules[rule].name)) return rule;
    return -1;
}

const pe_optim_info *pe_optim_describe(int rule) {
    return rule >= 0 && rule < PE_OPTIM_RULES ? &rules[rule] : NULL;
}

struct optim_job {
    const pe_optim_args *args;
    pe_optim_kernel *step;
    const int64_t *starts; /* slot i holds elements starts[i] .. starts[i+1]-1 of the sequence */
};

/* the last slot that starts at or before the element */
static int64_t slot_of(const struct optim_job *job, int64_t element) {
    int64_t low = 0, high = job->args->count;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (job->starts[middle] <= element) low = middle;
        else high = middle;
    }
    return low;
}

static float *shifted(float *p, int64_t by) { return p ? p + by : NULL; }

static void run_elements(int64_t begin, int64_t end, void *arg) {
    const struct optim_job *job = arg;
    struct pe_optim_piece pieces[PIECES];
    size_t count = 0;
    for (int64_t i = slot_of(job, begin); begin < end; i++) {
        const pe_optim_slot *slot = job->args->slots + i;
        int64_t skip = begin - job->starts[i];
        int64_t stop = job->starts[i + 1] < end ? job->starts[i + 1] : end;
        if (stop == begin) continue;
        pieces[count++] = (struct pe_optim_piece){
            slot->param + skip, slot->grad + skip, shifted(slot->state[0], skip),
            shifted(slot->state[1], skip), shifted(slot->state[2], skip), (size_t)(stop - begin)};
        begin = stop;
        if (count == PIECES || begin == end) {
            job->step(pieces, count, job->args->hyper);
            count = 0;
        }
    }
}

static pe_status check_slots(const pe_optim_args *args, const pe_optim_info *rule, int64_t *starts,
                             pe_error *err) {
    int64_t total = 0;
    for (int64_t i = 0; i < args->count; i++) {
        const pe_optim_slot *slot = args->slots + i;
        starts[i] = total;
        if (slot->n < 0 || __builtin_add_overflow(total, slot->n, &total))
            return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: slot %lld has %lld elements", rule->name,
                           (long long)i, (long long)slot->n);
        if (slot->n == 0) continue;
        if (!slot->param || !slot->grad)
            return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: slot %lld has no %s", rule->name, (long long)i,
                           slot->param ? "grad" : "param");
        for (int s = 0; s < rule->states; s++)
            if (!slot->state[s])
                return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: slot %lld has no state[%d], the rule keeps %d",
                               rule->name, (long long)i, s, rule->states);
    }
    starts[args->count] = total;
    return PE_OK;
}

pe_status pe_optim_step(pe_context *ctx, const pe_optim_args *args, pe_error *err) {
    const pe_optim_info *rule = pe_optim_describe(args->rule);
    if (!rule) return pe_fail(err, PE_ERR_ARGUMENT, -1, "optim_step: there is no rule number %d", args->rule);
    if (args->count < 0)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: count is %lld", rule->name, (long long)args->count);
    if (args->count == 0) return PE_OK;
    size_t bytes;
    if (__builtin_mul_overflow((size_t)args->count + 1, sizeof(int64_t), &bytes))
        return pe_fail(err, PE_ERR_MEMORY, -1, "%s: no memory for %lld slots", rule->name,
                       (long long)args->count);
    int64_t *starts = pe_alloc(ctx, bytes);
    if (!starts)
        return pe_fail(err, PE_ERR_MEMORY, -1, "%s: no memory for %lld slots", rule->name,
                       (long long)args->count);
    pe_status status = check_slots(args, rule, starts, err);
    if (!status) {
        struct optim_job job = {args, ctx->kernels->optim.step[args->rule], starts};
        const int64_t total = starts[args->count];
        pe_parallel_for(ctx, total, CHUNK, pe_threads_for(ctx, (double)total * ELEMENT_NS), run_elements,
                        &job);
    }
    pe_free(ctx, starts);
    return status;
}
