/* Products whose operands lie in words of four bytes along k: four bytes, or two bfloat16. The tile and what floor 2
 * must know to feed it; qgemm.h (bytes) and half.h (bfloat16) say what a word's product is. */
#ifndef PE_KERNELS_DOT_H
#define PE_KERNELS_DOT_H

#include <stddef.h>
#include <stdint.h>

/* Upper bound over all levels, of one panel's columns. */
#define PE_DOT_MAX_COLUMNS 64

struct pe_dot_tile;
/* `rows` rows of words from row y of the tile's rows on are finished; they lie at `from`, nr words apart. */
typedef void pe_dot_finish(const struct pe_dot_tile *, const int32_t *from, int y, int rows);

/* c[i,j] += sum over g < groups of the product of word g of a's row i and word [g, j] of b, for i < rows (1 .. mr) and
 * the columns of `vectors` vectors. a: packed rows, a_row bytes apart; b: a panel, group g at b + 4 g nr;
 * c[i*c_row + j]. The sum starts at c when from_c is set, else at -zero[i] * sums[j] (bytes alone; at 0 when zero is
 * NULL). c overlaps nothing. No tail: the caller pads columns, and groups to a multiple of `deep`.
 *
 * Kernels with a `strip` take all of a task's rows at once, at c_row = nr and vectors for all of nr, start at c or 0,
 * and hand rows on while they go: with `finish` set, and then without from_c, c is memory of one strip only.
 *
 * Every `turn` groups (of every strip) the next ahead_lines lines of memory from ahead on are asked for. */
struct pe_dot_tile {
    size_t groups;
    int rows, vectors, from_c;
    const uint8_t *a;
    ptrdiff_t a_row;
    const int8_t *b;
    int32_t *c;
    ptrdiff_t c_row;
    const int32_t *zero, *sums;
    const int8_t *ahead;
    int ahead_lines;
    pe_dot_finish *finish;
    const void *who; /* finish's own */
};

struct pe_dot_kernels {
    int mr, nr;  /* rows and columns of the tile; nr is a multiple of 16 */
    int group;   /* bytes of a packed word of a */
    int deep;    /* groups that are taken at once: packs hold whole multiples */
    int strip;   /* rows that are at work at a time where the tile takes any number; 0: the tile takes mr */
    int turn;    /* groups */
    int depth;   /* groups of a panel's block that its rows meet one after the other, from L1 (strip) or L2 */
    double rate; /* words of products a nanosecond, about: for the choice of threads */
    void (*tile)(const struct pe_dot_tile *);
    /* before a thread's tiles of so many rows (of a strip at most) and after its last; NULL: nothing to do */
    void (*enter)(int rows);
    void (*leave)(void);
};

#endif
