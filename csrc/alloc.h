/* alloc.c, as context.c and the fork handlers see it. */
#ifndef PE_ALLOC_H
#define PE_ALLOC_H

#include "futex.h"

#include <stddef.h>

struct pe_allocator;

struct pe_allocator *pe_allocator_start(void); /* the one of this process; called once */
struct pe_lock *pe_allocator_lock(struct pe_allocator *);

/* Size classes: the bytes that a request for `bytes` gets, or 0 for an absurd size. */
size_t pe_class_bytes(size_t bytes);

#endif
