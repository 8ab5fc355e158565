/* Conversion of element types: out[i] = (type of out) in[i], for every pair of types; and copies past the caches. */
#ifndef PE_KERNELS_CONVERT_H
#define PE_KERNELS_CONVERT_H

#include <stddef.h>

/* n elements, both in order, any alignment; out overlaps in nowhere.
 * bool: 0 or not 0 when read, 0 or 1 when written. */
typedef void pe_convert_loop(void *out, const void *in, size_t n);

#define PE_CONVERT_TYPES 10 /* in the order of pe_dtype */

struct pe_convert_kernels {
    pe_convert_loop *const (*loop)[PE_CONVERT_TYPES]; /* [from][to] */
    /* to = from, so many bytes, any alignment, no overlap, past the caches; what is written is there for other threads
     * once stream_end has been called. */
    void (*stream)(void *to, const void *from, size_t bytes);
    void (*stream_end)(void);
};

#endif
