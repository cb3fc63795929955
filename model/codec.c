/* codec: see codec.h. The loops are written for the compiler's own vectors: the inner ones run over
 * neighbouring elements of what is stored. */
#include "model/codec.h"

#include <math.h>
#include <string.h>

#include "kernels/half.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --- f32, f16, bf16 ------------------------------------------------------------------------ */

static void put_key_f32(const struct kernels *kernels, void *head, size_t dim, size_t place,
                        const float *x)
{
    (void)kernels;
    float *column = (float *)head + place;
    for (size_t d = 0; d < dim; d++)
        column[d * CACHE_BLOCK] = x[d];
}

static void put_value_f32(const struct kernels *kernels, void *head, size_t dim, size_t place,
                          const float *x)
{
    (void)kernels;
    memcpy((float *)head + place * dim, x, dim * sizeof *x);
}

static void put_key_f16(const struct kernels *kernels, void *head, size_t dim, size_t place,
                        const float *x)
{
    uint16_t *column = (uint16_t *)head + place;
    for (size_t done = 0; done < dim; done += CACHE_GROUP) {
        uint16_t h[CACHE_GROUP];
        size_t n = smaller(dim - done, CACHE_GROUP);
        kernels->f16_from_f32(x + done, n, h);
        for (size_t d = 0; d < n; d++)
            column[(done + d) * CACHE_BLOCK] = h[d];
    }
}

static void put_value_f16(const struct kernels *kernels, void *head, size_t dim, size_t place,
                          const float *x)
{
    kernels->f16_from_f32(x, dim, (uint16_t *)head + place * dim);
}

static void put_key_bf16(const struct kernels *kernels, void *head, size_t dim, size_t place,
                         const float *x)
{
    (void)kernels;
    uint16_t *column = (uint16_t *)head + place;
    for (size_t d = 0; d < dim; d++)
        column[d * CACHE_BLOCK] = bf16_from_f32(x[d]);
}

static void put_value_bf16(const struct kernels *kernels, void *head, size_t dim, size_t place,
                           const float *x)
{
    (void)kernels;
    uint16_t *row = (uint16_t *)head + place * dim;
    for (size_t d = 0; d < dim; d++)
        row[d] = bf16_from_f32(x[d]);
}

static void get_keys_bf16(const struct kernels *kernels, const void *head, size_t dim, size_t n,
                          float *restrict out)
{
    for (size_t d = 0; d < dim; d++)
        kernels->f32_from_bf16((const uint16_t *)head + d * CACHE_BLOCK, n, out + d * CACHE_BLOCK);
}

static void get_values_bf16(const struct kernels *kernels, const void *head, size_t dim, size_t n,
                            float *restrict out)
{
    kernels->f32_from_bf16(head, n * dim, out);
}

/* --- q8_0, q4_0 ---------------------------------------------------------------------------- */

static uint16_t *scales_of(enum format format, void *head, size_t dim)
{
    return (void *)((uint8_t *)head + stored_scales_at(format, dim));
}

static const uint16_t *stored_scales(enum format format, const void *head, size_t dim)
{
    return (const void *)((const uint8_t *)head + stored_scales_at(format, dim));
}

/* The first element of largest magnitude, with its sign; a NaN is larger than any. */
static float largest(const float *x, size_t n)
{
    float found = 0;
    uint32_t magnitude = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = float_bits(x[i]) & 0x7FFFFFFF;
        found = bits > magnitude ? x[i] : found;
        magnitude = bits > magnitude ? bits : magnitude;
    }
    return found;
}

/* The nearest multiples of the scale, rounded to F16 before, that have low <= q <= high. The scale
 * stays finite unless there is a NaN, which makes it one. Returns its bits. */
static uint16_t quantize_group(const float *x, size_t n, float scale, float low, float high,
                               int8_t *restrict q)
{
    enum { F16_MAX = 65504 };
    if (fabsf(scale) > F16_MAX)
        scale = copysignf(F16_MAX, scale);
    uint16_t stored = f16_from_f32(scale);
    scale = f16_to_f32(stored);
    float inverse = scale != 0 ? 1 / scale : 0;
    for (size_t i = 0; i < n; i++) {
        float v = x[i] * inverse;
        v = v > low ? v : low; /* NaN, too */
        v = v < high ? v : high;
        q[i] = (int8_t)(int)(v + 0x1.8p23F - 0x1.8p23F); /* no bits are left for a fraction */
    }
    return stored;
}

static uint16_t quantize_q8(const float *x, size_t n, int8_t *q)
{
    return quantize_group(x, n, fabsf(largest(x, n)) / 127, -127, 127, q);
}

/* To (n + 1) / 2 bytes. */
static uint16_t quantize_q4(const float *x, size_t n, uint8_t *bytes)
{
    int8_t q[CACHE_GROUP + 1];
    uint16_t scale = quantize_group(x, n, largest(x, n) / -8, -8, 7, q);
    q[n] = -8; /* nothing, where n is odd */
    for (size_t i = 0; i < n; i += 2)
        bytes[i / 2] = (uint8_t)((q[i] + 8) | (q[i + 1] + 8) << 4);
    return scale;
}

static void put_key_q8(const struct kernels *kernels, void *head, size_t dim, size_t place,
                       const float *x)
{
    (void)kernels;
    int8_t *column = (int8_t *)head + place;
    uint16_t *scale = scales_of(FORMAT_Q8_0, head, dim) + place;
    for (size_t done = 0; done < dim; done += CACHE_GROUP, scale += CACHE_BLOCK) {
        int8_t q[CACHE_GROUP];
        size_t n = smaller(dim - done, CACHE_GROUP);
        *scale = quantize_q8(x + done, n, q);
        for (size_t d = 0; d < n; d++)
            column[(done + d) * CACHE_BLOCK] = q[d];
    }
}

static void put_value_q8(const struct kernels *kernels, void *head, size_t dim, size_t place,
                         const float *x)
{
    (void)kernels;
    int8_t *row = (int8_t *)head + place * dim;
    uint16_t *scale = scales_of(FORMAT_Q8_0, head, dim) + place * stored_groups(dim);
    for (size_t done = 0; done < dim; done += CACHE_GROUP)
        *scale++ = quantize_q8(x + done, smaller(dim - done, CACHE_GROUP), row + done);
}

static void put_key_q4(const struct kernels *kernels, void *head, size_t dim, size_t place,
                       const float *x)
{
    (void)kernels;
    uint8_t *column = (uint8_t *)head + place;
    uint16_t *scale = scales_of(FORMAT_Q4_0, head, dim) + place;
    for (size_t done = 0; done < dim; done += CACHE_GROUP, scale += CACHE_BLOCK) {
        uint8_t bytes[CACHE_GROUP / 2];
        size_t n = smaller(dim - done, CACHE_GROUP);
        *scale = quantize_q4(x + done, n, bytes);
        for (size_t d = 0; d < n; d += 2)
            column[(done + d) / 2 * CACHE_BLOCK] = bytes[d / 2];
    }
}

static void put_value_q4(const struct kernels *kernels, void *head, size_t dim, size_t place,
                         const float *x)
{
    (void)kernels;
    uint8_t *row = (uint8_t *)head + place * ((dim + 1) / 2);
    uint16_t *scale = scales_of(FORMAT_Q4_0, head, dim) + place * stored_groups(dim);
    for (size_t done = 0; done < dim; done += CACHE_GROUP)
        *scale++ = quantize_q4(x + done, smaller(dim - done, CACHE_GROUP), row + done / 2);
}

static void get_keys_q8(const struct kernels *kernels, const void *head, size_t dim, size_t n,
                        float *restrict out)
{
    float scales[CACHE_BLOCK];
    for (size_t d = 0; d < dim; d++) {
        const int8_t *q = (const int8_t *)head + d * CACHE_BLOCK;
        if (d % CACHE_GROUP == 0)
            kernels->f32_from_f16(
                stored_scales(FORMAT_Q8_0, head, dim) + d / CACHE_GROUP * CACHE_BLOCK, n, scales);
        for (size_t j = 0; j < n; j++)
            out[d * CACHE_BLOCK + j] = scales[j] * (float)q[j];
    }
}

static inline void get_group_q8(const int8_t *restrict q, size_t n, float scale,
                                float *restrict out)
{
    for (size_t d = 0; d < n; d++)
        out[d] = scale * (float)q[d];
}

static void get_values_q8(const struct kernels *kernels, const void *head, size_t dim, size_t n,
                          float *restrict out)
{
    (void)kernels;
    const int8_t *q = head;
    const uint16_t *stored = stored_scales(FORMAT_Q8_0, head, dim);
    for (size_t j = 0; j < n; j++, q += dim, out += dim) {
        size_t d = 0;
        for (; d + CACHE_GROUP <= dim; d += CACHE_GROUP) /* of a length that the compiler knows */
            get_group_q8(q + d, CACHE_GROUP, f16_to_f32(*stored++), out + d);
        if (d < dim)
            get_group_q8(q + d, dim - d, f16_to_f32(*stored++), out + d);
    }
}

/* One row of bytes to two of floats, the second of which may be absent. */
static void get_key_pair_q4(const uint8_t *bytes, const float *scales, size_t n,
                            float *restrict even, float *restrict odd)
{
    for (size_t j = 0; j < n; j++)
        even[j] = scales[j] * (float)((bytes[j] & 15) - 8);
    if (odd)
        for (size_t j = 0; j < n; j++)
            odd[j] = scales[j] * (float)((bytes[j] >> 4) - 8);
}

static void get_keys_q4(const struct kernels *kernels, const void *head, size_t dim, size_t n,
                        float *restrict out)
{
    float scales[CACHE_BLOCK];
    const uint16_t *stored = stored_scales(FORMAT_Q4_0, head, dim);
    for (size_t d = 0; d < dim; d += 2, out += 2 * CACHE_BLOCK) {
        if (d % CACHE_GROUP == 0)
            kernels->f32_from_f16(stored + d / CACHE_GROUP * CACHE_BLOCK, n, scales);
        get_key_pair_q4((const uint8_t *)head + d / 2 * CACHE_BLOCK, scales, n, out,
                        d + 1 < dim ? out + CACHE_BLOCK : NULL);
    }
}

static inline void get_group_q4(const uint8_t *restrict bytes, size_t n, float scale,
                                float *restrict out)
{
    for (size_t i = 0; i < n / 2; i++) {
        out[2 * i] = scale * (float)((bytes[i] & 15) - 8);
        out[2 * i + 1] = scale * (float)((bytes[i] >> 4) - 8);
    }
    if (n % 2 != 0)
        out[n - 1] = scale * (float)((bytes[n / 2] & 15) - 8);
}

static void get_values_q4(const struct kernels *kernels, const void *head, size_t dim, size_t n,
                          float *restrict out)
{
    (void)kernels;
    const uint8_t *bytes = head;
    const uint16_t *stored = stored_scales(FORMAT_Q4_0, head, dim);
    for (size_t j = 0; j < n; j++, bytes += (dim + 1) / 2, out += dim)
        for (size_t d = 0; d < dim; d += CACHE_GROUP)
            get_group_q4(bytes + d / 2, smaller(dim - d, CACHE_GROUP), f16_to_f32(*stored++),
                         out + d);
}

static const struct codec codecs[FORMAT_COUNT] = {
    [FORMAT_F32] = {32, false, put_key_f32, put_value_f32, NULL, NULL},
    [FORMAT_F16] = {16, false, put_key_f16, put_value_f16, NULL, NULL},
    [FORMAT_BF16] = {16, false, put_key_bf16, put_value_bf16, get_keys_bf16, get_values_bf16},
    [FORMAT_Q8_0] = {8, true, put_key_q8, put_value_q8, get_keys_q8, get_values_q8},
    [FORMAT_Q4_0] = {4, true, put_key_q4, put_value_q4, get_keys_q4, get_values_q4},
};

const struct codec *codec_find(enum format format)
{
    return codecs[format].bits > 0 ? &codecs[format] : NULL;
}

const char *codec_names(void)
{
    return "f32, f16, bf16, q8_0, q4_0";
}

size_t codec_bytes(const struct codec *codec, size_t dim)
{
    size_t row = (dim * (size_t)codec->bits + 7) / 8;
    if (codec->grouped)
        row += stored_groups(dim) * sizeof(uint16_t);
    return row * CACHE_BLOCK;
}
