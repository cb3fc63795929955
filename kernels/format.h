/* format: how weights are stored. One element format = one row of this table; nothing else in the
 * tree knows a block layout.
 *
 * Every block format of GGUF is affine: a weight is scale[g] * q + min[g], where q is a small
 * integer and g the group of 16 or 32 neighbouring weights that share a scale. `unpack` brings any
 * of them to that one form, which is all that a dot product or a matrix product ever sees. Layouts:
 * ggml's ggml-common.h and the gguf package's quants.py. */
#ifndef LONGHAND_KERNELS_FORMAT_H
#define LONGHAND_KERNELS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum format {
    FORMAT_F32,
    FORMAT_F16,
    FORMAT_BF16,
    FORMAT_Q4_0,
    FORMAT_Q4_1,
    FORMAT_Q5_0,
    FORMAT_Q5_1,
    FORMAT_Q8_0,
    FORMAT_Q2_K,
    FORMAT_Q3_K,
    FORMAT_Q4_K,
    FORMAT_Q5_K,
    FORMAT_Q6_K,
    FORMAT_IQ4_NL,
    FORMAT_IQ4_XS,
    FORMAT_COUNT
};

/* n weights (a multiple of block_len) from `blocks` (unaligned) to q[n], scale[n / group] and,
 * where the format has minima, min[n / group] (otherwise min is not touched and may be NULL).
 * weight = scale * (float)q, or scale * (float)q + min: evaluated so, in f32 without fused
 * multiply-add, it equals the reference dequantisation bit for bit. */
typedef void format_unpack(const void *blocks, size_t n, int8_t *q, float *scale, float *min);

/* n floats (a multiple of block_len) to blocks. */
typedef void format_quantize(const float *x, size_t n, void *blocks);

struct format_info {
    const char *name;          /* "Q4_0" */
    uint32_t ggml_type;        /* number in GGUF files */
    int block_len;             /* weights in a block */
    int block_bytes;           /* bytes of a block */
    int group;                 /* weights that share a scale: 16 or 32; 0 for float formats */
    bool has_min;              /* whether unpack writes min */
    format_unpack *unpack;     /* NULL for float formats; the scalar reference */
    format_quantize *quantize; /* NULL where longhand does not write the format */
};

extern const struct format_info format_info[FORMAT_COUNT];

/* -1 when longhand does not know the GGUF type number (name). Names compare without case. */
int format_from_ggml(uint32_t ggml_type);
int format_from_name(const char *name);

/* Bytes of a row of n weights; n must be a multiple of block_len. */
size_t format_row_bytes(enum format format, size_t n);

/* n weights (a multiple of block_len) to floats, bit for bit the reference dequantisation. Any
 * format, floats included; the reference, not a fast path. */
void format_dequantize(enum format format, const void *blocks, size_t n, float *x);

#endif
