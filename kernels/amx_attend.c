/* amx_attend: attention over packed blocks by tiles of bf16.
 *
 * Scores are queries times keys, sums are weights times values; in both the right-hand side lies in
 * pairs of what is summed over, d or positions. What a product of 2 x 2 tiles reads lies together:
 *
 *   queries   (queries / 16, dim / 32, 16 queries, 32 d)
 *   keys      (positions / 32, dim / 32, 2 tiles of positions, 16 pairs of d, 16 positions, 2)
 *   weights   (rows / 16, positions / 32, 16 rows, 32 positions)
 *   values    (dim / 32, positions / 32, 2 tiles of d, 16 pairs of positions, 16 d, 2)
 *
 * 64 queries over 128 positions of 64 d are 64 products of 16 cycles for the scores and as many for
 * the sums, which is less than their exponentials take. */
#include "kernels/amx.h"

/* Tiles 0 to 3 are sums: 0 and 1 of the first rows, 2 and 3 of the second. */
struct block {
    bool rows;    /* whether there are second rows */
    bool columns; /* and second columns */
};

/* c = (c or 0) + a times b, `depth` tiles deep; a's second rows lie lda further. */
TEMPLATE void multiply_block(float *c, size_t ldc, bool add, const uint16_t *a, size_t lda,
                             const uint16_t *b, size_t depth, struct block second)
{
    size_t stride = ldc * sizeof *c;
    float *below = c + TILE * ldc;
    bool both = second.rows && second.columns;
    if (add) {
        tile_load(0, c, stride);
        if (second.columns)
            tile_load(1, c + TILE, stride);
        if (second.rows)
            tile_load(2, below, stride);
        if (both)
            tile_load(3, below + TILE, stride);
    } else {
        tile_zero(0);
        tile_zero(1);
        tile_zero(2);
        tile_zero(3);
    }
    for (size_t k = 0; k < depth; k++, a += TILE_VALUES, b += 2 * TILE_VALUES) {
        tile_load(4, a, STRIDE);
        tile_load(6, b, STRIDE);
        tile_multiply(0, 4, 6);
        if (second.columns) {
            tile_load(7, b + TILE_VALUES, STRIDE);
            tile_multiply(1, 4, 7);
        }
        if (second.rows) {
            tile_load(5, a + lda, STRIDE);
            tile_multiply(2, 5, 6);
        }
        if (both)
            tile_multiply(3, 5, 7);
    }
    tile_store(0, c, stride);
    if (second.columns)
        tile_store(1, c + TILE, stride);
    if (second.rows)
        tile_store(2, below, stride);
    if (both)
        tile_store(3, below + TILE, stride);
}

/* Two rows of 16 floats, as bf16 in pairs. */
TEMPLATE __m512i interleave(__m512 first, __m512 second)
{
    static const uint16_t order[DEPTH] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                          21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                          11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(order), bf16_pair(first, second));
}

static void pack_queries(const float *const *q, int m, size_t dim, void *packed)
{
    uint16_t *to = packed;
    for (int first = 0; first < m; first += TILE)
        for (size_t d = 0; d < dim; d += DEPTH)
            for (int i = first; i < first + TILE; i++, to += DEPTH)
                _mm512_storeu_si512(to,
                                    i < m ? bf16_load(q[i] + d, dim - d) : _mm512_setzero_si512());
}

/* 16 lanes from column j on of row `row`; zero from row `rows` on. */
TEMPLATE __m512 load_row(const void *x, size_t ld, bool half, size_t row, size_t rows, size_t j,
                         __mmask16 lanes)
{
    return row < rows ? load16(x, row * ld + j, half, lanes) : _mm512_setzero_ps();
}

/* A tile of 16 pairs of rows from `row` on and 16 columns from j on. */
TEMPLATE void pack_tile(const void *x, size_t ld, bool half, size_t row, size_t rows, size_t j,
                        __mmask16 lanes, uint16_t *tile)
{
    for (size_t r = row; r < row + DEPTH; r += 2, tile += DEPTH)
        _mm512_storeu_si512(tile, interleave(load_row(x, ld, half, r, rows, j, lanes),
                                             load_row(x, ld, half, r + 1, rows, j, lanes)));
}

static void pack_keys(const void *keys, size_t ldk, enum format format, size_t n, size_t dim,
                      void *packed)
{
    bool half = format == FORMAT_F16;
    uint16_t *to = packed;
    for (size_t j = 0; j < n; j += 2 * TILE)
        for (size_t d = 0; d < dim; d += DEPTH)
            for (size_t v = 0; v < 2 * TILE; v += TILE, to += TILE_VALUES)
                pack_tile(keys, ldk, half, d, dim, j + v, ALL_LANES, to);
}

/* Positions up to the next multiple of 32 are zeros: their weights are, but rubbish may be a NaN.
 */
static void pack_values(const void *values, enum format format, size_t n, size_t dim, void *packed)
{
    bool half = format == FORMAT_F16;
    for (size_t d = 0; d < dim; d += 2 * TILE) {
        uint16_t *to = (uint16_t *)packed + d * PACKED_POSITIONS;
        __mmask16 low = first_lanes(dim - d);
        __mmask16 high = first_lanes(dim - d > LANES ? dim - d - LANES : 0);
        for (size_t j = 0; j < n; j += DEPTH, to += 2 * TILE_VALUES) {
            pack_tile(values, dim, half, j, n, d, low, to);
            pack_tile(values, dim, half, j, n, d + LANES, high, to + TILE_VALUES);
        }
    }
}

static void packed_scores(float *scores, size_t lds, const void *q, int m, const void *keys,
                          size_t n, size_t dim)
{
    size_t depth = (dim + DEPTH - 1) / DEPTH;
    const uint16_t *b = keys;
    tile_configure();
    tile_order();
    for (size_t j = 0; j < n; j += 2 * TILE, b += 2 * depth * TILE_VALUES) {
        const uint16_t *a = q;
        for (int i = 0; i < m; i += 2 * TILE, a += 2 * depth * TILE_VALUES) {
            float *c = scores + (size_t)i * lds + j;
            struct block second = {.rows = m - i > TILE, .columns = n - j > TILE};
            multiply_block(c, lds, false, a, depth * TILE_VALUES, b, depth, second);
        }
    }
    tile_order();
    tile_release();
}

/* p as packed tiles, zero beyond row m and position n. */
static void pack_weights(const float *p, size_t ldp, int m, size_t n, uint16_t *tiles)
{
    for (int first = 0; first < m; first += TILE)
        for (size_t j = 0; j < n; j += DEPTH)
            for (int i = first; i < first + TILE; i++, tiles += DEPTH)
                _mm512_storeu_si512(tiles, i < m ? bf16_load(p + (size_t)i * ldp + j, n - j)
                                                 : _mm512_setzero_si512());
}

static void packed_values(float *out, size_t ldo, const float *p, size_t ldp, int m,
                          const void *values, size_t n, size_t dim)
{
    _Alignas(64) uint16_t weights[PACKED_QUERIES * PACKED_POSITIONS];
    size_t depth = (n + DEPTH - 1) / DEPTH;
    pack_weights(p, ldp, m, n, weights);
    tile_configure();
    tile_order();
    for (size_t d = 0; d < dim; d += 2 * TILE) {
        const uint16_t *a = weights;
        const uint16_t *b = (const uint16_t *)values + d * PACKED_POSITIONS;
        for (int i = 0; i < m; i += 2 * TILE, a += 2 * depth * TILE_VALUES) {
            float *c = out + (size_t)i * ldo + d;
            struct block second = {.rows = m - i > TILE, .columns = dim - d > TILE};
            multiply_block(c, ldo, true, a, depth * TILE_VALUES, b, depth, second);
        }
    }
    tile_order();
    tile_release();
}

void attend_amx(struct kernels *kernels)
{
    kernels->pack_queries = pack_queries;
    kernels->pack_keys = pack_keys;
    kernels->pack_values = pack_values;
    kernels->packed_scores = packed_scores;
    kernels->packed_values = packed_values;
}
