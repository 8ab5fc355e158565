/* A tensor as rows along its last axis, for kernels that want each row dense. */
#ifndef PE_ROWS_H
#define PE_ROWS_H

#include "internal.h"

struct pe_rows {
    char *data;
    int64_t count, n;         /* rows, elements of a row */
    int outer;                /* collapsed outer axes */
    int64_t size[PE_MAX_DIMS], stride[PE_MAX_DIMS];
    const pe_tensor *origin;
    pe_tensor dense;          /* view of scratch, where the origin's rows have gaps */
    void *scratch;
};

/* refuses all but float32 of one axis or more and the shape of `model` */
pe_status pe_rows_check(const char *operation, const char *argument, const pe_tensor *t, const pe_tensor *model,
                        pe_error *);

/* refuses all but float32 of two axes; and numbers (one axis, int64) outside 0 .. limit-1 that are not `skip` */
pe_status pe_rows_check_matrix(const char *operation, const char *argument, const pe_tensor *t, pe_error *);
pe_status pe_rows_check_numbers(const char *operation, const pe_tensor *index, int64_t limit, int64_t skip, pe_error *);

/* t is float32 of one axis or more. Rows with gaps are copied to scratch memory: at once for an
 * input, by pe_rows_close for an output. Every opened view is closed, also after errors. */
pe_status pe_rows_open_input(pe_context *, struct pe_rows *, const pe_tensor *t, pe_error *);
pe_status pe_rows_open_output(pe_context *, struct pe_rows *, const pe_tensor *t, pe_error *);
pe_status pe_rows_close(pe_context *, struct pe_rows *, int copy_back, pe_error *);

static inline float *pe_row(const struct pe_rows *r, int64_t index) {
    char *at = r->data;
    for (int i = r->outer - 1; i > 0; i--) {
        at += index % r->size[i] * r->stride[i];
        index /= r->size[i];
    }
    return (float *)(r->outer ? at + index * r->stride[0] : at);
}

/* body(begin, end, arg) over row numbers, on as many threads as element_ns an element deserve; ranges of
 * about 16k elements, from the shape alone. */
void pe_rows_for(pe_context *, const struct pe_rows *, double element_ns, pe_range_body *body, void *arg);

#endif
