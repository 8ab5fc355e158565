/* Tile registers: eight of 16 rows of 64 bytes, which stand in the order of kernels/amx.inc: c in 0 to 3, a in 4 (upper
 * rows) and 5 (lower), b in 6 and 7. The compiler knows nothing of them: the intrinsics take constant numbers, and do
 * not say what memory they read. A thread that is done with them says so (_tile_release), or its switches cost 8 KB. */
#ifndef PE_AMX_H
#define PE_AMX_H

#include <immintrin.h>
#include <stdint.h>

enum { AMX_ROWS = 16, AMX_STRIP = 32 };

struct amx_config {
    uint8_t palette, start_row, unused[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

/* Tiles for strips of so many rows, 1 .. 32; without more than 16, those of the lower half are not used. Two hundred
 * cycles, after which all tiles are 0. */
static void amx_enter(int rows) {
    struct amx_config config __attribute__((aligned(64))) = { .palette = 1 };
    uint8_t high = (uint8_t)(rows < AMX_ROWS ? rows : AMX_ROWS);
    uint8_t low = (uint8_t)(rows >= AMX_STRIP ? AMX_ROWS : rows > AMX_ROWS ? rows - AMX_ROWS : 1);
    const uint8_t of_each[8] = { high, high, low, low, high, low, AMX_ROWS, AMX_ROWS };
    for (int x = 0; x < 8; x++) config.bytes[x] = 64, config.rows[x] = of_each[x];
    __asm__ volatile("" : : "r"(&config) : "memory"); /* gcc takes eight bytes of it for all that is read */
    _tile_loadconfig(&config);
}

#endif
