/* CHECK(condition) counts, and prints file, line and condition when it does not hold. */
#ifndef PE_CHECK_H
#define PE_CHECK_H

#include <stdio.h>

static long checks_made, checks_failed;

#define CHECK(condition) \
    do { \
        checks_made++; \
        if (!(condition)) { \
            checks_failed++; \
            fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition); \
        } \
    } while (0)

/* The last line of main: one line of output, and the exit status. */
static inline int check_report(void) {
    if (checks_failed)
        printf("FAILED: %ld of %ld checks\n", checks_failed, checks_made);
    else
        printf("ok: %ld checks\n", checks_made);
    return checks_failed != 0;
}

#endif
