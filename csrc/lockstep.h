/* Threads that take steps together: what nobody may begin before all of the step before is done. */
#ifndef PE_LOCKSTEP_H
#define PE_LOCKSTEP_H

#include "internal.h"

#define PE_LOCKSTEP_BLOCKS 32

typedef void pe_step_body(int64_t step, int block, void *arg);

/* body(step, block, arg) once for each step 0 .. steps - 1 and block 0 .. blocks - 1 (1 to PE_LOCKSTEP_BLOCKS), by up
 * to `threads` threads; all blocks of a step before any of the next. A thread keeps to the same blocks where it can, so
 * that what they read stays in its cache. Nobody waits but for a block that a running thread has taken: a caller
 * whose workers are late, asleep or elsewhere does everything alone. */
void pe_lockstep(pe_context *, int64_t steps, int blocks, int threads, pe_step_body *body, void *arg);

#endif
