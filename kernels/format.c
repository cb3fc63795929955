/* format: the table of weight formats, and their reference decoding. The layouts are drawn in
 * blocks.h; the arithmetic on scales keeps the reference's order, because results must agree to the
 * last bit. */
#include "kernels/format.h"

#include <string.h>
#include <strings.h>

#include "kernels/blocks.h"
#include "kernels/half.h"
#include "kernels/quantize.h"

static unsigned load_u16(const uint8_t bytes[2])
{
    return bytes[0] | (unsigned)bytes[1] << 8;
}

static float load_f16(const uint8_t bytes[2])
{
    return f16_to_f32((uint16_t)load_u16(bytes));
}

/* qs[n] to q[2 n]: the low nibbles, then the high ones. */
static void unpack_nibbles(const uint8_t *qs, int n, int8_t *q)
{
    for (int i = 0; i < n; i++) {
        q[i] = (int8_t)(qs[i] & 15);
        q[i + n] = (int8_t)(qs[i] >> 4);
    }
}

static void unpack_q4_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q4_0 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        unpack_nibbles(block->qs, 16, q);
        for (int i = 0; i < 32; i++)
            q[i] = (int8_t)(q[i] - 8);
    }
}

static void unpack_q4_1(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q4_1 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        *min++ = load_f16(block->m);
        unpack_nibbles(block->qs, 16, q);
    }
}

/* Adds the fifth bits, and then `offset`. */
static void add_fifth_bits(const uint8_t qh[4], int offset, int8_t *q)
{
    for (int i = 0; i < 32; i++)
        q[i] = (int8_t)(q[i] + (qh[i / 8] >> i % 8 & 1) * 16 + offset);
}

static void unpack_q5_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q5_0 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        unpack_nibbles(block->qs, 16, q);
        add_fifth_bits(block->qh, -16, q);
    }
}

static void unpack_q5_1(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q5_1 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        *min++ = load_f16(block->m);
        unpack_nibbles(block->qs, 16, q);
        add_fifth_bits(block->qh, 0, q);
    }
}

static void unpack_q8_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q8_0 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        memcpy(q, block->qs, 32);
    }
}

/* The 2-bit fields of Q2_K and Q3_K. */
static void unpack_pairs(const uint8_t qs[64], int8_t q[256])
{
    for (int w = 0; w < 256; w++)
        q[w] = (int8_t)(qs[w / 128 * 32 + w % 32] >> w / 32 % 4 * 2 & 3);
}

static void unpack_q2_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q2_k *block = blocks;
    for (; n; n -= 256, block++, q += 256) {
        float d = load_f16(block->d);
        float m = load_f16(block->m);
        for (int g = 0; g < 16; g++) {
            *scale++ = d * (float)(block->scales[g] & 15);
            *min++ = -(m * (float)(block->scales[g] >> 4));
        }
        unpack_pairs(block->qs, q);
    }
}

static void unpack_q3_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q3_k *block = blocks;
    for (; n; n -= 256, block++, q += 256) {
        float d = load_f16(block->d);
        for (int g = 0; g < 16; g++) {
            int low = block->scales[g % 8] >> g / 8 * 4 & 15;
            int high = block->scales[8 + g % 4] >> g / 4 * 2 & 3;
            *scale++ = d * (float)((low | high << 4) - 32);
        }
        unpack_pairs(block->qs, q);
        for (int w = 0; w < 256; w++)
            q[w] = (int8_t)(q[w] + (block->high[w % 32] >> w / 32 & 1) * 4 - 4);
    }
}

/* The scales and minima of Q4_K and Q5_K. */
static void unpack_k_scales(const uint8_t scales[12], float d, float m, float scale[8],
                            float min[8])
{
    for (int j = 0; j < 4; j++) {
        int s = scales[j], t = scales[4 + j], u = scales[8 + j];
        scale[j] = d * (float)(s & 63);
        scale[j + 4] = d * (float)((u & 15) | s >> 6 << 4);
        min[j] = -(m * (float)(t & 63));
        min[j + 4] = -(m * (float)(u >> 4 | t >> 6 << 4));
    }
}

static void unpack_q4_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q4_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 8, min += 8) {
        unpack_k_scales(block->scales, load_f16(block->d), load_f16(block->m), scale, min);
        for (int c = 0; c < 4; c++)
            unpack_nibbles(block->qs + 32 * c, 32, q + 64 * c);
    }
}

static void unpack_q5_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q5_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 8, min += 8) {
        unpack_k_scales(block->scales, load_f16(block->d), load_f16(block->m), scale, min);
        for (int c = 0; c < 4; c++)
            unpack_nibbles(block->qs + 32 * c, 32, q + 64 * c);
        for (int w = 0; w < 256; w++)
            q[w] = (int8_t)(q[w] + (block->high[w % 32] >> w / 32 & 1) * 16);
    }
}

static void unpack_q6_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q6_k *block = blocks;
    for (; n; n -= 256, block++, q += 256) {
        float d = load_f16(block->d);
        for (int g = 0; g < 16; g++)
            *scale++ = d * (float)block->scales[g];
        unpack_nibbles(block->low, 64, q);
        unpack_nibbles(block->low + 64, 64, q + 128);
        for (int w = 0; w < 256; w++) {
            int high = block->high[w / 128 * 32 + w % 32] >> w / 32 % 4 * 2 & 3;
            q[w] = (int8_t)((q[w] | high << 4) - 32);
        }
    }
}

static const int8_t iq4_values[16] = {BLOCK_IQ4_VALUES};

static void look_up_iq4(int8_t *q, int n)
{
    for (int i = 0; i < n; i++)
        q[i] = iq4_values[q[i]];
}

static void unpack_iq4_nl(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q4_0 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        unpack_nibbles(block->qs, 16, q);
        look_up_iq4(q, 32);
    }
}

static void unpack_iq4_xs(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_iq4_xs *block = blocks;
    for (; n; n -= 256, block++, q += 256) {
        float d = load_f16(block->d);
        unsigned highs = load_u16(block->scales_high);
        for (int g = 0; g < 8; g++) {
            int low = block->scales_low[g / 2] >> g % 2 * 4 & 15;
            int high = (int)(highs >> 2 * g & 3);
            *scale++ = d * (float)((low | high << 4) - 32);
            unpack_nibbles(block->qs + 16 * g, 16, q + 32 * g);
        }
        look_up_iq4(q, 256);
    }
}

#define FLOATS(bytes) 1, bytes, 0, false, NULL
#define BLOCKS(block, len, group, has_min, unpack) \
    len, (int)sizeof(struct block), group, has_min, unpack

const struct format_info format_info[FORMAT_COUNT] = {
    [FORMAT_F32] = {"F32", 0, FLOATS(4), NULL},
    [FORMAT_F16] = {"F16", 1, FLOATS(2), quantize_f16},
    [FORMAT_BF16] = {"BF16", 30, FLOATS(2), quantize_bf16},
    [FORMAT_Q4_0] = {"Q4_0", 2, BLOCKS(block_q4_0, 32, 32, false, unpack_q4_0), quantize_q4_0},
    [FORMAT_Q4_1] = {"Q4_1", 3, BLOCKS(block_q4_1, 32, 32, true, unpack_q4_1), NULL},
    [FORMAT_Q5_0] = {"Q5_0", 6, BLOCKS(block_q5_0, 32, 32, false, unpack_q5_0), NULL},
    [FORMAT_Q5_1] = {"Q5_1", 7, BLOCKS(block_q5_1, 32, 32, true, unpack_q5_1), NULL},
    [FORMAT_Q8_0] = {"Q8_0", 8, BLOCKS(block_q8_0, 32, 32, false, unpack_q8_0), quantize_q8_0},
    [FORMAT_Q2_K] = {"Q2_K", 10, BLOCKS(block_q2_k, 256, 16, true, unpack_q2_k), NULL},
    [FORMAT_Q3_K] = {"Q3_K", 11, BLOCKS(block_q3_k, 256, 16, false, unpack_q3_k), NULL},
    [FORMAT_Q4_K] = {"Q4_K", 12, BLOCKS(block_q4_k, 256, 32, true, unpack_q4_k), quantize_q4_k},
    [FORMAT_Q5_K] = {"Q5_K", 13, BLOCKS(block_q5_k, 256, 32, true, unpack_q5_k), NULL},
    [FORMAT_Q6_K] = {"Q6_K", 14, BLOCKS(block_q6_k, 256, 16, false, unpack_q6_k), quantize_q6_k},
    [FORMAT_IQ4_NL] = {"IQ4_NL", 20, BLOCKS(block_q4_0, 32, 32, false, unpack_iq4_nl), NULL},
    [FORMAT_IQ4_XS] = {"IQ4_XS", 23, BLOCKS(block_iq4_xs, 256, 32, false, unpack_iq4_xs), NULL},
};

int format_from_ggml(uint32_t ggml_type)
{
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (format_info[i].ggml_type == ggml_type)
            return i;
    return -1;
}

int format_from_name(const char *name)
{
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (strcasecmp(format_info[i].name, name) == 0)
            return i;
    return -1;
}

size_t format_row_bytes(enum format format, size_t n)
{
    const struct format_info *info = &format_info[format];
    return n / (size_t)info->block_len * (size_t)info->block_bytes;
}

static void dequantize_floats(enum format format, const uint8_t *bytes, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        if (format == FORMAT_F32) {
            memcpy(&x[i], bytes + 4 * i, 4);
        } else {
            uint16_t h = (uint16_t)load_u16(bytes + 2 * i);
            x[i] = format == FORMAT_F16 ? f16_to_f32(h) : bf16_to_f32(h);
        }
    }
}

void format_dequantize(enum format format, const void *blocks, size_t n, float *x)
{
    enum { CHUNK = 256 }; /* a multiple of every block_len */
    const struct format_info *info = &format_info[format];
    const uint8_t *bytes = blocks;
    if (!info->unpack) {
        dequantize_floats(format, bytes, n, x);
        return;
    }
    for (size_t done = 0; done < n; done += CHUNK) {
        int8_t q[CHUNK];
        float scale[CHUNK / 16], min[CHUNK / 16];
        size_t count = n - done < CHUNK ? n - done : CHUNK;
        info->unpack(bytes + format_row_bytes(format, done), count, q, scale, min);
        for (size_t i = 0, g = 0; i < count; g++)
            for (size_t end = i + (size_t)info->group; i < end; i++) {
                float product = scale[g] * (float)q[i];
                x[done + i] = info->has_min ? product + min[g] : product;
            }
    }
}
