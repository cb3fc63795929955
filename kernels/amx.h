/* amx: what the files of the AMX tier share. */
#ifndef LONGHAND_KERNELS_AMX_H
#define LONGHAND_KERNELS_AMX_H

#include "kernels/avx512.h"

#include "kernels/amx_tiles.h"

enum {
    TILE = 16,         /* rows of a tile, and numbers of 32 bits in a row */
    DEPTH = 32,        /* bf16 in a row */
    TILE_VALUES = 512, /* bf16 in a tile */
    STRIDE = 64        /* bytes from row to row of a tile that lies together */
};

/* Two vectors of floats to bf16, to nearest even. */
TEMPLATE __m512i bf16_pair(__m512 low, __m512 high)
{
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* The first 32 of `left` floats, zero beyond. */
TEMPLATE __m512i bf16_load(const float *x, size_t left)
{
    __mmask16 low = first_lanes(left), high = first_lanes(left > LANES ? left - LANES : 0);
    return bf16_pair(_mm512_maskz_loadu_ps(low, x), _mm512_maskz_loadu_ps(high, x + LANES));
}

/* Fills the table's attention: amx_attend.c. */
void attend_amx(struct kernels *kernels);

#endif
