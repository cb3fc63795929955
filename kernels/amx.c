/* amx: many tokens on CPUs with AMX, whose TDPBF16PS multiplies a tile of 16 rows and 32 columns of
 * bf16 with one of 32 columns and 16 tokens. (Intel SDM volume 2; optimization manual, chapter on
 * AMX.)
 *
 * One product takes 16 cycles; a tile is loaded in 8 from the first-level cache (64 bytes on each
 * of two ports) and in some 21 from the second (48 bytes a cycle). Two tiles of rows times two of
 * tokens are four products for four loads: 64 cycles against 32 or, where the tokens come from the
 * second level, 58. So a panel of 32 rows must stay in the first level, and as much again of tokens
 * passes through it: 320 columns are 20 KiB each of 48. Sums go to the second level and back once
 * in these 640 cycles.
 *
 * Integers (TDPBSSD) would be twice as fast, were it not for the scales: a group of 32 fills half a
 * tile's depth, and after each product 256 sums would have to be converted, scaled and added, which
 * takes longer than the product. bf16 serves all formats alike. */
#include "kernels/amx.h"

/* --- activations -------------------------------------------------------------------------- */

static void tiles_pack(const float *x, size_t ldx, int tokens, size_t n, uint16_t *tiles)
{
    for (size_t k = 0; k < n; k += DEPTH) {
        for (int t0 = 0; t0 < TILES_TOKENS; t0 += TILE, tiles += TILE_VALUES) {
            __m512i r[TILE];
            UNROLL
            for (int t = 0; t < TILE; t++)
                r[t] = t0 + t < tokens ? bf16_load(x + (size_t)(t0 + t) * ldx + k, n - k)
                                       : _mm512_setzero_si512();
            transpose(r);
            UNROLL
            for (int pair = 0; pair < TILE; pair++)
                _mm512_storeu_si512(tiles + pair * DEPTH, r[pair]);
        }
    }
}

/* --- weights ------------------------------------------------------------------------------ */

/* Where row `row` of a panel begins; its next 32 columns are two tiles further. */
TEMPLATE uint16_t *panel_line(uint16_t *panel, int row)
{
    return panel + row * DEPTH;
}

static void tiles_row_f32(const float *w, size_t n, int row, uint16_t *panel)
{
    uint16_t *line = panel_line(panel, row);
    for (size_t k = 0; k < n; k += DEPTH, line += 2 * TILE_VALUES)
        _mm512_storeu_si512(line, bf16_load(w + k, n - k));
}

/* Not fused: bit for bit the weights of format.h, before they are rounded. */
TEMPLATE __m512 floats_from_q8(const int8_t *q, const float *scale, const float *min)
{
    __m512 x = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)q)));
    x = _mm512_mul_ps(x, _mm512_set1_ps(*scale));
    return min ? _mm512_add_ps(x, _mm512_set1_ps(*min)) : x;
}

/* `halves`: groups in 32 columns. */
TEMPLATE void row_q8(const int8_t *q, const float *scale, const float *min, size_t n, size_t halves,
                     uint16_t *line)
{
    for (size_t k = 0; k < n; k += DEPTH, line += 2 * TILE_VALUES) {
        size_t last = halves - 1;
        __m512 low = floats_from_q8(q + k, scale, min);
        __m512 high = floats_from_q8(q + k + LANES, scale + last, min ? min + last : NULL);
        _mm512_storeu_si512(line, bf16_pair(low, high));
        scale += halves;
        min = min ? min + halves : NULL;
    }
}

static void tiles_row_q8(const int8_t *q, const float *scale, const float *min, size_t n, int group,
                         int row, uint16_t *panel)
{
    uint16_t *line = panel_line(panel, row);
    if (group == 32 && !min)
        row_q8(q, scale, NULL, n, 1, line);
    else if (group == 32)
        row_q8(q, scale, min, n, 1, line);
    else if (!min)
        row_q8(q, scale, NULL, n, 2, line);
    else
        row_q8(q, scale, min, n, 2, line);
}

/* --- products -----------------------------------------------------------------------------
 *
 * Tiles 0 to 3 are sums: rows 0, rows 0 with tokens 1, rows 1 with tokens 0, both 1. Tiles 4 and 5
 * are rows, 6 and 7 tokens. Without a second tile of tokens 1, 3 and 7 are not touched. */

enum { SUMS = TILE * TILE };

TEMPLATE void load_sums(const float *sums, bool begin, bool both)
{
    if (begin) {
        tile_zero(0);
        tile_zero(2);
        if (both) {
            tile_zero(1);
            tile_zero(3);
        }
        return;
    }
    tile_load(0, sums, STRIDE);
    tile_load(2, sums + 2 * SUMS, STRIDE);
    if (both) {
        tile_load(1, sums + SUMS, STRIDE);
        tile_load(3, sums + 3 * SUMS, STRIDE);
    }
}

TEMPLATE void store_sums(float *sums, bool both)
{
    tile_store(0, sums, STRIDE);
    tile_store(2, sums + 2 * SUMS, STRIDE);
    if (both) {
        tile_store(1, sums + SUMS, STRIDE);
        tile_store(3, sums + 3 * SUMS, STRIDE);
    }
}

/* Lines [begin, end) of two tiles of tokens. */
TEMPLATE void prefetch_lines(const uint16_t *x, size_t begin, size_t end)
{
    for (size_t line = begin; line < end; line++)
        _mm_prefetch((const char *)(x + line * DEPTH), _MM_HINT_T1);
}

/* Two steps ahead is far enough for the second-level cache. */
enum { AHEAD = 2, LINES = 2 * TILE };

TEMPLATE void product(const uint16_t *panel, const uint16_t *x, size_t depth, bool begin, bool both,
                      size_t from, size_t to, float *sums)
{
    const uint16_t *later = x + depth * 2 * TILE_VALUES;
    load_sums(sums, begin, both);
    for (size_t k = 0; k < depth; k++, panel += 2 * TILE_VALUES, x += 2 * TILE_VALUES) {
        tile_load(4, panel, STRIDE);
        tile_load(6, x, STRIDE);
        tile_multiply(0, 4, 6);
        tile_load(5, panel + TILE_VALUES, STRIDE);
        tile_multiply(2, 5, 6);
        if (both) {
            tile_load(7, x + TILE_VALUES, STRIDE);
            tile_multiply(1, 4, 7);
            tile_multiply(3, 5, 7);
        }
        for (int line = 0; line < LINES; line++)
            _mm_prefetch((const char *)(x + AHEAD * 2 * TILE_VALUES + line * DEPTH), _MM_HINT_T0);
        prefetch_lines(later + k * 2 * TILE_VALUES, from, to);
    }
    store_sums(sums, both);
}

static void tiles_product(const uint16_t *panel, const uint16_t *x, size_t depth, int tokens,
                          bool begin, int part, int parts, float *sums)
{
    size_t from = (size_t)(LINES * part / parts), to = (size_t)(LINES * (part + 1) / parts);
    tile_order();
    if (tokens > TILE)
        product(panel, x, depth, begin, true, from, to, sums);
    else
        product(panel, x, depth, begin, false, from, to, sums);
    tile_order();
}

static void tiles_sums(const float *sums, int tokens, int rows, float *y, size_t ldy)
{
    for (int t0 = 0; t0 < tokens; t0 += TILE, y += TILE * ldy) {
        for (int r0 = 0; r0 < rows; r0 += TILE) {
            const float *tile =
                sums + (t0 / TILES_TOKENS) * 4 * SUMS + (2 * (r0 / TILE) + t0 / TILE % 2) * SUMS;
            __mmask16 lanes = first_lanes((size_t)(rows - r0));
            __m512i r[TILE];
            UNROLL
            for (int i = 0; i < TILE; i++)
                r[i] = _mm512_loadu_si512(tile + i * TILE);
            transpose(r);
            UNROLL
            for (int t = 0; t < TILE; t++)
                if (t0 + t < tokens)
                    _mm512_mask_storeu_epi32(y + (size_t)t * ldy + r0, lanes, r[t]);
        }
    }
}

static void tiles_begin(void)
{
    tile_configure();
}

static void tiles_end(void)
{
    tile_release();
}

/* Four sums in turn, so that none waits for itself. */
static double peak_tiles(size_t rounds)
{
    tile_configure();
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    tile_zero(4);
    tile_zero(5);
    tile_zero(6);
    tile_zero(7);
    for (size_t r = 0; r < rounds; r++) {
        tile_multiply(0, 4, 6);
        tile_multiply(1, 4, 7);
        tile_multiply(2, 5, 6);
        tile_multiply(3, 5, 7);
    }
    tile_release();
    return (double)rounds * 4 * TILE * TILE * DEPTH;
}

void kernels_amx(struct kernels *kernels)
{
    kernels->name = "amx";
    kernels->tiles_begin = tiles_begin;
    kernels->tiles_end = tiles_end;
    kernels->tiles_pack = tiles_pack;
    kernels->tiles_row_q8 = tiles_row_q8;
    kernels->tiles_row_f32 = tiles_row_f32;
    kernels->tiles_product = tiles_product;
    kernels->tiles_sums = tiles_sums;
    attend_amx(kernels);
    kernels->peak_tiles = peak_tiles;
}
