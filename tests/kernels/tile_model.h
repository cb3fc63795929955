/* tile_model: the tile instructions that the AMX tier uses, in C, after the pseudo-code of Intel's
 * SDM (volume 2: TILELOADD, TILESTORED, TDPBF16PS). The Makefile compiles kernels/amx*.c with this
 * before everything else for the tests (`kernels_amx_model`), in place of kernels/amx_tiles.h. */
#ifndef LONGHAND_TESTS_TILE_MODEL_H
#define LONGHAND_TESTS_TILE_MODEL_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define kernels_amx kernels_amx_model
#define attend_amx attend_amx_model

/* One thread's tiles: uninitialised after LDTILECFG, as far as a program may know. */
static _Thread_local struct {
    bool configured;
    uint32_t tile[8][16][16];
} tile_state;

static inline void tile_configure(void)
{
    tile_state.configured = true;
    memset(tile_state.tile, 0xFF, sizeof tile_state.tile);
}

static inline void tile_release(void)
{
    tile_state.configured = false;
}

static inline void tile_order(void)
{
}

/* An instruction without a configuration faults (#UD). */
static inline uint32_t (*tile_model_at(int tile))[16]
{
    if (!tile_state.configured)
        __builtin_trap();
    return tile_state.tile[tile];
}

static inline void tile_zero(int tile)
{
    memset(tile_model_at(tile), 0, sizeof tile_state.tile[tile]);
}

static inline void tile_load(int tile, const void *address, size_t stride)
{
    uint32_t(*rows)[16] = tile_model_at(tile);
    for (size_t r = 0; r < 16; r++)
        memcpy(rows[r], (const uint8_t *)address + r * stride, sizeof rows[r]);
}

static inline void tile_store(int tile, void *address, size_t stride)
{
    uint32_t(*rows)[16] = tile_model_at(tile);
    for (size_t r = 0; r < 16; r++)
        memcpy((uint8_t *)address + r * stride, rows[r], sizeof rows[r]);
}

static inline float tile_model_bf16(uint32_t bits)
{
    bits <<= 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Even and odd columns are summed apart, fused and rounded to nearest even with subnormals as
 * zeros (of operands and results), then added to each other and to the sums. */
static inline void tile_model_multiply(int sums, int a, int b)
{
    uint32_t(*c)[16] = tile_model_at(sums), (*rows)[16] = tile_model_at(a),
    (*columns)[16] = tile_model_at(b);
    enum { ROUNDING = 0x6000, FLUSH_RESULTS = 0x8000, FLUSH_OPERANDS = 0x40 }; /* of MXCSR */
    unsigned mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr((mode & ~(unsigned)ROUNDING) | FLUSH_RESULTS | FLUSH_OPERANDS);
    for (size_t m = 0; m < 16; m++) {
        float even[16] = {0}, odd[16] = {0};
        for (size_t k = 0; k < 16; k++) {
            float low = tile_model_bf16(rows[m][k]), high = tile_model_bf16(rows[m][k] >> 16);
            for (size_t n = 0; n < 16; n++) {
                even[n] = fmaf(low, tile_model_bf16(columns[k][n]), even[n]);
                odd[n] = fmaf(high, tile_model_bf16(columns[k][n] >> 16), odd[n]);
            }
        }
        for (size_t n = 0; n < 16; n++) {
            float sum;
            memcpy(&sum, &c[m][n], sizeof sum);
            sum += even[n] + odd[n];
            memcpy(&c[m][n], &sum, sizeof sum);
        }
    }
    __builtin_ia32_ldmxcsr(mode);
}
#define tile_multiply(sums, a, b) tile_model_multiply(sums, a, b)

#endif
