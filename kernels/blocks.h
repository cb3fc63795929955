/* blocks: the layouts of GGUF's block formats, as bytes. Only what decodes or encodes blocks
 * (format.c, quantize.c, the unpack files of the tiers) includes this.
 *
 * All fields are bytes, so that a block may lie at any address; 16-bit fields are little-endian, d
 * and m are binary16. In the pictures w[] are the weights of the block and bit 0 is on the right.
 */
#ifndef LONGHAND_KERNELS_BLOCKS_H
#define LONGHAND_KERNELS_BLOCKS_H

#include <stdint.h>

/* Nibbles (Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL): qs[i] = | w[i + 16] | w[i] |, i < 16. */
struct block_q4_0 { /* and IQ4_NL, whose nibbles are indices into the table of values */
    uint8_t d[2];
    uint8_t qs[16];
};

struct block_q4_1 {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t qs[16];
};

/* The fifth bits are one 32-bit number: bit i of qh belongs to w[i]. */
struct block_q5_0 {
    uint8_t d[2];
    uint8_t qh[4];
    uint8_t qs[16];
};

struct block_q5_1 {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t qh[4];
    uint8_t qs[16];
};

struct block_q8_0 {
    uint8_t d[2];
    int8_t qs[32];
};

/* K formats: 256 weights in 8 groups of 32 or 16 groups of 16, whose small integer scales (and
 * minima) multiply d (and m). */

/* scales[g] = | min 4 | scale 4 |
 * qs[32 h + i] = | w[128 h + 96 + i] | w[128 h + 64 + i] | w[128 h + 32 + i] | w[128 h + i] |,
 * h < 2, i < 32 */
struct block_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    uint8_t d[2];
    uint8_t m[2];
};

/* w = two low bits as in Q2_K, third bit: bit j of high[i] belongs to w[32 j + i].
 * Scales have 6 bits: low four    scales[j]     = | s[j + 8] | s[j] |,                j < 8
 *                     upper two   scales[8 + j] = | s[j + 12] | s[j + 8] | s[j + 4] | s[j] |, j < 4
 */
struct block_q3_k {
    uint8_t high[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint8_t d[2];
};

/* qs[32 c + i] = | w[64 c + 32 + i] | w[64 c + i] |, c < 4, i < 32
 * Scales s and minima m have 6 bits, j < 4:
 *     scales[j]     = | s[j + 4] upper 2 | s[j] 6 |
 *     scales[4 + j] = | m[j + 4] upper 2 | m[j] 6 |
 *     scales[8 + j] = | m[j + 4] lower 4 | s[j + 4] lower 4 | */
struct block_q4_k {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t scales[12];
    uint8_t qs[128];
};

/* As Q4_K; the fifth bit of w[32 j + i] is bit j of high[i]. */
struct block_q5_k {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t scales[12];
    uint8_t high[32];
    uint8_t qs[128];
};

/* low[64 h + i]  = | w[128 h + 64 + i] | w[128 h + i] | low four bits, h < 2, i < 64
 * high[32 h + i] = | w[128 h + 96 + i] | w[128 h + 64 + i] | w[128 h + 32 + i] | w[128 h + i] |
 *                  upper two bits, i < 32 */
struct block_q6_k {
    uint8_t low[128];
    uint8_t high[64];
    int8_t scales[16];
    uint8_t d[2];
};

/* Eight groups laid out as in Q4_0, of table indices. Scales have 6 bits:
 * low four scales_low[j] = | s[2 j + 1] | s[2 j] |; upper two: bits 2 j, 2 j + 1 of scales_high. */
struct block_iq4_xs {
    uint8_t d[2];
    uint8_t scales_high[2];
    uint8_t scales_low[4];
    uint8_t qs[128];
};

_Static_assert(sizeof(struct block_q4_0) == 18, "Q4_0");
_Static_assert(sizeof(struct block_q4_1) == 20, "Q4_1");
_Static_assert(sizeof(struct block_q5_0) == 22, "Q5_0");
_Static_assert(sizeof(struct block_q5_1) == 24, "Q5_1");
_Static_assert(sizeof(struct block_q8_0) == 34, "Q8_0");
_Static_assert(sizeof(struct block_q2_k) == 84, "Q2_K");
_Static_assert(sizeof(struct block_q3_k) == 110, "Q3_K");
_Static_assert(sizeof(struct block_q4_k) == 144, "Q4_K");
_Static_assert(sizeof(struct block_q5_k) == 176, "Q5_K");
_Static_assert(sizeof(struct block_q6_k) == 210, "Q6_K");
_Static_assert(sizeof(struct block_iq4_xs) == 136, "IQ4_XS");

/* The sixteen values of IQ4_NL and IQ4_XS. */
#define BLOCK_IQ4_VALUES -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113

#endif
