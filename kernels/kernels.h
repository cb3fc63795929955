/* kernels: the table of operations that differ by instruction set ("tier").
 *
 * One tier = one file = one set of compiler flags = the same feature bits checked in select.c. The
 * scalar tier is complete and is the reference; every other tier starts as a copy of the tier below
 * and overrides what it does better. Kernels know nothing of threads, cannot fail and hold no
 * state; all pointers may be unaligned unless stated. Accumulation is f32. */
#ifndef LONGHAND_KERNELS_KERNELS_H
#define LONGHAND_KERNELS_KERNELS_H

#include "base/error.h"
#include "kernels/cache_block.h"
#include "kernels/format.h"
#include "kernels/operands.h"

/* y[t * ldy + r] = product of row r (n weights, n as for unpack) with x[t], r < rows, t < tokens,
 * 1 <= tokens <= ROW_TOKENS_MAX; rows lie row_bytes apart. For block formats the value is that of
 * dot_q8, whose integers are exact; the order in which a row is summed depends on n alone, so that
 * rows and tokens may be cut anywhere. */
typedef void row_products(const void *w, size_t row_bytes, size_t rows, size_t n,
                          const struct vector *x, int tokens, float *y, size_t ldy);

struct kernels {
    const char *name; /* "scalar", "avx2", ... */
    /* --- weight rows ----------------------------------------------------------------------- */
    /* Per format, as format_info.unpack, and the same integers and floats bit for bit. */
    format_unpack *unpack[FORMAT_COUNT];
    /* F16 and BF16 rows to floats (n any length). */
    void (*f32_from_f16)(const uint16_t *h, size_t n, float *x);
    void (*f32_from_bf16)(const uint16_t *h, size_t n, float *x);
    void (*f16_from_f32)(const float *x, size_t n, uint16_t *h);

    /* --- rows times a few vectors (generation) ----------------------------------------------- */
    /* Weights are decoded once and multiplied with all tokens. NULL: the driver unpacks a row and
     * multiplies it with dot_q8 or, where the tier does not multiply in integers, with dot_f32. */
    row_products *rows[FORMAT_COUNT];
    float (*dot_f32)(const float *w, const float *x, size_t n);

    bool integer; /* whether block formats are multiplied in integers, not as in scalar in f32 */
    /* x[n] to one q8 row, n a multiple of group (16 or 32); the same integers and scales on every
     * tier. With max = max|x| of the group: scale = max / 127 and q = x * (127 / max), each
     * operation rounded to f32 and q to the nearest integer, ties to even. Where max < Q8_TINY,
     * scale and q are 0; where the group holds an infinity or a NaN, q is 0 and scale is infinite
     * or NaN, so that every product with it is NaN. */
    void (*quantize_q8)(const float *x, size_t n, int group, int8_t *q, float *scale, int32_t *sum);
    /* sum over groups of x.scale * (scale * dot(q, x.q) + min * x.sum); min may be NULL (no
     * minima). */
    float (*dot_q8)(const int8_t *q, const float *scale, const float *min, size_t n, int group,
                    struct q8_row x);

    /* --- panels of rows times tiles of tokens (prompts) ------------------------------------- */
    int panel_rows;  /* <= PANEL_ROWS_MAX; 0: there are none, and the functions are NULL */
    int tile_tokens; /* <= TILE_TOKENS_MAX */
    /* rows[panel_rows] each of n floats -> panel. */
    void (*panel_f32)(const float *const *rows, size_t n, float *panel);
    /* y[t][r] += sum over n of panel row r times x[t], for t < tokens <= tile_tokens and all
     * panel_rows; y has stride ldy. */
    void (*product_f32)(const float *panel, size_t n, const float *const *x, int tokens, float *y,
                        size_t ldy);
    /* The same in integers: q rows (n bytes each) -> panel; scale and min already lie as
     * [n / group][panel_rows]. */
    void (*panel_q8)(const int8_t *const *rows, size_t n, int8_t *panel);
    void (*product_q8)(const int8_t *panel, const float *scale, const float *min, size_t n,
                       int group, const struct q8_row *x, int tokens, float *y, size_t ldy);

    /* --- tiles (prompts); NULL where the tier has none ---------------------------------------- */
    void (*tiles_begin)(void), (*tiles_end)(void); /* around tiles_product, on the same thread */
    /* x (tokens <= TILES_TOKENS, n) with rows ldx apart -> the tiles of these tokens. */
    void (*tiles_pack)(const float *x, size_t ldx, int tokens, size_t n, uint16_t *tiles);
    /* Row `row` of a panel of n columns: integers (n a multiple of 32) or floats. */
    void (*tiles_row_q8)(const int8_t *q, const float *scale, const float *min, size_t n, int group,
                         int row, uint16_t *panel);
    void (*tiles_row_f32)(const float *w, size_t n, int row, uint16_t *panel);
    /* sums (+)= panel times x, `depth` tiles deep, tokens <= TILES_TOKENS; sums that `begin` are
     * overwritten. Meanwhile a part of what follows x in memory is brought nearer. */
    void (*tiles_product)(const uint16_t *panel, const uint16_t *x, size_t depth, int tokens,
                          bool begin, int part, int parts, float *sums);
    /* y[t][r] = the sums of token t < tokens (any number) and row r < rows <= TILES_ROWS. */
    void (*tiles_sums)(const float *sums, int tokens, int rows, float *y, size_t ldy);

    /* --- rows of activations ------------------------------------------------------------------ */
    void (*add)(float *y, const float *x, size_t n); /* y += x */
    /* y = x / rms(x) * weight; y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *weight, size_t n, float epsilon);
    /* y = (x - mean) / sqrt(variance + epsilon) * weight (+ bias unless NULL); y may be x. */
    void (*layer_norm)(float *y, const float *x, const float *weight, const float *bias, size_t n,
                       float epsilon);
    /* x = f(x), times up unless that is NULL. */
    void (*silu)(float *x, const float *up, size_t n);      /* x * sigmoid(x) */
    void (*gelu)(float *x, const float *up, size_t n);      /* exact: x * Phi(x) */
    void (*gelu_tanh)(float *x, const float *up, size_t n); /* its tanh approximation */

    /* --- rotation ----------------------------------------------------------------------------- */
    /* pairs (x[2t], x[2t+1]), respectively (x[t], x[t + pairs]), turned by the angle whose cosine
     * and sine are cos[t], sin[t]. */
    void (*rotate_interleaved)(float *x, const float *cos, const float *sin, size_t pairs);
    void (*rotate_halves)(float *x, const float *cos, const float *sin, size_t pairs);

    /* --- attention: m queries (<= QUERIES_MAX) over n positions of one cache block ------------ */
    /* scores[i][j] = dot(q[i], key j), i < m, j < n; rows of scores have stride lds. May compute up
     * to the next multiple of 16 positions: keys, their scales and scores have room for that. Each
     * score sums over d in rising order, whatever m and n are, the elements of keys being the same
     * floats on every tier. */
    void (*attend_scores)(float *scores, size_t lds, const float *const *q, int m,
                          const struct stored *keys, size_t n, size_t dim);
    /* out[i][d] += sum over j < n, in rising order, of p[i][j] * values[j][d]; rows of p have
     * stride ldp. */
    void (*attend_values)(float *const *out, const float *p, size_t ldp, int m,
                          const struct stored *values, size_t n, size_t dim);
    float (*max)(const float *x, size_t n); /* n > 0 */
    /* x[i] = exp(x[i] - shift); returns their sum. x - shift <= 0; relative error <= 2e-7. */
    float (*exp_sum)(float *x, size_t n, float shift);
    /* A stretch of scores joins the running softmax of its row: x += bias unless NULL, *max grows
     * to the largest x, x = exp(x - *max), *sum *= shrink, *sum += all x. Returns shrink =
     * exp(old max - new max), which what the row has gathered must be multiplied by: 1 where the
     * maximum has not grown. n > 0; errors as above, but below exp(-44), which no sum of floats
     * beside 1 shows, a result may be 0: products with it would be subnormal, which is slow. */
    float (*softmax)(float *x, const struct bias *bias, size_t n, float *max, float *sum);
    void (*scale)(float *x, size_t n, float factor); /* x *= factor */

    /* --- attention over packed blocks (prompts) -----------------------------------------------
     * Queries, keys and values are brought once into the form that the tier multiplies with, which
     * nobody else reads. Packed arrays are 64-byte aligned and have packed_dim(dim) floats for each
     * of PACKED_QUERIES queries or PACKED_POSITIONS positions. A score or a sum does not depend on
     * m, n or its neighbours; on the scalar tier it has the bits of attend_scores, attend_values.
     */
    void (*pack_queries)(const float *const *q, int m, size_t dim, void *packed);
    /* Positions [0, n), n <= PACKED_POSITIONS, of keys as for attend_scores, of values as for
     * attend_values. Keys are there up to the next multiple of 32 positions. */
    void (*pack_keys)(const void *keys, size_t ldk, enum format format, size_t n, size_t dim,
                      void *packed);
    void (*pack_values)(const void *values, enum format format, size_t n, size_t dim, void *packed);
    /* scores[i][j] = q[i] . key j, i < m <= PACKED_QUERIES, j < n, which may be fewer than were
     * packed. Whole 16 rows and 32 positions may be written: lds >= PACKED_POSITIONS. */
    void (*packed_scores)(float *scores, size_t lds, const void *q, int m, const void *keys,
                          size_t n, size_t dim);
    /* out[i][d] += sum over j < n of p[i][j] * value j[d], n as for packed_scores. Whole 16 rows
     * of p may be read and of out written, with rubbish: ldo >= packed_dim(dim). */
    void (*packed_values)(float *out, size_t ldo, const float *p, size_t ldp, int m,
                          const void *values, size_t n, size_t dim);

    /* --- what the multiply units give, for bench ---------------------------------------------- */
    /* Multiplies in registers alone; returns how often. Floats, bytes and tiles, or NULL. */
    double (*peak_f32)(size_t rounds);
    double (*peak_q8)(size_t rounds);
    double (*peak_tiles)(size_t rounds);
};

/* Tiers fill a table; each is defined in the file of its name. `kernels` holds the tier below. */
void kernels_scalar(struct kernels *kernels);
void kernels_avx2(struct kernels *kernels);
void kernels_avx512(struct kernels *kernels);
void kernels_amx(struct kernels *kernels);
void kernels_neon(struct kernels *kernels);
void kernels_neon_dot(struct kernels *kernels);

/* Fills the table for `isa`, NULL: the best tier of this CPU. A name that is unknown, or that this
 * CPU lacks, is an error that lists what there is. */
int kernels_select(struct kernels *kernels, const char *isa, struct error *err);

/* The i-th tier that this CPU can run, worst ("scalar") first; NULL past the end. */
const char *kernels_available(int i);

#endif
