/* gemv_avx2: rows of weights times one to eight vectors with AVX2, FMA and F16C: generation.
 * Weights are decoded into registers and multiplied there with every token; nothing but results is
 * stored.
 *
 * A step is eight vectors of 32 weights. VPMADDUBSW multiplies unsigned by signed bytes and adds
 * pairs in 16 bits. Stored weights have at most six bits and are multiplied as they are; signed
 * ones as |w| times x with the sign of w: pairs are at most 2 * 128 * 127. Sums of groups are exact
 * integers; what remains are three operations with the scales.
 *
 * A group's sum comes together in one of two ways. For one token a tree of shuffles and additions
 * does it. For several the weights are transposed once, and the activations, once for all rows:
 * vector c holds the fours c of the groups, whose sums then grow in places of their own. Both end
 * in the same vector, so that a token's results have the same bits alone and among others. */
#include "kernels/avx2.h"
#include "kernels/scales_avx2.h"

enum {
    VECTORS = 8,         /* of 32 weights in a step */
    STEP = 32 * VECTORS, /* weights */
    ROW_BLOCK = 16,      /* rows for which sums are kept */
    X_VECTORS = 2048,    /* room for activations: 64 KiB */
    X_NEAR = 512,        /* of them, what stays in the first-level cache: 16 KiB */
};

/* How a format is read; constants all, which inlining dissolves. */
struct reader {
    size_t bytes; /* of a block */
    bool blocks;  /* of 256 weights, one in a step; otherwise eight of 32 */
    size_t group;
    int offset;
    bool is_signed; /* weights */
    bool has_min;
    int run; /* vectors of products that may be added in 16 bits */
    decode_part *part;
    decode_scales *scales; /* of blocks of 256 */
};

TEMPLATE size_t step_bytes(const struct reader *f)
{
    return f->blocks ? f->bytes : VECTORS * f->bytes;
}

/* --- weights ------------------------------------------------------------------------------- */

/* Vector k of a step; zeros past the `units` ones that there are. */
TEMPLATE __m256i weights(const struct reader *f, const uint8_t *w, size_t units, int k)
{
    if ((size_t)k >= units)
        return _mm256_setzero_si256();
    return f->blocks ? f->part(w, k) : f->part(w + (size_t)k * f->bytes, 0);
}

/* The first four bytes of block i in all lanes, zeros if there is none. */
TEMPLATE __m256i head(const uint8_t *w, size_t bytes, size_t units, size_t i)
{
    int four = 0;
    if (i < units)
        memcpy(&four, w + i * bytes, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Blocks of 32 begin with d, or d and m: those of `units` <= 8 blocks, zeros beyond. */
TEMPLATE void scales_32(const struct reader *f, const uint8_t *w, size_t units, __m256 *scale,
                        __m256 *min)
{
#define HEAD(i) head(w, f->bytes, units, i)
    /* a tree, and loads that broadcast: neither waits for the shuffling port */
    __m256i a = _mm256_blend_epi32(HEAD(0), HEAD(1), 0x02);
    __m256i b = _mm256_blend_epi32(HEAD(2), HEAD(3), 0x08);
    __m256i c = _mm256_blend_epi32(HEAD(4), HEAD(5), 0x20);
    __m256i d = _mm256_blend_epi32(HEAD(6), HEAD(7), 0x80);
#undef HEAD
    __m256i heads =
        _mm256_blend_epi32(_mm256_blend_epi32(a, b, 0x0C), _mm256_blend_epi32(c, d, 0xC0), 0xF0);
    const __m256i words = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    heads = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(heads, words), 0xD8);
    *scale = _mm256_cvtph_ps(_mm256_castsi256_si128(heads));
    if (f->has_min)
        *min = _mm256_cvtph_ps(_mm256_extracti128_si256(heads, 1));
}

TEMPLATE void step_scales(const struct reader *f, const uint8_t *w, size_t units, __m256 scale[2],
                          __m256 min[2])
{
    if (f->blocks)
        f->scales(w, scale, min);
    else
        scales_32(f, w, units, scale, min);
}

/* --- sums ---------------------------------------------------------------------------------- */

/* Products added by pairs in 16 bits. */
TEMPLATE __m256i multiply_bytes(const struct reader *f, __m256i w, __m256i x)
{
    return f->is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                        : _mm256_maddubs_epi16(w, x);
}

/* In each 128 bits: the sum of a's 32-bit units 0 and 2, of b's, of a's 1 and 3, of b's. */
TEMPLATE __m256i merge(__m256i a, __m256i b, bool words)
{
    __m256i low = _mm256_unpacklo_epi32(a, b), high = _mm256_unpackhi_epi32(a, b);
    return words ? _mm256_add_epi16(low, high) : _mm256_add_epi32(low, high);
}

TEMPLATE __m256i add_pairs(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/* In each 128 bits, the sums there of products of vectors 4 h .. 4 h + 3: a tree. */
TEMPLATE __m256i sums_by_tree(const struct reader *f, const uint8_t *w, size_t units,
                              const int8_t *x, int h)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i v[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        int k = 4 * h + i;
        v[i] = _mm256_setzero_si256();
        if ((size_t)k < units)
            v[i] = multiply_bytes(f, weights(f, w, units, k), load256(x + 32 * k));
        if (f->is_signed)
            v[i] = _mm256_madd_epi16(v[i], ones);
    }
    __m256i ab = merge(v[0], v[1], !f->is_signed), cd = merge(v[2], v[3], !f->is_signed);
    if (!f->is_signed) {
        ab = _mm256_madd_epi16(ab, ones);
        cd = _mm256_madd_epi16(cd, ones);
    }
    return add_pairs(ab, cd);
}

/* In each 128 bits, unit c of v[i] to unit i of v[c]. */
TEMPLATE void transpose(__m256i v[4])
{
    __m256i ab01 = _mm256_unpacklo_epi32(v[0], v[1]), ab23 = _mm256_unpackhi_epi32(v[0], v[1]);
    __m256i cd01 = _mm256_unpacklo_epi32(v[2], v[3]), cd23 = _mm256_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm256_unpacklo_epi64(ab01, cd01);
    v[1] = _mm256_unpackhi_epi64(ab01, cd01);
    v[2] = _mm256_unpacklo_epi64(ab23, cd23);
    v[3] = _mm256_unpackhi_epi64(ab23, cd23);
}

/* The same of transposed weights and activations. */
TEMPLATE __m256i sums_in_places(const struct reader *f, const __m256i v[4], const __m256i x[4])
{
    __m256i sum = _mm256_setzero_si256();
    UNROLL
    for (int c = 0; c < 4; c += f->run) {
        __m256i pairs = multiply_bytes(f, v[c], x[c]);
        for (int i = c + 1; i < c + f->run; i++)
            pairs = _mm256_add_epi16(pairs, multiply_bytes(f, v[i], x[i]));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    return sum;
}

/* total += x.scale * (scale * (sums - offset * x.sum) -+ min * x.sum) for eight groups. */
TEMPLATE void add_groups(const struct reader *f, __m256i sums, __m256 scale, __m256 min,
                         struct q8_row x, size_t left, __m256 *total)
{
    __m256i x_sum =
        left >= 8 ? load256(x.sum) : _mm256_maskload_epi32((const int *)x.sum, first_lanes(left));
    if (f->offset)
        sums = _mm256_sub_epi32(sums, _mm256_mullo_epi32(x_sum, _mm256_set1_epi32(f->offset)));
    __m256 term = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale);
    if (f->has_min && f->blocks)
        term = _mm256_fnmadd_ps(min, _mm256_cvtepi32_ps(x_sum), term);
    else if (f->has_min)
        term = _mm256_fmadd_ps(min, _mm256_cvtepi32_ps(x_sum), term);
    *total = _mm256_fmadd_ps(term, load_f32(x.scale, left), *total);
}

/* A step of `units` vectors: low has the sums of vectors 0..3 in each 128 bits, high of 4..7. */
TEMPLATE void add_step(const struct reader *f, __m256i low, __m256i high, const __m256 scale[2],
                       const __m256 min[2], size_t units, struct q8_row x, __m256 *total)
{
    if (f->group == 32) {
        __m256i sums = _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20),
                                        _mm256_permute2x128_si256(low, high, 0x31));
        add_groups(f, sums, scale[0], min[0], x, units, total);
    } else { /* from groups 0 2 4 6 | 1 3 5 7 and so on */
        const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        add_groups(f, _mm256_permutevar8x32_epi32(low, order), scale[0], min[0], x, 8, total);
        x = (struct q8_row){x.q, x.scale + 8, x.sum + 8};
        add_groups(f, _mm256_permutevar8x32_epi32(high, order), scale[1], min[1], x, 8, total);
    }
}

TEMPLATE struct q8_row x_at(const struct reader *f, struct q8_row x, size_t k)
{
    return (struct q8_row){x.q + k, x.scale + k / f->group, x.sum + k / f->group};
}

/* --- one token ----------------------------------------------------------------------------- */

TEMPLATE void step_of_one(const struct reader *f, const uint8_t *w, size_t units, struct q8_row x,
                          __m256 *total)
{
    __m256i low = sums_by_tree(f, w, units, x.q, 0), high = sums_by_tree(f, w, units, x.q, 1);
    __m256 scale[2], min[2];
    step_scales(f, w, units, scale, min);
    add_step(f, low, high, scale, min, units, x, total);
}

TEMPLATE void multiply_one(const struct reader *f, const uint8_t *data, size_t row_bytes,
                           size_t rows, size_t n, struct q8_row x, float *y)
{
    for (size_t r = 0; r < rows; r++, data += row_bytes) {
        const uint8_t *w = data;
        __m256 total = _mm256_setzero_ps();
        size_t k = 0;
        for (; n - k >= STEP; k += STEP, w += step_bytes(f)) {
            prefetch(w, step_bytes(f));
            step_of_one(f, w, VECTORS, x_at(f, x, k), &total);
        }
        if (!f->blocks && k < n)
            step_of_one(f, w, (n - k) / 32, x_at(f, x, k), &total);
        y[r] = sum8(total);
    }
}

/* --- several tokens ------------------------------------------------------------------------ */

/* Columns [k, end), transposed, step by step and within a step token by token. */
TEMPLATE void lay_out(const struct vector *x, int tokens, size_t k, size_t end, __m256i *to)
{
    for (; k < end; k += STEP)
        for (int t = 0; t < tokens; t++, to += VECTORS) {
            if (end - k < STEP)
                memset(to, 0, VECTORS * sizeof *to);
            memcpy(to, x[t].q8.q + k, end - k < STEP ? end - k : STEP);
            transpose(to);
            transpose(to + 4);
        }
}

/* total[t * ROW_BLOCK] += a step of weights times that of every token: x, and from column k on of
 * q8. */
TEMPLATE void step_of_several(const struct reader *f, const uint8_t *w, size_t units,
                              const __m256i *x, const struct vector *q8, int tokens, size_t k,
                              __m256 *total)
{
    __m256i v[VECTORS];
    __m256 scale[2], min[2];
    UNROLL
    for (int i = 0; i < VECTORS; i++)
        v[i] = weights(f, w, units, i);
    transpose(v);
    transpose(v + 4);
    step_scales(f, w, units, scale, min);
    for (int t = 0; t < tokens; t++, x += VECTORS, total += ROW_BLOCK)
        add_step(f, sums_in_places(f, v, x), sums_in_places(f, v + 4, x + 4), scale, min, units,
                 x_at(f, q8[t].q8, k), total);
}

/* Columns [k, end) of a row. */
TEMPLATE void row_of_several(const struct reader *f, const uint8_t *w, const __m256i *x,
                             const struct vector *q8, int tokens, size_t k, size_t end,
                             __m256 *total)
{
    for (; end - k >= STEP; k += STEP, w += step_bytes(f), x += VECTORS * tokens) {
        prefetch(w, step_bytes(f));
        step_of_several(f, w, VECTORS, x, q8, tokens, k, total);
    }
    if (!f->blocks && k < end)
        step_of_several(f, w, (end - k) / 32, x, q8, tokens, k, total);
}

/* As many columns at a time as stay in the cache for all tokens; all of them are laid out once if
 * there is room, and otherwise for every block of rows. */
TEMPLATE void multiply_several(const struct reader *f, const uint8_t *w, size_t row_bytes,
                               size_t rows, size_t n, const struct vector *x, int tokens, float *y,
                               size_t ldy)
{
    __m256i laid_out[X_VECTORS];
    __m256 total[ROW_TOKENS_MAX * ROW_BLOCK];
    size_t step_vectors = VECTORS * (size_t)tokens, chunk = X_NEAR / step_vectors * STEP;
    bool all = (n + STEP - 1) / STEP * step_vectors <= X_VECTORS;
    for (size_t r0 = 0; r0 < rows; r0 += ROW_BLOCK) {
        size_t count = rows - r0 < ROW_BLOCK ? rows - r0 : ROW_BLOCK;
        for (int i = 0; i < tokens * ROW_BLOCK; i++)
            total[i] = _mm256_setzero_ps();
        for (size_t k = 0; k < n; k += chunk) {
            size_t end = n - k < chunk ? n : k + chunk;
            __m256i *near = laid_out + (all ? k / STEP * step_vectors : 0);
            if (r0 == 0 || !all)
                lay_out(x, tokens, k, end, near);
            const uint8_t *at = w + r0 * row_bytes + k / STEP * step_bytes(f);
            for (size_t r = 0; r < count; r++, at += row_bytes)
                row_of_several(f, at, near, x, tokens, k, end, total + r);
        }
        for (size_t t = 0; t < (size_t)tokens; t++)
            for (size_t r = 0; r < count; r++)
                y[t * ldy + r0 + r] = sum8(total[t * ROW_BLOCK + r]);
    }
}

#define ROWS(name, block, size, ...)                                                           \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,            \
                            const struct vector *x, int tokens, float *y, size_t ldy)          \
    {                                                                                          \
        const struct reader f = {                                                              \
            .bytes = sizeof(struct block), .group = size, .part = decode_##name, __VA_ARGS__}; \
        if (tokens == 1)                                                                       \
            multiply_one(&f, w, row_bytes, rows, n, x->q8, y);                                 \
        else                                                                                   \
            multiply_several(&f, w, row_bytes, rows, n, x, tokens, y, ldy);                    \
    }

/* Blocks of 256. */
#define ROWS_K(name, size, ...) \
    ROWS(name, block_##name, size, .blocks = true, .scales = __VA_ARGS__)

ROWS(q4_0, block_q4_0, 32, .offset = OFFSET_Q4_0, .run = 4)
ROWS(q4_1, block_q4_1, 32, .has_min = true, .run = 4)
ROWS(q5_0, block_q5_0, 32, .offset = OFFSET_Q5_0, .run = 4)
ROWS(q5_1, block_q5_1, 32, .has_min = true, .run = 4)
ROWS(q8_0, block_q8_0, 32, .is_signed = true, .run = 1)
ROWS(iq4_nl, block_q4_0, 32, .is_signed = true, .run = 1)
ROWS_K(iq4_xs, 32, scales_iq4_xs, .is_signed = true, .run = 1)
ROWS_K(q4_k, 32, scales_k, .has_min = true, .run = 4)
ROWS_K(q5_k, 32, scales_k, .has_min = true, .run = 4)
ROWS_K(q2_k, 16, scales_q2_k, .has_min = true, .run = 4)
ROWS_K(q3_k, 16, scales_q3_k, .offset = OFFSET_Q3_K, .run = 4)
ROWS_K(q6_k, 16, scales_q6_k, .offset = OFFSET_Q6_K, .run = 2)

/* --- floats -------------------------------------------------------------------------------- */

/* A tile of rows and tokens has four results. */
enum { TILE = 4 };

/* The sums of four vectors. */
TEMPLATE __m128 sums_of_lanes(const __m256 v[4])
{
    __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(v[0], v[1]), _mm256_unpackhi_ps(v[0], v[1]));
    __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(v[2], v[3]), _mm256_unpackhi_ps(v[2], v[3]));
    __m256 four = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
    return _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps(four, 1));
}

TEMPLATE __m256 load_weights(const void *w, size_t i, enum format format, size_t left)
{
    if (format == FORMAT_BF16)
        return bf16_to_f32x8(load_u16((const uint16_t *)w + i, left));
    return load8(w, i, format == FORMAT_F16, left);
}

/* R rows times T tokens: two sums of 8 lanes for each, since two multiplications start per cycle
 * and each takes four. Where rows or tokens run out the last one is repeated. */
TEMPLATE void multiply_tile(const uint8_t *data, size_t row_bytes, size_t rows, size_t n,
                            const struct vector *x, size_t tokens, float *y, size_t ldy,
                            enum format format, const size_t R, const size_t T)
{
    const size_t size = format == FORMAT_F32 ? 4 : 2;
    const uint8_t *w[TILE];
    const float *v[TILE];
    __m256 sum[TILE], odd[TILE];
    UNROLL
    for (size_t r = 0; r < R; r++)
        w[r] = data + (r < rows ? r : rows - 1) * row_bytes;
    UNROLL
    for (size_t t = 0; t < T; t++)
        v[t] = x[t < tokens ? t : tokens - 1].x;
    UNROLL
    for (size_t k = 0; k < TILE; k++)
        sum[k] = odd[k] = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        UNROLL
        for (size_t r = 0; r < R; r++) {
            prefetch(w[r] + i * size, 2 * LANES * size);
            __m256 a = load_weights(w[r], i, format, LANES);
            __m256 b = load_weights(w[r], i + LANES, format, LANES);
            UNROLL
            for (size_t t = 0; t < T; t++) {
                size_t k = t * R + r;
                sum[k] = _mm256_fmadd_ps(a, _mm256_loadu_ps(v[t] + i), sum[k]);
                odd[k] = _mm256_fmadd_ps(b, _mm256_loadu_ps(v[t] + i + LANES), odd[k]);
            }
        }
    }
    for (; i < n; i += LANES) {
        UNROLL
        for (size_t k = 0; k < TILE; k++)
            sum[k] = _mm256_fmadd_ps(load_weights(w[k % R], i, format, n - i),
                                     load_f32(v[k / R] + i, n - i), sum[k]);
    }
    float results[TILE];
    UNROLL
    for (size_t k = 0; k < TILE; k++)
        sum[k] = _mm256_add_ps(sum[k], odd[k]);
    _mm_storeu_ps(results, sums_of_lanes(sum));
    for (size_t t = 0; t < T && t < tokens; t++)
        memcpy(y + t * ldy, results + t * R, (rows < R ? rows : R) * sizeof *y);
}

TEMPLATE void multiply_float_rows(const uint8_t *w, size_t row_bytes, size_t rows, size_t n,
                                  const struct vector *x, int tokens, float *y, size_t ldy,
                                  enum format format)
{
#define MULTIPLY(R, T)                                                                          \
    for (size_t i = r; i < rows && i < r + TILE; i += (R))                                      \
    multiply_tile(w + i * row_bytes, row_bytes, rows - i, n, x + t, left, y + t * ldy + i, ldy, \
                  format, R, T)
    size_t n_tokens = (size_t)tokens;
    for (size_t r = 0; r < rows; r += TILE)
        for (size_t t = 0; t < n_tokens; t += TILE) {
            size_t left = n_tokens - t;
            if (left == 1)
                MULTIPLY(4, 1);
            else if (left == 2)
                MULTIPLY(2, 2);
            else
                MULTIPLY(1, 4);
        }
#undef MULTIPLY
}

#define FLOAT_ROWS(name, format)                                                      \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,   \
                            const struct vector *x, int tokens, float *y, size_t ldy) \
    {                                                                                 \
        multiply_float_rows(w, row_bytes, rows, n, x, tokens, y, ldy, format);        \
    }

FLOAT_ROWS(f32, FORMAT_F32)
FLOAT_ROWS(f16, FORMAT_F16)
FLOAT_ROWS(bf16, FORMAT_BF16)

void gemv_avx2(struct kernels *kernels)
{
    kernels->rows[FORMAT_F32] = rows_f32;
    kernels->rows[FORMAT_F16] = rows_f16;
    kernels->rows[FORMAT_BF16] = rows_bf16;
    kernels->rows[FORMAT_Q4_0] = rows_q4_0;
    kernels->rows[FORMAT_Q4_1] = rows_q4_1;
    kernels->rows[FORMAT_Q5_0] = rows_q5_0;
    kernels->rows[FORMAT_Q5_1] = rows_q5_1;
    kernels->rows[FORMAT_Q8_0] = rows_q8_0;
    kernels->rows[FORMAT_Q2_K] = rows_q2_k;
    kernels->rows[FORMAT_Q3_K] = rows_q3_k;
    kernels->rows[FORMAT_Q4_K] = rows_q4_k;
    kernels->rows[FORMAT_Q5_K] = rows_q5_k;
    kernels->rows[FORMAT_Q6_K] = rows_q6_k;
    kernels->rows[FORMAT_IQ4_NL] = rows_iq4_nl;
    kernels->rows[FORMAT_IQ4_XS] = rows_iq4_xs;
}
