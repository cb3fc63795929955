/* gemv_avx2: rows of weights times one vector with AVX2, FMA and F16C: generation. Weights are
 * decoded into registers and multiplied there; nothing but the results is stored.
 *
 * A step is eight vectors of 32 weights. VPMADDUBSW multiplies unsigned by signed bytes and adds
 * pairs in 16 bits. Stored weights have at most six bits and are multiplied as they are: even four
 * products, 4 * 63 * 127, stay below 2^15, so that two vectors can be merged before they are
 * widened. Signed weights are multiplied as |w| times x with the sign of w; pairs are at most
 * 2 * 128 * 127. Group sums are exact integers; what remains are three operations with the scales.
 *
 * Each row is summed alone, in one order. */
#include "kernels/avx2.h"
#include "kernels/scales_avx2.h"

enum {
    VECTORS = 8, /* of 32 weights in a step */
};

/* How a format is read; constants all, which inlining dissolves. */
struct reader {
    size_t bytes; /* of a block */
    bool blocks;  /* of 256 weights, one in a step; otherwise eight of 32 */
    int group;
    int offset;
    bool is_signed; /* weights */
    bool has_min;
    decode_part *part;
    decode_scales *scales; /* of blocks of 256 */
};

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

/* Weights times activations, added up in each 128 bits: those of vectors 4 h .. 4 h + 3. */
TEMPLATE __m256i four_sums(const struct reader *f, const uint8_t *w, size_t units, const int8_t *x,
                           int h)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i v[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        int k = 4 * h + i;
        if ((size_t)k >= units) {
            v[i] = _mm256_setzero_si256();
            continue;
        }
        __m256i weights = f->blocks ? f->part(w, k) : f->part(w + (size_t)k * f->bytes, 0);
        __m256i q = load256(x + 32 * k);
        if (f->is_signed)
            v[i] = _mm256_madd_epi16(
                _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(q, weights)), ones);
        else
            v[i] = _mm256_maddubs_epi16(weights, q);
    }
    __m256i ab = merge(v[0], v[1], !f->is_signed), cd = merge(v[2], v[3], !f->is_signed);
    if (!f->is_signed) {
        ab = _mm256_madd_epi16(ab, ones);
        cd = _mm256_madd_epi16(cd, ones);
    }
    return add_pairs(ab, cd);
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

/* One step, of which the first `units` vectors exist. */
TEMPLATE void add_step(const struct reader *f, const uint8_t *w, size_t units, struct q8_row x,
                       __m256 *total)
{
    __m256i low = four_sums(f, w, units, x.q, 0), high = four_sums(f, w, units, x.q, 1);
    __m256 scale[2], min[2];
    if (f->blocks)
        f->scales(w, scale, min);
    else
        scales_32(f, w, units, scale, min);
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

TEMPLATE void multiply_rows(const struct reader *f, const uint8_t *data, size_t row_bytes,
                            size_t rows, size_t n, struct q8_row all, float *y)
{
    enum { STEP = 32 * VECTORS };
    size_t step_bytes = f->blocks ? f->bytes : VECTORS * f->bytes;
    size_t groups = STEP / (size_t)f->group;
    for (size_t r = 0; r < rows; r++, data += row_bytes) {
        const uint8_t *w = data;
        __m256 total = _mm256_setzero_ps();
        struct q8_row x = all;
        size_t left = n;
        for (; left >= STEP; left -= STEP, w += step_bytes) {
            prefetch(w, step_bytes);
            add_step(f, w, VECTORS, x, &total);
            x = (struct q8_row){x.q + STEP, x.scale + groups, x.sum + groups};
        }
        if (!f->blocks && left > 0)
            add_step(f, w, left / 32, x, &total);
        y[r] = sum8(total);
    }
}

#define ROWS(name, block, size, ...)                                                           \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,            \
                            const struct vector *x, float *y)                                  \
    {                                                                                          \
        const struct reader f = {                                                              \
            .bytes = sizeof(struct block), .group = size, .part = decode_##name, __VA_ARGS__}; \
        multiply_rows(&f, w, row_bytes, rows, n, x->q8, y);                                    \
    }

ROWS(q4_0, block_q4_0, 32, .offset = OFFSET_Q4_0)
ROWS(q4_1, block_q4_1, 32, .has_min = true)
ROWS(q5_0, block_q5_0, 32, .offset = OFFSET_Q5_0)
ROWS(q5_1, block_q5_1, 32, .has_min = true)
ROWS(q8_0, block_q8_0, 32, .is_signed = true)
ROWS(iq4_nl, block_q4_0, 32, .is_signed = true)
ROWS(q2_k, block_q2_k, 16, .blocks = true, .has_min = true, .scales = scales_q2_k)
ROWS(q3_k, block_q3_k, 16, .blocks = true, .offset = OFFSET_Q3_K, .scales = scales_q3_k)
ROWS(q4_k, block_q4_k, 32, .blocks = true, .has_min = true, .scales = scales_k)
ROWS(q5_k, block_q5_k, 32, .blocks = true, .has_min = true, .scales = scales_k)
ROWS(q6_k, block_q6_k, 16, .blocks = true, .offset = OFFSET_Q6_K, .scales = scales_q6_k)
ROWS(iq4_xs, block_iq4_xs, 32, .blocks = true, .is_signed = true, .scales = scales_iq4_xs)

/* --- floats -------------------------------------------------------------------------------- */

enum { FLOAT_ROWS = 4 };

TEMPLATE __m256 load_weights(const void *w, size_t i, enum format format, size_t left)
{
    if (format == FORMAT_BF16)
        return bf16_to_f32x8(load_u16((const uint16_t *)w + i, left));
    return load8(w, i, format == FORMAT_F16, left);
}

/* The sums of four vectors. */
TEMPLATE __m128 sums_of_lanes(const __m256 v[FLOAT_ROWS])
{
    __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(v[0], v[1]), _mm256_unpackhi_ps(v[0], v[1]));
    __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(v[2], v[3]), _mm256_unpackhi_ps(v[2], v[3]));
    __m256 four = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
    return _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps(four, 1));
}

/* Two sums of 8 lanes for each of four rows: two multiplications start per cycle and each takes
 * four. Where rows run out the last one is repeated. */
TEMPLATE void multiply_float_rows(const uint8_t *data, size_t row_bytes, size_t rows, size_t n,
                                  const float *x, float *y, enum format format)
{
    size_t size = format == FORMAT_F32 ? 4 : 2;
    for (size_t r0 = 0; r0 < rows; r0 += FLOAT_ROWS) {
        const uint8_t *w[FLOAT_ROWS];
        __m256 sum[FLOAT_ROWS], odd[FLOAT_ROWS];
        UNROLL
        for (size_t r = 0; r < FLOAT_ROWS; r++) {
            w[r] = data + (r0 + r < rows ? r0 + r : rows - 1) * row_bytes;
            sum[r] = odd[r] = _mm256_setzero_ps();
        }
        size_t i = 0;
        for (; i + 2 * LANES <= n; i += 2 * LANES) {
            __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + LANES);
            UNROLL
            for (int r = 0; r < FLOAT_ROWS; r++) {
                prefetch(w[r] + i * size, 2 * LANES * size);
                sum[r] = _mm256_fmadd_ps(load_weights(w[r], i, format, LANES), a, sum[r]);
                odd[r] = _mm256_fmadd_ps(load_weights(w[r], i + LANES, format, LANES), b, odd[r]);
            }
        }
        for (; i < n; i += LANES) {
            __m256 v = load_f32(x + i, n - i);
            UNROLL
            for (int r = 0; r < FLOAT_ROWS; r++)
                sum[r] = _mm256_fmadd_ps(load_weights(w[r], i, format, n - i), v, sum[r]);
        }
        UNROLL
        for (int r = 0; r < FLOAT_ROWS; r++)
            sum[r] = _mm256_add_ps(sum[r], odd[r]);
        float four[FLOAT_ROWS];
        _mm_storeu_ps(four, sums_of_lanes(sum));
        size_t left = rows - r0;
        memcpy(y + r0, four, (left < FLOAT_ROWS ? left : FLOAT_ROWS) * sizeof *four);
    }
}

static void rows_f32(const void *w, size_t row_bytes, size_t rows, size_t n, const struct vector *x,
                     float *y)
{
    multiply_float_rows(w, row_bytes, rows, n, x->x, y, FORMAT_F32);
}

static void rows_f16(const void *w, size_t row_bytes, size_t rows, size_t n, const struct vector *x,
                     float *y)
{
    multiply_float_rows(w, row_bytes, rows, n, x->x, y, FORMAT_F16);
}

static void rows_bf16(const void *w, size_t row_bytes, size_t rows, size_t n,
                      const struct vector *x, float *y)
{
    multiply_float_rows(w, row_bytes, rows, n, x->x, y, FORMAT_BF16);
}

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
