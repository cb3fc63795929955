/* gemv_avx2: rows of weights times one to eight vectors with AVX2, FMA and F16C: generation.
 * Weights are decoded into registers and multiplied there with every token; nothing but results is
 * stored.
 *
 * A step is 256 weights, eight vectors. VPMADDUBSW multiplies unsigned by signed bytes and adds
 * pairs in 16 bits. Stored weights have at most six bits and are multiplied as they are; signed
 * ones as |w| times x with the sign of w: pairs are at most 2 * 128 * 127. As many vectors as fit
 * 16 bits are added before pairs are widened. So that a group has all its sums in one place of the
 * vectors, weights are transposed once for all tokens: vector c holds the fours c of eight groups.
 * The format's offset times x.sum is taken off, all in integers. What remains are three operations
 * with the scales. In vectors, group 2 i + j stands in place 4 j + i.
 *
 * Activations are laid out the same way once for all rows. They end with zeros where the last step
 * of a row has blocks missing, so that every step is a whole one. */
#include "kernels/avx2.h"
#include "kernels/scales_avx2.h"

enum {
    STEP = 256,       /* weights */
    VECTORS = 8,      /* of weights in a step */
    GROUPS = 8,       /* in a vector of sums */
    ROW_BLOCK = 16,   /* rows for which sums are kept */
    X_VECTORS = 2048, /* room for activations: 64 KiB */
    X_NEAR = 768,     /* of them, what stays in the first-level cache: 24 KiB */
    STEP_BYTES = 272, /* at most */
};

/* Eight groups of 32, or twice eight of 16 in four vectors each. Of groups that are `paired` the
 * even ones take four vectors and the odd ones four, where fours c lie in the lower and fours
 * 4 + c in the upper 128 bits. */
typedef void decode_step(const uint8_t *w, __m256i v[VECTORS]);

/* How a format is read; constants all, which inlining dissolves. */
struct reader {
    size_t bytes;  /* of a block */
    size_t blocks; /* in a step: 8 or 1 */
    size_t group;
    int offset;
    bool is_signed; /* weights */
    bool has_min;
    bool paired;
    int run; /* vectors of products that may be added in 16 bits */
    decode_step *weights;
    decode_scales *scales;
};

/* --- weights ------------------------------------------------------------------------------- */

/* 16 bytes, 16 others. */
TEMPLATE __m256i load128_pair(const void *a, const void *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(a)), load128(b), 1);
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

/* Four vectors of nibbles: fours c below fours 4 + c, or even groups below odd ones. */
TEMPLATE void transpose_nibbles(__m256i v[VECTORS])
{
    transpose(v);
    UNROLL
    for (int c = 0; c < 4; c++) {
        v[4 + c] = field(v[c], 4, 4);
        v[c] = field(v[c], 0, 4);
    }
}

TEMPLATE void look_up_all(__m256i v[VECTORS])
{
    UNROLL
    for (int c = 0; c < VECTORS; c++)
        v[c] = look_up_iq4(v[c]);
}

TEMPLATE void step_q4_0(const uint8_t *w, __m256i v[VECTORS])
{
    const struct block_q4_0 *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = load128_pair(b[2 * i].qs, b[2 * i + 1].qs);
    transpose_nibbles(v);
}

TEMPLATE void step_q4_1(const uint8_t *w, __m256i v[VECTORS])
{
    const struct block_q4_1 *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = load128_pair(b[2 * i].qs, b[2 * i + 1].qs);
    transpose_nibbles(v);
}

TEMPLATE void step_iq4_nl(const uint8_t *w, __m256i v[VECTORS])
{
    step_q4_0(w, v);
    look_up_all(v);
}

/* fifth: the 32 bits of each group in its place. */
TEMPLATE void add_fifth_bits(__m256i v[VECTORS], __m256i fifth)
{
    const __m256i lane = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0C0C0C0C, 0, 0x04040404,
                                           0x08080808, 0x0C0C0C0C);
    UNROLL
    for (int c = 0; c < VECTORS; c++) {
        const __m256i bits = _mm256_set1_epi32(c % 2 ? (int)0x80402010 : 0x08040201);
        __m256i x = _mm256_shuffle_epi8(fifth, _mm256_add_epi8(lane, each_byte(c / 2)));
        x = _mm256_cmpeq_epi8(_mm256_and_si256(x, bits), bits);
        v[c] = _mm256_or_si256(v[c], _mm256_and_si256(x, each_byte(16)));
    }
}

/* The first four bytes of block i in all lanes. */
TEMPLATE __m256i head(const uint8_t *w, size_t bytes, size_t i)
{
    int four;
    memcpy(&four, w + i * bytes, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Four bytes of each of eight blocks, in the places of their groups: a tree, and loads that
 * broadcast, which do not wait for the shuffling port. */
TEMPLATE __m256i heads_of(const uint8_t *w, size_t bytes)
{
#define HEAD(i) head(w, bytes, i)
    __m256i a = _mm256_blend_epi32(HEAD(0), HEAD(2), 0x02);
    __m256i b = _mm256_blend_epi32(HEAD(4), HEAD(6), 0x08);
    __m256i c = _mm256_blend_epi32(HEAD(1), HEAD(3), 0x20);
    __m256i d = _mm256_blend_epi32(HEAD(5), HEAD(7), 0x80);
#undef HEAD
    return _mm256_blend_epi32(_mm256_blend_epi32(a, b, 0x0C), _mm256_blend_epi32(c, d, 0xC0), 0xF0);
}

TEMPLATE void step_q5_0(const uint8_t *w, __m256i v[VECTORS])
{
    const struct block_q5_0 *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = load128_pair(b[2 * i].qs, b[2 * i + 1].qs);
    transpose_nibbles(v);
    add_fifth_bits(v, heads_of(b->qh, sizeof *b));
}

TEMPLATE void step_q5_1(const uint8_t *w, __m256i v[VECTORS])
{
    const struct block_q5_1 *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = load128_pair(b[2 * i].qs, b[2 * i + 1].qs);
    transpose_nibbles(v);
    add_fifth_bits(v, heads_of(b->qh, sizeof *b));
}

TEMPLATE void step_q8_0(const uint8_t *w, __m256i v[VECTORS])
{
    const struct block_q8_0 *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = load128_pair(b[2 * i].qs, b[2 * i + 1].qs);
        v[4 + i] = load128_pair(b[2 * i].qs + 16, b[2 * i + 1].qs + 16);
    }
    transpose(v);
    transpose(v + 4);
}

TEMPLATE void step_iq4_xs(const uint8_t *w, __m256i v[VECTORS])
{
    const struct block_iq4_xs *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = load256(b->qs + 32 * i);
    transpose_nibbles(v);
    look_up_all(v);
}

TEMPLATE void step_q4_k(const uint8_t *w, __m256i v[VECTORS])
{
    const struct block_q4_k *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = load256(b->qs + 32 * i);
    transpose_nibbles(v);
}

TEMPLATE void step_q5_k(const uint8_t *w, __m256i v[VECTORS])
{
    const struct block_q5_k *b = (const void *)w;
    const __m256i high = load256(b->high);
    const __m256i unit = _mm256_broadcastsi128_si256(_mm_set1_epi32(0x03020100));
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = load256(b->qs + 32 * i);
    transpose_nibbles(v);
    UNROLL
    for (int c = 0; c < 4; c++) {
        /* bits 0 and 1 are those of groups 2 i and 2 i + 1 */
        __m256i x = _mm256_shuffle_epi8(high, _mm256_add_epi8(unit, each_byte(4 * c)));
        x = _mm256_srlv_epi32(x, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
        v[c] = _mm256_or_si256(v[c], bit_as(x, 0, 16));
        v[4 + c] = _mm256_or_si256(v[4 + c], bit_as(x, 1, 16));
    }
}

#define STEP_OF_16(name)                                            \
    TEMPLATE void step_##name(const uint8_t *w, __m256i v[VECTORS]) \
    {                                                               \
        UNROLL                                                      \
        for (int i = 0; i < VECTORS; i++)                           \
            v[i] = decode_##name(w, i);                             \
        transpose(v);                                               \
        transpose(v + 4);                                           \
    }

STEP_OF_16(q2_k)
STEP_OF_16(q3_k)
STEP_OF_16(q6_k)

/* --- scales -------------------------------------------------------------------------------- */

/* Eight values of groups from their own order to their places. */
TEMPLATE __m256i placed(__m256i groups)
{
    return _mm256_permutevar8x32_epi32(groups, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}

TEMPLATE __m256 placed_floats(__m256 groups)
{
    return _mm256_castsi256_ps(placed(_mm256_castps_si256(groups)));
}

/* Blocks of 32 begin with d, or d and m. */
TEMPLATE void heads_to_floats(const uint8_t *w, size_t bytes, __m256 *scale, __m256 *min)
{
    __m256i heads = heads_of(w, bytes);
    const __m256i words = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    heads = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(heads, words), 0xD8);
    *scale = _mm256_cvtph_ps(_mm256_castsi256_si128(heads));
    *min = _mm256_cvtph_ps(_mm256_extracti128_si256(heads, 1));
}

/* The scales and minima of a step, for 8 or 16 groups. */
TEMPLATE void step_scales(const struct reader *f, const uint8_t *w, __m256 scale[2], __m256 min[2])
{
    if (f->blocks > 1) {
        heads_to_floats(w, f->bytes, scale, min);
        return;
    }
    f->scales(w, scale, min);
    UNROLL
    for (size_t h = 0; h < 32 / f->group; h++) {
        scale[h] = placed_floats(scale[h]);
        if (f->has_min)
            min[h] = placed_floats(min[h]);
    }
}

/* --- activations --------------------------------------------------------------------------- */

/* What a step takes of one token: x.scale and x.sum for every eight groups, then the vectors. */
enum { X_SCALE, X_SUM, X_HEAD };

TEMPLATE size_t x_heads(const struct reader *f)
{
    return X_HEAD * (32 / f->group);
}

TEMPLATE size_t x_vectors(const struct reader *f)
{
    return x_heads(f) + VECTORS;
}

/* The next `left` <= 256 activations, and zeros. In place of x.sum stands what is added to the
 * sums, or what the minima are multiplied with. */
TEMPLATE void lay_out_step(const struct reader *f, struct q8_row x, size_t left, __m256i *to)
{
    int8_t q[STEP] = {0};
    float scale[2 * GROUPS] = {0};
    int32_t sum[2 * GROUPS] = {0};
    memcpy(q, x.q, left);
    memcpy(scale, x.scale, left / f->group * sizeof *scale);
    memcpy(sum, x.sum, left / f->group * sizeof *sum);
    for (size_t h = 0; h < 32 / f->group; h++, to += X_HEAD) {
        __m256i sums = placed(load256(sum + GROUPS * h));
        if (f->has_min) {
            sums = f->blocks > 1 ? sums : _mm256_sub_epi32(_mm256_setzero_si256(), sums);
            sums = _mm256_castps_si256(_mm256_cvtepi32_ps(sums));
        } else {
            sums = _mm256_mullo_epi32(sums, _mm256_set1_epi32(-f->offset));
        }
        to[X_SCALE] = placed(load256(scale + GROUPS * h));
        to[X_SUM] = sums;
    }
    __m256i v[VECTORS];
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m256i a = load256(q + 64 * i), b = load256(q + 64 * i + 32);
        if (f->group == 16) {
            v[i] = load256(q + 32 * i);
            v[4 + i] = load256(q + 128 + 32 * i);
        } else {
            v[i] = f->paired ? a : _mm256_permute2x128_si256(a, b, 0x20);
            v[4 + i] = f->paired ? b : _mm256_permute2x128_si256(a, b, 0x31);
        }
    }
    transpose(v);
    transpose(v + 4);
    UNROLL
    for (int c = 0; c < VECTORS; c++)
        to[c] = v[c];
}

/* Columns [k, end), step by step and within a step token by token. */
TEMPLATE void lay_out(const struct reader *f, const struct vector *x, int tokens, size_t k,
                      size_t end, __m256i *to)
{
    for (; k < end; k += STEP)
        for (int t = 0; t < tokens; t++, to += x_vectors(f)) {
            struct q8_row q = x[t].q8;
            q = (struct q8_row){q.q + k, q.scale + k / f->group, q.sum + k / f->group};
            lay_out_step(f, q, end - k < STEP ? end - k : STEP, to);
        }
}

/* --- sums ---------------------------------------------------------------------------------- */

/* Products added by pairs in 16 bits. */
TEMPLATE __m256i multiply_bytes(const struct reader *f, __m256i w, __m256i x)
{
    return f->is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                        : _mm256_maddubs_epi16(w, x);
}

/* In each place, the sum of the products of n vectors and of `sum`. */
TEMPLATE __m256i add_products(const struct reader *f, __m256i sum, const __m256i *v,
                              const __m256i *x, int n)
{
    UNROLL
    for (int c = 0; c < n; c += f->run) {
        __m256i pairs = multiply_bytes(f, v[c], x[c]);
        for (int i = c + 1; i < c + f->run && i < n; i++)
            pairs = _mm256_add_epi16(pairs, multiply_bytes(f, v[i], x[i]));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    return sum;
}

/* total += x.scale * (scale * (products + x.sum) + min * x.sum) for the groups of a step. */
TEMPLATE void add_token(const struct reader *f, const __m256i v[VECTORS], const __m256 scale[2],
                        const __m256 min[2], const __m256i *x, __m256 *total)
{
    __m256 sum = *total;
    UNROLL
    for (size_t h = 0; h < 32 / f->group; h++) {
        const __m256i *head = x + X_HEAD * h;
        __m256i exact = f->offset ? head[X_SUM] : _mm256_setzero_si256();
        int n = f->paired || f->group == 16 ? 4 : VECTORS;
        exact = add_products(f, exact, v + 4 * h, x + x_heads(f) + 4 * h, n);
        if (f->paired) {
            const __m256i zero = _mm256_setzero_si256();
            __m256i odd = add_products(f, zero, v + 4, x + x_heads(f) + 4, 4);
            exact = _mm256_add_epi32(_mm256_permute2x128_si256(exact, odd, 0x20),
                                     _mm256_permute2x128_si256(exact, odd, 0x31));
        }
        __m256 term = _mm256_mul_ps(_mm256_cvtepi32_ps(exact), scale[h]);
        if (f->has_min)
            term = _mm256_fmadd_ps(min[h], _mm256_castsi256_ps(head[X_SUM]), term);
        sum = _mm256_fmadd_ps(term, _mm256_castsi256_ps(head[X_SCALE]), sum);
    }
    *total = sum;
}

/* total[t * ROW_BLOCK] += `blocks` blocks at w times each token's activations. */
TEMPLATE void add_row(const struct reader *f, const uint8_t *w, size_t blocks, const __m256i *x,
                      int tokens, __m256 *total)
{
    for (size_t b = 0; b < blocks; b += f->blocks) {
        const uint8_t *step = w + b * f->bytes;
        uint8_t last[STEP_BYTES];
        prefetch(step, f->blocks * f->bytes);
        if (f->blocks > 1 && blocks - b < f->blocks) {
            memset(last, 0, sizeof last);
            step = memcpy(last, step, (blocks - b) * f->bytes);
        }
        __m256i v[VECTORS];
        __m256 scale[2], min[2];
        f->weights(step, v);
        step_scales(f, step, scale, min);
        for (int t = 0; t < tokens; t++, x += x_vectors(f))
            add_token(f, v, scale, min, x, total + t * ROW_BLOCK);
    }
}

/* The sums of four vectors. */
TEMPLATE __m128 sums_of_lanes(const __m256 v[4])
{
    __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(v[0], v[1]), _mm256_unpackhi_ps(v[0], v[1]));
    __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(v[2], v[3]), _mm256_unpackhi_ps(v[2], v[3]));
    __m256 four = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
    return _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps(four, 1));
}

TEMPLATE void multiply_rows(const struct reader *f, const uint8_t *w, size_t row_bytes, size_t rows,
                            size_t n, const struct vector *x, int tokens, float *y, size_t ldy)
{
    __m256i laid_out[X_VECTORS];
    __m256 total[ROW_TOKENS_MAX * ROW_BLOCK];
    size_t step_vectors = x_vectors(f) * (size_t)tokens, chunk = X_NEAR / step_vectors * STEP;
    size_t block = STEP / f->blocks;
    bool all = (n + STEP - 1) / STEP * step_vectors <= X_VECTORS;
    for (size_t r0 = 0; r0 < rows; r0 += ROW_BLOCK) {
        size_t count = rows - r0 < ROW_BLOCK ? rows - r0 : ROW_BLOCK;
        for (int i = 0; i < tokens * ROW_BLOCK; i++)
            total[i] = _mm256_setzero_ps();
        for (size_t k = 0; k < n; k += chunk) {
            size_t end = n - k < chunk ? n : k + chunk;
            __m256i *near = laid_out + (all ? k / STEP * step_vectors : 0);
            if (r0 == 0 || !all)
                lay_out(f, x, tokens, k, end, near);
            const uint8_t *at = w + r0 * row_bytes + k / block * f->bytes;
            for (size_t r = 0; r < count; r++, at += row_bytes) {
                __m256 one = total[r]; /* sum, of a single token, stays in a register */
                if (tokens > 1) {
                    add_row(f, at, (end - k) / block, near, tokens, total + r);
                } else {
                    add_row(f, at, (end - k) / block, near, 1, &one);
                    total[r] = one;
                }
            }
        }
        for (size_t t = 0; t < (size_t)tokens; t++)
            for (size_t r = 0; r < count; r += 4) {
                float four[4];
                _mm_storeu_ps(four, sums_of_lanes(total + t * ROW_BLOCK + r));
                memcpy(y + t * ldy + r0 + r, four, (count - r < 4 ? count - r : 4) * sizeof *y);
            }
    }
}

#define ROWS(name, block, count, size, ...)                                           \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,   \
                            const struct vector *x, int tokens, float *y, size_t ldy) \
    {                                                                                 \
        const struct reader f = {.bytes = sizeof(struct block),                       \
                                 .blocks = count,                                     \
                                 .group = size,                                       \
                                 .weights = step_##name,                              \
                                 __VA_ARGS__};                                        \
        multiply_rows(&f, w, row_bytes, rows, n, x, tokens, y, ldy);                  \
    }

ROWS(q4_0, block_q4_0, 8, 32, .offset = OFFSET_Q4_0, .run = 8)
ROWS(q4_1, block_q4_1, 8, 32, .has_min = true, .run = 8)
ROWS(q5_0, block_q5_0, 8, 32, .offset = OFFSET_Q5_0, .run = 4)
ROWS(q5_1, block_q5_1, 8, 32, .has_min = true, .run = 4)
ROWS(q8_0, block_q8_0, 8, 32, .is_signed = true, .run = 1)
ROWS(iq4_nl, block_q4_0, 8, 32, .is_signed = true, .run = 1)
ROWS(iq4_xs, block_iq4_xs, 1, 32, .is_signed = true, .run = 1, .scales = scales_iq4_xs)
ROWS(q4_k, block_q4_k, 1, 32, .has_min = true, .paired = true, .run = 4, .scales = scales_k)
ROWS(q5_k, block_q5_k, 1, 32, .has_min = true, .paired = true, .run = 4, .scales = scales_k)
ROWS(q2_k, block_q2_k, 1, 16, .has_min = true, .run = 4, .scales = scales_q2_k)
ROWS(q3_k, block_q3_k, 1, 16, .offset = OFFSET_Q3_K, .run = 4, .scales = scales_q3_k)
ROWS(q6_k, block_q6_k, 1, 16, .offset = OFFSET_Q6_K, .run = 2, .scales = scales_q6_k)

/* --- floats -------------------------------------------------------------------------------- */

/* A tile of rows and tokens has four results. */
enum { TILE = 4 };

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
