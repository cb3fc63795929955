/* gemv: rows of every format times one to eight vectors, on every tier that has the operation,
 * against the reference decoding in double. Weights, activations and results end at a page that may
 * not be touched.
 *
 * Bounds. With u = 2^-24, a sum of m products in any order, f32 with or without fusing, is off by
 * at most about m u sum |w x|. Block formats are multiplied as integers, which are exact, with the
 * tier's own quantisation of x; what remains is the rounding of a sum over the groups of terms
 * x.scale * (scale * dot + min * x.sum). */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/half.h"
#include "kernels/kernels.h"
#include "tests/suites.h"

enum { ROWS_MAX = 40, COLS_MAX = 9216, AREA_BYTES = 1 << 20 };

static const double unit = 0x1p-24;
static const float UNTOUCHED = -7.5F;

static uint64_t random_state = 1;

static uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(random_state >> 32);
}

static float uniform(float limit)
{
    return limit * ((float)random_bits() * 0x1p-31F - 1);
}

/* `bytes` bytes before a page without access; area 0: weights, then x, q, scale, sum, y. */
static void *guarded(int area, size_t bytes)
{
    static uint8_t *areas[6];
    if (!areas[area]) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        areas[area] = mmap(NULL, AREA_BYTES + page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(areas[area], MAP_FAILED);
        ck_assert_int_eq(mprotect(areas[area] + AREA_BYTES, page, PROT_NONE), 0);
    }
    ck_assert_uint_le(bytes, AREA_BYTES);
    return areas[area] + AREA_BYTES - bytes;
}

/* Where the 16-bit scales of a block lie; the rest of it may be any bytes. */
static const struct {
    int n;
    int offsets[2];
} heads[FORMAT_COUNT] = {
    [FORMAT_Q4_0] = {1, {0}},    [FORMAT_Q4_1] = {2, {0, 2}}, [FORMAT_Q5_0] = {1, {0}},
    [FORMAT_Q5_1] = {2, {0, 2}}, [FORMAT_Q8_0] = {1, {0}},    [FORMAT_Q2_K] = {2, {80, 82}},
    [FORMAT_Q3_K] = {1, {108}},  [FORMAT_Q4_K] = {2, {0, 2}}, [FORMAT_Q5_K] = {2, {0, 2}},
    [FORMAT_Q6_K] = {1, {208}},  [FORMAT_IQ4_NL] = {1, {0}},  [FORMAT_IQ4_XS] = {1, {0}},
};

/* What fills a block: any bytes, or the ends of every field's range. */
static const int fillings[] = {-1, 0x00, 0xFF, 0x80, 0x7F, 0xF0, 0x0F};
enum { FILLINGS = sizeof fillings / sizeof fillings[0] };

/* A scale: of ordinary size, or now and then one of the ends of binary16. */
static uint16_t random_head(void)
{
    static const uint16_t ends[] = {0x7BFF, 0xFBFF, 0x0001, 0x8001, 0x0400, 0x0000, 0x8000, 0x3C00};
    uint32_t bits = random_bits();
    return bits % 16 ? f16_from_f32(uniform(0.1F)) : ends[bits / 16 % 8];
}

static uint8_t *make_rows(enum format format, size_t rows, size_t row_bytes, int filling)
{
    const struct format_info *info = &format_info[format];
    size_t bytes = rows * row_bytes;
    uint8_t *w = guarded(0, bytes);
    for (size_t i = 0; i < bytes; i++)
        w[i] = (uint8_t)(filling < 0 ? random_bits() : (uint32_t)filling);
    size_t step = (size_t)info->block_bytes;
    for (size_t at = 0; at < bytes; at += step) {
        float value = uniform(1);
        uint16_t half = format == FORMAT_F16 ? f16_from_f32(value) : bf16_from_f32(value);
        if (info->group == 0)
            memcpy(w + at, format == FORMAT_F32 ? (void *)&value : (void *)&half, step);
        for (int i = 0; i < heads[format].n; i++) {
            uint16_t head = random_head();
            memcpy(w + at + heads[format].offsets[i], &head, sizeof head);
        }
    }
    return w;
}

/* Activations of n columns for each token, as floats and in the tier's own 8 bits. */
static void make_vectors(const struct kernels *k, size_t n, int group, bool largest, int tokens,
                         struct vector *vector)
{
    size_t n_tokens = (size_t)tokens, groups = group > 0 ? n / (size_t)group : 0;
    float *x = guarded(1, n_tokens * n * sizeof *x);
    int8_t *q = guarded(2, n_tokens * n);
    float *scale = guarded(3, n_tokens * groups * sizeof *scale);
    int32_t *sum = guarded(4, n_tokens * groups * sizeof *sum);
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t i = 0; i < n; i++)
            x[t * n + i] = largest ? (i / 32 % 2 ? -3.0F : 3.0F) : uniform(3);
        vector[t] = (struct vector){.x = x + t * n};
        if (group > 0) {
            struct q8_row q8 = {q + t * n, scale + t * groups, sum + t * groups};
            k->quantize_q8(x + t * n, n, group, q + t * n, scale + t * groups, sum + t * groups);
            vector[t].q8 = q8;
        }
    }
}

struct expected {
    double value, bound;
};

static struct expected expect_blocks(enum format format, const uint8_t *row, size_t n,
                                     struct q8_row x)
{
    static int8_t q[COLS_MAX];
    static float scale[COLS_MAX / 16], min[COLS_MAX / 16];
    const struct format_info *info = &format_info[format];
    size_t group = (size_t)info->group;
    double sum = 0, size = 0;
    info->unpack(row, n, q, scale, min);
    for (size_t g = 0; g < n / group; g++) {
        int32_t dot = 0;
        for (size_t i = g * group; i < (g + 1) * group; i++)
            dot += q[i] * x.q[i];
        double product = (double)scale[g] * dot;
        double least = info->has_min ? (double)min[g] * x.sum[g] : 0;
        sum += (double)x.scale[g] * (product + least);
        size += (double)x.scale[g] * (fabs(product) + fabs(least));
    }
    return (struct expected){sum, (double)(n / group + 5) * unit * size};
}

static struct expected expect_floats(enum format format, const uint8_t *row, size_t n,
                                     const float *x)
{
    static float w[COLS_MAX];
    double sum = 0, size = 0;
    format_dequantize(format, row, n, w);
    for (size_t i = 0; i < n; i++) {
        sum += (double)w[i] * x[i];
        size += fabs((double)w[i] * x[i]);
    }
    return (struct expected){sum, (double)(n + 2) * unit * size};
}

/* All rows and tokens at once against double, then the same bits cut in two, by rows and tokens. */
static void check_rows(const struct kernels *k, enum format format, size_t rows, size_t n,
                       int filling, bool largest)
{
    const struct format_info *info = &format_info[format];
    int tokens = 1 + (int)(random_bits() % ROW_TOKENS_MAX);
    size_t row_bytes = format_row_bytes(format, n), ldy = rows + random_bits() % 3;
    size_t length = (size_t)(tokens - 1) * ldy + rows;
    struct vector x[ROW_TOKENS_MAX];
    float *y = guarded(5, length * sizeof *y), again[ROW_TOKENS_MAX * (ROWS_MAX + 2)];
    uint8_t *w = make_rows(format, rows, row_bytes, filling);
    make_vectors(k, n, info->group, largest, tokens, x);
    for (size_t i = 0; i <= length; i++)
        y[(ptrdiff_t)i - 1] = UNTOUCHED;
    k->rows[format](w, row_bytes, rows, n, x, tokens, y, ldy);
    if (y[-1] != UNTOUCHED)
        ck_abort_msg("%s on %s: wrote before the first of %zu rows", info->name, k->name, rows);
    for (size_t i = 0; i < length; i++) {
        size_t r = i % ldy, t = i / ldy;
        const uint8_t *row = w + r * row_bytes;
        struct expected e = {UNTOUCHED, 0};
        if (r < rows)
            e = info->group > 0 ? expect_blocks(format, row, n, x[t].q8)
                                : expect_floats(format, row, n, x[t].x);
        if (!(fabs(y[i] - e.value) <= e.bound))
            ck_abort_msg("%s on %s: row %zu of %zu, token %zu of %d, %zu columns of %d: %.9g, "
                         "expected %.9g +- %.2g",
                         info->name, k->name, r, rows, t, tokens, n, filling, y[i], e.value,
                         e.bound);
    }
    memcpy(again, y, length * sizeof *y);
    size_t first = random_bits() % (rows + 1);
    for (int t = 0, some; t < tokens; t += some) {
        some = 1 + (int)(random_bits() % (uint32_t)(tokens - t));
        float *part = y + (size_t)t * ldy;
        if (first > 0)
            k->rows[format](w, row_bytes, first, n, x + t, some, part, ldy);
        if (first < rows)
            k->rows[format](w + first * row_bytes, row_bytes, rows - first, n, x + t, some,
                            part + first, ldy);
    }
    if (memcmp(again, y, length * sizeof *y) != 0)
        ck_abort_msg("%s on %s: %zu rows cut at %zu, %d tokens cut: they differ", info->name,
                     k->name, rows, first, tokens);
}

static bool select_tier(struct kernels *k, int tier)
{
    struct error err;
    random_state = 1;
    if (!kernels_available(tier))
        return false;
    ck_assert_int_eq(kernels_select(k, kernels_available(tier), &err), 0);
    return true;
}

/* 1 to 40 rows; columns that end anywhere in a tier's step. */
START_TEST(test_shapes)
{
    enum format format = (enum format)_i;
    size_t len = (size_t)format_info[format].block_len, most = len == 256 ? 9 : len == 32 ? 40 : 70;
    struct kernels k;
    for (int tier = 0; select_tier(&k, tier); tier++)
        for (size_t blocks = 1; k.rows[format] && blocks <= most; blocks++)
            for (size_t rows = 1; rows <= ROWS_MAX; rows += 1 + random_bits() % 12)
                check_rows(&k, format, rows, blocks * len, -1, false);
}
END_TEST

/* Rows so wide that activations are taken in several parts, and more of them than sums are kept
 * for; the last step may be a part. */
START_TEST(test_wide_rows)
{
    enum format format = (enum format)_i;
    size_t len = (size_t)format_info[format].block_len;
    struct kernels k;
    for (int tier = 0; select_tier(&k, tier); tier++)
        for (int i = 0; k.rows[format] && i < 16; i++)
            check_rows(&k, format, 19, COLS_MAX - (size_t)(i % 2) * len, -1, false);
}
END_TEST

/* The ends of the weights' range times the ends of the activations': nothing saturates. */
START_TEST(test_extremes)
{
    enum format format = (enum format)_i;
    struct kernels k;
    for (int tier = 0; select_tier(&k, tier); tier++)
        for (int i = 0; k.rows[format] && format_info[format].group > 0 && i < FILLINGS; i++)
            for (size_t n = 256; n <= 2304; n += 512) {
                check_rows(&k, format, 5, n, fillings[i], true);
                check_rows(&k, format, 3, n, fillings[i], false);
            }
}
END_TEST

/* An infinity or a NaN in x, wherever it is, makes every row NaN or infinite; zeros give zeros. */
START_TEST(test_special_activations)
{
    enum format format = (enum format)_i;
    enum { N = 768, ROWS = 7 };
    int group = format_info[format].group;
    size_t row_bytes = format_row_bytes(format, N);
    struct kernels k;
    for (int tier = 0; select_tier(&k, tier); tier++)
        for (int at = -1; k.rows[format] && at < N; at += 17) {
            uint8_t *w = make_rows(format, ROWS, row_bytes, -1);
            struct vector x;
            make_vectors(&k, N, group, false, 1, &x);
            float *values = guarded(1, N * sizeof(float)), *y = guarded(5, ROWS * sizeof(float));
            memset(values, 0, N * sizeof *values);
            if (at >= 0)
                values[at] = at % 2 ? NAN : INFINITY;
            if (group > 0)
                k.quantize_q8(values, N, group, (int8_t *)(uintptr_t)x.q8.q,
                              (float *)(uintptr_t)x.q8.scale, (int32_t *)(uintptr_t)x.q8.sum);
            k.rows[format](w, row_bytes, ROWS, N, &x, 1, y, ROWS);
            for (int r = 0; r < ROWS; r++)
                if (at < 0 ? y[r] != 0 : isfinite(y[r]))
                    ck_abort_msg("%s on %s: row %d is %g with x[%d] = %g", format_info[format].name,
                                 k.name, r, y[r], at, at < 0 ? 0 : values[at]);
        }
}
END_TEST

Suite *gemv_suite(void)
{
    Suite *suite = suite_create("gemv");
    TCase *tcase = tcase_create("gemv");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_shapes, 0, FORMAT_COUNT);
    tcase_add_loop_test(tcase, test_wide_rows, 0, FORMAT_COUNT);
    tcase_add_loop_test(tcase, test_extremes, 0, FORMAT_COUNT);
    tcase_add_loop_test(tcase, test_special_activations, 0, FORMAT_COUNT);
    suite_add_tcase(suite, tcase);
    return suite;
}
