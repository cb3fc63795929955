/* gemv_avx512: rows of block formats times one to eight vectors with AVX-512: generation. Weights
 * are decoded into registers and multiplied there with every token; nothing but results is stored.
 *
 * A step is 16 groups: 512 or 256 weights, 8 or 4 vectors. VPDPBUSD multiplies stored weights
 * (unsigned) by activations (signed) and adds them by fours. So that a group has all its sums in
 * one place of the vectors, weights are transposed once for all tokens: vector c holds the fours c
 * of all groups. The format's offset times x.sum is what the sums begin with, all in integers. What
 * remains are three operations with the 16 scales. (Intel SDM volume 2, VPDPBUSD.)
 *
 * Activations are laid out the same way once for all rows. They end with zeros where the last step
 * of a row has blocks missing, so that every step is a whole one. */
#include "kernels/avx512.h"
#include "kernels/scales_avx512.h"

enum {
    STEP = 16,        /* groups */
    VECTORS = 8,      /* of weights in a step, at most */
    ROW_BLOCK = 16,   /* rows for which sums are kept */
    X_VECTORS = 1024, /* room for activations: 64 KiB */
    X_NEAR = 384,     /* of them, what stays in the first-level cache: 24 KiB */
    STEP_BYTES = 544, /* at most */
};

/* Where the groups of a step lie in its vectors. */
enum layout {
    NATURAL,    /* group g in place g (groups of 16: four vectors) */
    TRANSPOSED, /* group 4 i + j in place 4 j + i (groups of 32: eight vectors) */
    /* Groups of 32, two places for each: even groups in four vectors, odd ones in four others. The
     * two places of both are added up to one vector. */
    PAIRED
};

typedef void decode_step(const uint8_t *w, __m512i v[VECTORS]);
typedef void decode_step_scales(const uint8_t *w, __m512 *scale, __m512 *min);

/* How a format is read; constants all, which inlining dissolves. */
struct reader {
    size_t bytes;  /* of a block */
    size_t blocks; /* in a step: 16, 2 or 1 */
    enum layout layout;
    int offset;
    bool has_min;
    bool narrow; /* PAIRED: sums of 16 products fit 16 bits */
    decode_step *weights;
    decode_step_scales *scales;
};

TEMPLATE size_t group_of(const struct reader *f)
{
    return f->layout == NATURAL ? 16 : 32;
}

/* --- orders -------------------------------------------------------------------------------- */

/* One value for each group, from their own order. */
TEMPLATE __m512i placed(__m512i groups, enum layout layout)
{
    const __m512i transposed =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i paired = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    if (layout == NATURAL)
        return groups;
    return _mm512_permutexvar_epi32(layout == PAIRED ? paired : transposed, groups);
}

TEMPLATE __m512 placed_floats(__m512 groups, enum layout layout)
{
    return _mm512_castsi512_ps(placed(_mm512_castps_si512(groups), layout));
}

/* --- weights ------------------------------------------------------------------------------- */

/* Four vectors of nibbles: the low ones stay. */
TEMPLATE void split_nibbles(__m512i v[VECTORS])
{
    UNROLL
    for (int c = 0; c < 4; c++) {
        v[4 + c] = _mm512_and_si512(_mm512_srli_epi16(v[c], 4), each_byte(15));
        v[c] = _mm512_and_si512(v[c], each_byte(15));
    }
}

/* Four vectors of nibbles of four groups each, as in Q4_0: the first half of a group below the
 * second. */
TEMPLATE void transpose_nibbles(__m512i v[VECTORS])
{
    transpose_fours(v);
    split_nibbles(v);
}

TEMPLATE void look_up_all(__m512i v[VECTORS])
{
    UNROLL
    for (int c = 0; c < VECTORS; c++)
        v[c] = look_up_iq4(v[c]);
}

/* From two loads, places of 32 bits: those of b where the bit of `from_b` is set. */
TEMPLATE __m512i choose(const uint8_t *a, const uint8_t *b, __m512i places, __mmask16 from_b)
{
    __m512i x = _mm512_permutexvar_epi32(places, _mm512_loadu_si512(a));
    return _mm512_mask_permutexvar_epi32(x, from_b, places, _mm512_loadu_si512(b));
}

/* Four blocks from two loads inside them: the first has blocks 0 and 2 from units 0 and 9 on, the
 * second 1 and 3 from 3 and 12 on. */
TEMPLATE void step_q4_0(const uint8_t *w, __m512i v[VECTORS])
{
    enum { FOUR = 4 * sizeof(struct block_q4_0) };
    const __m512i from = _mm512_setr_epi32(0, 1, 2, 3, 3, 4, 5, 6, 9, 10, 11, 12, 12, 13, 14, 15);
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = choose(w + FOUR * i + 2, w + FOUR * i + 8, from, 0xF0F0);
    transpose_nibbles(v);
}

/* Here the first load has blocks 0, 1 and 2. */
TEMPLATE void step_q4_1(const uint8_t *w, __m512i v[VECTORS])
{
    enum { FOUR = 4 * sizeof(struct block_q4_1) };
    const __m512i from = _mm512_setr_epi32(0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 12, 13, 14, 15);
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = choose(w + FOUR * i + 4, w + FOUR * i + 16, from, 0xF000);
    transpose_nibbles(v);
}

TEMPLATE void step_iq4_nl(const uint8_t *w, __m512i v[VECTORS])
{
    step_q4_0(w, v);
    look_up_all(v);
}

/* fifth: the 32 bits of each group in its place. A table has four bits as four bytes. */
TEMPLATE void add_fifth_bits(__m512i v[VECTORS], __m512i fifth)
{
    const __m512i spread =
        _mm512_setr_epi32(0x00000000, 0x00000010, 0x00001000, 0x00001010, 0x00100000, 0x00100010,
                          0x00101000, 0x00101010, 0x10000000, 0x10000010, 0x10001000, 0x10001010,
                          0x10100000, 0x10100010, 0x10101000, 0x10101010);
    UNROLL
    for (unsigned c = 0; c < VECTORS; c++)
        v[c] = _mm512_or_si512(v[c],
                               _mm512_permutexvar_epi32(_mm512_srli_epi32(fifth, 4 * c), spread));
}

/* Both loads begin with the fifth bits of a block, the first that of blocks 0 and 2, the second
 * that of 1 and 3; the next one's begin at unit 11. */
TEMPLATE void step_q5_0(const uint8_t *w, __m512i v[VECTORS])
{
    enum { BYTES = sizeof(struct block_q5_0), FOUR = 4 * BYTES };
    const __m512i from = _mm512_setr_epi32(1, 2, 3, 4, 1, 2, 3, 4, 12, 13, 14, 15, 12, 13, 14, 15);
    const __m512i from_fifth =
        _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 11, 11, 11, 11, 11, 11, 11, 11);
    __m512i fifth = _mm512_setzero_si512();
    UNROLL
    for (int i = 0; i < 4; i++) {
        const uint8_t *a = w + FOUR * i + 2, *b = a + BYTES;
        v[i] = choose(a, b, from, 0xF0F0);
        fifth = _mm512_mask_permutexvar_epi32(fifth, (__mmask16)(0x0101 << i), from_fifth,
                                              _mm512_loadu_si512(a));
        fifth = _mm512_mask_permutexvar_epi32(fifth, (__mmask16)(0x1010 << i), from_fifth,
                                              _mm512_loadu_si512(b));
    }
    transpose_nibbles(v);
    add_fifth_bits(v, fifth);
}

/* The first load has blocks 0 and 1 from units 0 and 6 on, the second 2 and 3 from 4 and 10 on. */
TEMPLATE void step_q5_1(const uint8_t *w, __m512i v[VECTORS])
{
    enum { FOUR = 4 * sizeof(struct block_q5_1) };
    const __m512i from = _mm512_setr_epi32(2, 3, 4, 5, 8, 9, 10, 11, 6, 7, 8, 9, 12, 13, 14, 15);
    const __m512i from_fifth =
        _mm512_setr_epi32(1, 1, 1, 1, 7, 7, 7, 7, 5, 5, 5, 5, 11, 11, 11, 11);
    __m512i fifth = _mm512_setzero_si512();
    UNROLL
    for (int i = 0; i < 4; i++) {
        const uint8_t *a = w + FOUR * i, *b = a + 32;
        v[i] = choose(a, b, from, 0xFF00);
        fifth = _mm512_mask_permutexvar_epi32(fifth, (__mmask16)(0x0011 << i), from_fifth,
                                              _mm512_loadu_si512(a));
        fifth = _mm512_mask_permutexvar_epi32(fifth, (__mmask16)(0x1100 << i), from_fifth,
                                              _mm512_loadu_si512(b));
    }
    transpose_nibbles(v);
    add_fifth_bits(v, fifth);
}

TEMPLATE void step_q8_0(const uint8_t *w, __m512i v[VECTORS])
{
    enum { BYTES = sizeof(struct block_q8_0) };
    UNROLL
    for (int i = 0; i < 4; i++) {
        const uint8_t *four = w + 4 * BYTES * i;
        __m512i a = decode_q8_0(four, four + BYTES);
        __m512i b = decode_q8_0(four + 2 * BYTES, four + 3 * BYTES);
        v[i] = _mm512_shuffle_i32x4(a, b, 0x88);
        v[4 + i] = _mm512_shuffle_i32x4(a, b, 0xDD);
    }
    transpose_fours(v);
    transpose_fours(v + 4);
}

TEMPLATE void step_iq4_xs(const uint8_t *w, __m512i v[VECTORS])
{
    const struct block_iq4_xs *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = _mm512_loadu_si512(b[i / 2].qs + i % 2 * 64);
    transpose_nibbles(v);
    look_up_all(v);
}

/* 32 bytes have the even group below the odd one. */
TEMPLATE void step_q4_k(const uint8_t *w, __m512i v[VECTORS])
{
    const struct block_q4_k *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = _mm512_loadu_si512(b[i / 2].qs + i % 2 * 64);
    transpose_wide(v);
    split_nibbles(v);
}

TEMPLATE void step_q5_k(const uint8_t *w, __m512i v[VECTORS])
{
    const struct block_q5_k *b = (const void *)w;
    const __m512i even = _mm512_broadcast_i64x4(_mm256_setr_epi64x(
        0x0101010101010101, 0x1010101010101010, 0x0404040404040404, 0x4040404040404040));
    const __m512i odd = _mm512_add_epi8(even, even);
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = _mm512_loadu_si512(b[i / 2].qs + i % 2 * 64);
    transpose_wide(v);
    UNROLL
    for (int c = 0; c < 4; c++) {
        long long first, second;
        memcpy(&first, b[0].high + 8 * c, sizeof first);
        memcpy(&second, b[1].high + 8 * c, sizeof second);
        __m512i high = _mm512_mask_set1_epi64(_mm512_set1_epi64(first), 0xF0, second);
        v[4 + c] = with_fifth_bits(_mm512_and_si512(_mm512_srli_epi16(v[c], 4), each_byte(15)),
                                   _mm512_test_epi8_mask(high, odd));
        v[c] = with_fifth_bits(_mm512_and_si512(v[c], each_byte(15)),
                               _mm512_test_epi8_mask(high, even));
    }
}

/* K blocks of groups of 16: group g = 8 h + 2 q + u has its fours c in field q of unit 8 h + 4 u +
 * c of the 64 bytes of two-bit fields. */
TEMPLATE __m512i units_k(int c)
{
    return _mm512_add_epi32(_mm512_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4, 8, 12, 8, 12, 8, 12, 8, 12),
                            _mm512_set1_epi32(c));
}

/* 4 h + 2 q + u -> one of four numbers by q. */
TEMPLATE __m512i by_field(int a, int b, int c, int d)
{
    return _mm512_broadcast_i64x4(_mm256_setr_epi32(a, a, b, b, c, c, d, d));
}

TEMPLATE __m512i fields_k(const uint8_t qs[64], int c)
{
    __m512i x = _mm512_permutexvar_epi32(units_k(c), _mm512_loadu_si512(qs));
    return _mm512_and_si512(_mm512_srlv_epi32(x, by_field(0, 2, 4, 6)), each_byte(3));
}

TEMPLATE void step_q2_k(const uint8_t *w, __m512i v[VECTORS])
{
    const struct block_q2_k *b = (const void *)w;
    UNROLL
    for (int c = 0; c < 4; c++)
        v[c] = fields_k(b->qs, c);
}

TEMPLATE void step_q3_k(const uint8_t *w, __m512i v[VECTORS])
{
    const struct block_q3_k *b = (const void *)w;
    const __m512i lower = by_field(0x01010101, 0x02020202, 0x04040404, 0x08080808);
    const __m512i bits = _mm512_mask_slli_epi32(lower, 0xFF00, lower, 4);
    UNROLL
    for (int c = 0; c < 4; c++) {
        __m512i low = fields_k(b->qs, c);
        __m512i high = _mm512_permutexvar_epi32(units_k(c), load32_twice(b->high));
        v[c] = _mm512_mask_add_epi8(low, _mm512_test_epi8_mask(high, bits), low, each_byte(4));
    }
}

/* The low nibbles of fields 0 and 1 lie below those of 2 and 3. */
TEMPLATE void step_q6_k(const uint8_t *w, __m512i v[VECTORS])
{
    const struct block_q6_k *b = (const void *)w;
    const __m512i units =
        _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 16, 20, 24, 28, 16, 20, 24, 28);
    __m512i h0 = _mm512_loadu_si512(b->low), h1 = _mm512_loadu_si512(b->low + 64);
    UNROLL
    for (int c = 0; c < 4; c++) {
        __m512i from = _mm512_add_epi32(units, _mm512_set1_epi32(c));
        __m512i low = _mm512_permutex2var_epi32(h0, from, h1);
        __m512i high = _mm512_permutexvar_epi32(units_k(c), _mm512_loadu_si512(b->high));
        low = _mm512_srlv_epi32(low, by_field(0, 0, 4, 4));
        high = _mm512_rolv_epi32(high, by_field(4, 2, 0, 30));
        v[c] = _mm512_ternarylogic_epi32(each_byte(15), low, high, 0xCA); /* 15 ? low : high */
        v[c] = _mm512_and_si512(v[c], each_byte(63));
    }
}

/* --- scales -------------------------------------------------------------------------------- */

/* Blocks of 32 begin with d, or d and m. The heads of a step, four from each of four loads inside
 * the blocks, which are 18 or 20 bytes long. */
TEMPLATE __m512i heads_by_fours(const uint8_t *w, size_t bytes)
{
    const __m512i from =
        bytes == sizeof(struct block_q4_0)
            ? _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 9, 9, 9, 9, 13, 13, 13, 13)
            : _mm512_setr_epi32(0, 0, 0, 0, 5, 5, 5, 5, 10, 10, 10, 10, 15, 15, 15, 15);
    __m512i heads = _mm512_permutexvar_epi32(from, _mm512_loadu_si512(w));
    UNROLL
    for (size_t i = 1; i < 4; i++)
        heads = _mm512_mask_permutexvar_epi32(heads, (__mmask16)(0x1111 << i), from,
                                              _mm512_loadu_si512(w + 4 * i * bytes));
    if (bytes == sizeof(struct block_q4_0)) /* every other d begins in the middle of its unit */
        heads = _mm512_srlv_epi32(
            heads, _mm512_setr_epi32(0, 0, 0, 0, 16, 16, 16, 16, 0, 0, 0, 0, 16, 16, 16, 16));
    return heads;
}

TEMPLATE __m512i heads_one_by_one(const uint8_t *w, size_t bytes)
{
    __m512i heads = _mm512_setzero_si512();
    UNROLL
    for (size_t i = 0; i < STEP; i++) {
        int head;
        memcpy(&head, w + i * bytes, sizeof head);
        heads = _mm512_mask_set1_epi32(heads, (__mmask16)(1 << (i % 4 * 4 + i / 4)), head);
    }
    return heads;
}

TEMPLATE void heads_to_floats(__m512i heads, __m512 *scale, __m512 *min)
{
    *scale = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(heads));
    *min = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(heads, 16)));
}

#define SCALES_OF_32(name, block, heads)                                           \
    TEMPLATE void step_scales_##name(const uint8_t *w, __m512 *scale, __m512 *min) \
    {                                                                              \
        heads_to_floats(heads(w, sizeof(struct block)), scale, min);               \
    }

SCALES_OF_32(q4_0, block_q4_0, heads_by_fours)
SCALES_OF_32(q4_1, block_q4_1, heads_by_fours)
SCALES_OF_32(q5_0, block_q5_0, heads_one_by_one)
SCALES_OF_32(q5_1, block_q5_1, heads_one_by_one)
SCALES_OF_32(q8_0, block_q8_0, heads_one_by_one)

#define SCALES_OF_256(name, layout, ...)                                           \
    TEMPLATE void step_scales_##name(const uint8_t *w, __m512 *scale, __m512 *min) \
    {                                                                              \
        __VA_ARGS__;                                                               \
        *scale = placed_floats(*scale, layout);                                    \
        *min = placed_floats(*min, layout);                                        \
    }

SCALES_OF_256(q2_k, NATURAL, scales_q2_k(w, scale, min))
SCALES_OF_256(q3_k, NATURAL, scales_q3_k(w, scale, min))
SCALES_OF_256(q6_k, NATURAL, scales_q6_k(w, scale, min))
SCALES_OF_256(q4_k, PAIRED, scales_k(w, w + sizeof(struct block_q4_k), scale, min))
SCALES_OF_256(q5_k, PAIRED, scales_k(w, w + sizeof(struct block_q5_k), scale, min))
SCALES_OF_256(iq4_xs, TRANSPOSED, scales_iq4_xs(w, w + sizeof(struct block_iq4_xs), scale, min))

/* --- activations --------------------------------------------------------------------------- */

/* What a step takes of one token: x.scale, then x.sum, then the vectors. */
enum { X_SCALE, X_SUM, X_Q };

TEMPLATE size_t x_vectors(const struct reader *f)
{
    return X_Q + group_of(f) / 4;
}

/* 64 activations, or those of them that are among the `left` next ones. */
TEMPLATE __m512i load_x(const int8_t *x, size_t at, size_t left)
{
    if (left >= at + 64)
        return _mm512_loadu_si512(x + at);
    return _mm512_maskz_loadu_epi8(left > at ? (__mmask64)((1ULL << (left - at)) - 1) : 0, x + at);
}

/* The next `groups` <= 16 groups of x, and zeros. In place of x.sum stands what sums begin with, or
 * what the minima are multiplied with. */
TEMPLATE void lay_out_step(const struct reader *f, struct q8_row x, size_t groups, __m512i *to)
{
    __mmask16 lanes = first_lanes(groups);
    __m512i sum = placed(_mm512_maskz_loadu_epi32(lanes, x.sum), f->layout);
    if (f->has_min)
        sum = _mm512_castps_si512(_mm512_cvtepi32_ps(
            f->blocks == STEP ? sum : _mm512_sub_epi32(_mm512_setzero_si512(), sum)));
    else
        sum = _mm512_mullo_epi32(sum, _mm512_set1_epi32(-f->offset));
    to[X_SUM] = sum;
    to[X_SCALE] = placed(_mm512_castps_si512(_mm512_maskz_loadu_ps(lanes, x.scale)), f->layout);
    __m512i v[VECTORS];
    size_t left = groups * group_of(f);
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        if (f->layout == NATURAL) {
            v[i] = load_x(x.q, 64 * i, left);
            continue;
        }
        __m512i a = load_x(x.q, 128 * i, left), b = load_x(x.q, 128 * i + 64, left);
        if (f->layout == PAIRED) {
            v[i] = _mm512_shuffle_i32x4(a, b, 0x44);
            v[4 + i] = _mm512_shuffle_i32x4(a, b, 0xEE);
        } else {
            v[i] = _mm512_shuffle_i32x4(a, b, 0x88);
            v[4 + i] = _mm512_shuffle_i32x4(a, b, 0xDD);
        }
    }
    if (f->layout == PAIRED) {
        transpose_wide(v);
        transpose_wide(v + 4);
    } else {
        transpose_fours(v);
        if (f->layout == TRANSPOSED)
            transpose_fours(v + 4);
    }
    UNROLL
    for (size_t c = 0; c < group_of(f) / 4; c++) /* transposing twice is as before */
        to[X_Q + c] = f->layout == NATURAL ? placed(v[c], TRANSPOSED) : v[c];
}

/* `groups` groups from g on, step by step and within a step token by token. */
TEMPLATE void lay_out(const struct reader *f, const struct vector *x, int tokens, size_t g,
                      size_t groups, __m512i *to)
{
    for (size_t end = g + groups; g < end; g += STEP)
        for (int t = 0; t < tokens; t++, to += x_vectors(f)) {
            struct q8_row q = x[t].q8;
            q = (struct q8_row){q.q + g * group_of(f), q.scale + g, q.sum + g};
            lay_out_step(f, q, end - g < STEP ? end - g : STEP, to);
        }
}

/* --- sums ---------------------------------------------------------------------------------- */

/* Places 2 i and 2 i + 1 added: in each 128 bits first the two of a, then those of b. */
TEMPLATE __m512i add_places(__m512i a, __m512i b, bool narrow)
{
    if (narrow)
        return _mm512_madd_epi16(_mm512_packs_epi32(a, b), _mm512_set1_epi16(1));
    __m512 x = _mm512_castsi512_ps(a), y = _mm512_castsi512_ps(b);
    return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(x, y, 0x88)),
                            _mm512_castps_si512(_mm512_shuffle_ps(x, y, 0xDD)));
}

/* total += x.scale * (scale * (products + x.sum) + min * x.sum) for the 16 groups of a step. */
TEMPLATE void add_token(const struct reader *f, const __m512i v[VECTORS], __m512 scale, __m512 min,
                        const __m512i *x, __m512 *total)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i sum = f->offset ? x[X_SUM] : zero, other = zero;
    UNROLL
    for (int c = 0; c < 4; c++) {
        sum = _mm512_dpbusd_epi32(sum, v[c], x[X_Q + c]);
        if (f->layout != NATURAL)
            other = _mm512_dpbusd_epi32(other, v[4 + c], x[X_Q + 4 + c]);
    }
    if (f->layout == PAIRED)
        sum = add_places(sum, other, f->narrow);
    else if (f->layout == TRANSPOSED)
        sum = _mm512_add_epi32(sum, other);
    __m512 term = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
    if (f->has_min)
        term = _mm512_fmadd_ps(min, _mm512_castsi512_ps(x[X_SUM]), term);
    *total = _mm512_fmadd_ps(term, _mm512_castsi512_ps(x[X_SCALE]), *total);
}

/* The `blocks` blocks that are left of a row, and zeros. */
TEMPLATE void copy_last(const struct reader *f, const uint8_t *w, size_t blocks,
                        uint8_t to[STEP_BYTES + 64])
{
    size_t left = blocks * f->bytes;
    for (size_t i = 0; i < f->blocks * f->bytes; i += 64)
        _mm512_storeu_si512(to + i, load_x((const void *)w, i, left));
}

/* total[t * ROW_BLOCK] += `blocks` blocks at w times each token's activations. */
TEMPLATE void add_row(const struct reader *f, const uint8_t *w, size_t blocks, const __m512i *x,
                      int tokens, __m512 *total)
{
    uint8_t last[STEP_BYTES + 64];
    for (size_t b = 0; b < blocks; b += f->blocks) {
        const uint8_t *step = w + b * f->bytes;
        prefetch(step, f->blocks * f->bytes);
        if (f->blocks > 1 && blocks - b < f->blocks) {
            copy_last(f, step, blocks - b, last);
            step = last;
        }
        __m512i v[VECTORS];
        __m512 scale = _mm512_setzero_ps(), min = scale;
        f->weights(step, v);
        f->scales(step, &scale, &min);
        for (int t = 0; t < tokens; t++, x += x_vectors(f))
            add_token(f, v, scale, min, x, total + t * ROW_BLOCK);
    }
}

TEMPLATE void multiply_rows(const struct reader *f, const uint8_t *w, size_t row_bytes, size_t rows,
                            size_t n, const struct vector *x, int tokens, float *y, size_t ldy)
{
    __m512i laid_out[X_VECTORS];
    __m512 total[ROW_TOKENS_MAX * ROW_BLOCK];
    size_t groups = n / group_of(f), per_block = STEP / f->blocks;
    size_t step_vectors = x_vectors(f) * (size_t)tokens, chunk = X_NEAR / step_vectors * STEP;
    bool all = (groups + STEP - 1) / STEP * step_vectors <= X_VECTORS;
    for (size_t r0 = 0; r0 < rows; r0 += ROW_BLOCK) {
        size_t count = rows - r0 < ROW_BLOCK ? rows - r0 : ROW_BLOCK;
        for (int i = 0; i < tokens * ROW_BLOCK; i++)
            total[i] = _mm512_setzero_ps();
        for (size_t g = 0; g < groups; g += chunk) {
            size_t some = groups - g < chunk ? groups - g : chunk;
            __m512i *near = laid_out + (all ? g / STEP * step_vectors : 0);
            if (r0 == 0 || !all)
                lay_out(f, x, tokens, g, some, near);
            const uint8_t *at = w + r0 * row_bytes + g / per_block * f->bytes;
            for (size_t r = 0; r < count; r++, at += row_bytes)
                add_row(f, at, some / per_block, near, tokens, total + r);
        }
        for (int t = 0; t < tokens; t++)
            for (size_t r = 0; r < count; r += 4) {
                __mmask8 lanes = (__mmask8)(count - r < 4 ? (1 << (count - r)) - 1 : 15);
                _mm_mask_storeu_ps(y + (size_t)t * ldy + r0 + r, lanes,
                                   sums_of_lanes(total + (size_t)t * ROW_BLOCK + r));
            }
    }
}

#define ROWS(name, block, count, as, places, ...)                                     \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,   \
                            const struct vector *x, int tokens, float *y, size_t ldy) \
    {                                                                                 \
        const struct reader f = {.bytes = sizeof(struct block),                       \
                                 .blocks = count,                                     \
                                 .layout = places,                                    \
                                 .weights = step_##name,                              \
                                 .scales = step_scales_##as,                          \
                                 __VA_ARGS__};                                        \
        multiply_rows(&f, w, row_bytes, rows, n, x, tokens, y, ldy);                  \
    }

ROWS(q4_0, block_q4_0, 16, q4_0, TRANSPOSED, .offset = OFFSET_Q4_0)
ROWS(q4_1, block_q4_1, 16, q4_1, TRANSPOSED, .has_min = true)
ROWS(q5_0, block_q5_0, 16, q5_0, TRANSPOSED, .offset = OFFSET_Q5_0)
ROWS(q5_1, block_q5_1, 16, q5_1, TRANSPOSED, .has_min = true)
ROWS(q8_0, block_q8_0, 16, q8_0, TRANSPOSED, .offset = OFFSET_Q8_0)
ROWS(iq4_nl, block_q4_0, 16, q4_0, TRANSPOSED, .offset = OFFSET_IQ4)
ROWS(iq4_xs, block_iq4_xs, 2, iq4_xs, TRANSPOSED, .offset = OFFSET_IQ4)
ROWS(q4_k, block_q4_k, 2, q4_k, PAIRED, .has_min = true, .narrow = true)
ROWS(q5_k, block_q5_k, 2, q5_k, PAIRED, .has_min = true)
ROWS(q2_k, block_q2_k, 1, q2_k, NATURAL, .has_min = true)
ROWS(q3_k, block_q3_k, 1, q3_k, NATURAL, .offset = OFFSET_Q3_K)
ROWS(q6_k, block_q6_k, 1, q6_k, NATURAL, .offset = OFFSET_Q6_K)

void gemv_avx512(struct kernels *kernels)
{
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
