/* half: 16-bit floats, bit for bit (IEEE 754 binary16, and bfloat16 = the upper half of a float).
 */
#ifndef LONGHAND_KERNELS_HALF_H
#define LONGHAND_KERNELS_HALF_H

#include <stdint.h>
#include <string.h>

static inline float float_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float bf16_to_f32(uint16_t h)
{
    return float_from_bits((uint32_t)h << 16);
}

/* Round to nearest even; a NaN stays a (quiet) NaN. */
static inline uint16_t bf16_from_f32(float x)
{
    uint32_t bits = float_bits(x);
    if ((bits & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static inline float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = h >> 10 & 0x1F;
    uint32_t fraction = h & 0x3FF;
    if (exponent == 0x1F)
        return float_from_bits(sign | 0x7F800000 | fraction << 13);
    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24, exact */
        float x = (float)fraction * 0x1p-24F;
        return float_from_bits(float_bits(x) | sign);
    }
    return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Round to nearest even; overflow becomes infinity, a NaN stays a NaN. */
static inline uint16_t f16_from_f32(float x)
{
    uint32_t bits = float_bits(x);
    uint32_t sign = bits >> 16 & 0x8000;
    uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000)
        return (uint16_t)(sign | 0x7E00);
    if (magnitude >= 0x477FF000) /* 65520, the first value that rounds to infinity */
        return (uint16_t)(sign | 0x7C00);
    if (magnitude < 0x38800000) { /* below 2^-14: the sum below aligns the fraction to 2^-24 */
        uint32_t half = float_bits(float_from_bits(magnitude) + 0.5F) - 0x3F000000;
        return (uint16_t)(sign | half);
    }
    uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

#endif
