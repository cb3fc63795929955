/* amx_tiles: the tile instructions of AMX (Intel SDM volume 1, chapter 18, and volume 2). Tests
 * compile the tier a second time with these names defined before, as the same instructions in C
 * (tests/kernels/tile_model.h), so that it is tested on CPUs without AMX.
 *
 * Tiles are 0 to 7, written as literals; each has 16 rows of 64 bytes. */
#ifndef LONGHAND_KERNELS_AMX_TILES_H
#define LONGHAND_KERNELS_AMX_TILES_H

#ifndef tile_multiply

#include <immintrin.h>
#include <stdint.h>

/* The operand of LDTILECFG: palette 1, all tiles whole. */
struct tile_configuration {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static inline void tile_configure(void)
{
    static const struct tile_configuration whole = {
        .palette = 1,
        .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {16, 16, 16, 16, 16, 16, 16, 16},
    };
    _tile_loadconfig(&whole);
}

/* Compilers do not know that tile loads read memory and stores write it. */
#define tile_order() __asm__ volatile("" ::: "memory")
#define tile_release() _tile_release()
#define tile_zero(tile) _tile_zero(tile)
#define tile_load(tile, address, stride) _tile_loadd(tile, address, stride)
#define tile_store(tile, address, stride) _tile_stored(tile, address, stride)
/* sums += a times b: bf16 in pairs. */
#define tile_multiply(sums, a, b) _tile_dpbf16ps(sums, a, b)

#endif

#endif
