/* pe_copy: the same bytes at other places, or every element as another type. */
#include "broadcast.h"

#include <string.h>

/* nanoseconds an element, for the choice of threads: 4 bytes in and out of L2; a conversion */
static const double move_ns = 0.1, convert_ns = 0.3;

typedef struct {
    pe_convert_loop *loop;
    size_t size_out;
} conversion;

/* n copies of the element at out: what is there already is doubled */
static void repeat(char *out, size_t size, size_t n) {
    for (size_t done = 1; done < n;) {
        size_t more = done < n - done ? done : n - done;
        memcpy(out + done * size, out, more * size);
        done += more;
    }
}

static void convert_tile(const void *arg, char *const *data, const ptrdiff_t *step, size_t n) {
    const conversion *c = arg;
    c->loop(data[0], data[1], step[1] ? n : 1);
    if (!step[1]) repeat(data[0], c->size_out, n);
}

pe_status pe_copy(pe_context *ctx, const pe_copy_args *args, pe_error *err) {
    pe_walk w;
    pe_status status = pe_walk_begin(&w, "copy", args->out, &args->in, 1, err);
    if (status || !w.count) return status;
    if (args->in->dtype == args->out->dtype) {
        /* the same view: nothing to move */
        if (w.data[0] != w.data[1]) pe_walk_run(ctx, &w, move_ns, NULL, NULL);
        return PE_OK;
    }
    const conversion c = {ctx->kernels->convert.loop[args->in->dtype][args->out->dtype], (size_t)w.size[0]};
    pe_walk_run(ctx, &w, convert_ns, convert_tile, &c);
    return PE_OK;
}
