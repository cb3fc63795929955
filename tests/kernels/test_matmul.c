/* matmul: against products in double, for every format, tier and shape that takes another path;
 * threads and neighbours change no bit.
 *
 * Bounds. With u = 2^-24, a sum of m products in any order, f32 with or without fusing, is off by
 * at most about m u sum |w x|. Tiers that multiply in integers see x as scale * q, so their exact
 * result is the sum over groups of x.scale * (scale * dot(q, x.q) + min * x.sum), computed here in
 * double from the tier's own quantisation of x (whose error, at most scale / 2 an element, is
 * checked apart); the integer parts are exact, which leaves the rounding of `groups` sums of terms
 * of that size. Tiers with tiles of bf16 see weights and x rounded to that, which is done here by
 * half.h, and sum their products in f32. */
#include "kernels/matmul.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/half.h"
#include "kernels/parallel.h"
#include "tests/kernels/tiers.h"
#include "tests/suites.h"
#include "tests/support.h"

enum { ROWS_MAX = 150, COLS_MAX = 1280, TOKENS_MAX = 65, PAD = 5, TILES_MIN_TOKENS = 9 };
static const float untouched = 12345.5F;
static const double unit = 0x1p-24;

static uint64_t rng = 88172645463325252u;

static uint32_t next_random(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 32);
}

static float uniform(float limit)
{
    return limit * ((float)next_random() * 0x1p-31F - 1);
}

/* Where the 16-bit scales of a block lie; the rest of it may be any bytes. */
static const struct {
    int n;
    int offsets[2];
} scales[FORMAT_COUNT] = {
    [FORMAT_Q4_0] = {1, {0}},    [FORMAT_Q4_1] = {2, {0, 2}}, [FORMAT_Q5_0] = {1, {0}},
    [FORMAT_Q5_1] = {2, {0, 2}}, [FORMAT_Q8_0] = {1, {0}},    [FORMAT_Q2_K] = {2, {80, 82}},
    [FORMAT_Q3_K] = {1, {108}},  [FORMAT_Q4_K] = {2, {0, 2}}, [FORMAT_Q5_K] = {2, {0, 2}},
    [FORMAT_Q6_K] = {1, {208}},  [FORMAT_IQ4_NL] = {1, {0}},  [FORMAT_IQ4_XS] = {1, {0}},
};

/* Random weights; `data` lies as badly aligned as the format allows. */
struct weights {
    struct matrix matrix;
    uint8_t *memory;
    float *values; /* (rows, cols) */
};

static void weights_make(struct weights *w, enum format format, int rows, int cols)
{
    const struct format_info *info = &format_info[format];
    size_t n = (size_t)rows * (size_t)cols;
    size_t bytes = (size_t)rows * format_row_bytes(format, (size_t)cols);
    size_t shift = format == FORMAT_F32 ? 4 : format == FORMAT_F16 || format == FORMAT_BF16 ? 2 : 1;
    /* Exactly as large as need be, so that reading past the end shows under AddressSanitizer. */
    w->memory = malloc(bytes + shift);
    w->values = malloc(n * sizeof *w->values);
    ck_assert(w->memory && w->values);
    uint8_t *data = w->memory + shift;
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)next_random();
    for (size_t i = 0; info->group == 0 && i < n; i++) {
        float x = uniform(1);
        uint16_t half = format == FORMAT_F16 ? f16_from_f32(x) : bf16_from_f32(x);
        memcpy(data + i * (size_t)info->block_bytes,
               format == FORMAT_F32 ? (void *)&x : (void *)&half, (size_t)info->block_bytes);
    }
    for (size_t block = 0; info->group > 0 && block < bytes / (size_t)info->block_bytes; block++) {
        for (int i = 0; i < scales[format].n; i++) {
            uint16_t half = f16_from_f32(uniform(0.1F));
            memcpy(data + block * (size_t)info->block_bytes + scales[format].offsets[i], &half,
                   sizeof half);
        }
    }
    w->matrix = (struct matrix){data, format, rows, cols};
    for (int r = 0; r < rows; r++)
        format_dequantize(format, data + (size_t)r * format_row_bytes(format, (size_t)cols),
                          (size_t)cols, w->values + (size_t)r * (size_t)cols);
}

static void weights_free(struct weights *w)
{
    free(w->memory);
    free(w->values);
}

static bool in_integers(const struct kernels *kernels, enum format format)
{
    return kernels->integer && format_info[format].group > 0;
}

/* What row r should give for x, and by how much rounding may miss it. */
struct expected {
    double value, bound;
};

static float rounded(float x, bool tiles)
{
    return tiles ? bf16_to_f32(bf16_from_f32(x)) : x;
}

static struct expected expect_float(const struct weights *w, int r, const float *x, bool tiles)
{
    const float *row = w->values + (size_t)r * (size_t)w->matrix.cols;
    double sum = 0, size = 0;
    for (int i = 0; i < w->matrix.cols; i++) {
        double product = (double)rounded(row[i], tiles) * (double)rounded(x[i], tiles);
        sum += product;
        size += fabs(product);
    }
    return (struct expected){sum, (w->matrix.cols + 2) * unit * size};
}

/* x as the tier quantises it, and whether that is within half a step. */
struct quantised {
    int8_t q[COLS_MAX];
    float scale[COLS_MAX / 16];
    int32_t sum[COLS_MAX / 16];
};

static void quantise(const struct kernels *kernels, const float *x, int cols, int group,
                     struct quantised *out)
{
    kernels->quantize_q8(x, (size_t)cols, group, out->q, out->scale, out->sum);
    for (int i = 0; i < cols; i++) {
        double step = (double)out->scale[i / group];
        if (!(fabs((double)x[i] - step * out->q[i]) <= step * (0.5 + 127 * 4 * unit)))
            ck_abort_msg("%s: %g became %d times %g", kernels->name, (double)x[i], out->q[i], step);
    }
}

/* The integers of one row of weights. */
struct unpacked {
    int8_t q[COLS_MAX];
    float scale[COLS_MAX / 16];
    float min[COLS_MAX / 16];
};

static struct expected expect_integer(const struct unpacked *w, const struct quantised *x, int cols,
                                      int group, bool has_min)
{
    double sum = 0, size = 0;
    for (int g = 0; g < cols / group; g++) {
        int32_t dot = 0;
        for (int i = g * group; i < (g + 1) * group; i++)
            dot += w->q[i] * x->q[i];
        double product = (double)w->scale[g] * dot;
        double least = has_min ? (double)w->min[g] * x->sum[g] : 0;
        sum += (double)x->scale[g] * (product + least);
        size += (double)x->scale[g] * (fabs(product) + fabs(least));
    }
    return (struct expected){sum, (cols / group + 5) * unit * size};
}

static void check_product(const struct kernels *kernels, const struct weights *w, const float *x,
                          size_t ldx, int n, const float *bias, const float *y, size_t ldy)
{
    const struct matrix *m = &w->matrix;
    const struct format_info *info = &format_info[m->format];
    bool tiles = kernels->tiles_product && n >= TILES_MIN_TOKENS;
    bool integer = !tiles && in_integers(kernels, m->format);
    static struct quantised quantised[TOKENS_MAX];
    static struct unpacked row;
    for (int t = 0; integer && t < n; t++)
        quantise(kernels, x + (size_t)t * ldx, m->cols, info->group, &quantised[t]);
    for (int r = 0; r < m->rows; r++) {
        if (integer)
            info->unpack((const uint8_t *)m->data +
                             (size_t)r * format_row_bytes(m->format, (size_t)m->cols),
                         (size_t)m->cols, row.q, row.scale, row.min);
        for (int t = 0; t < n; t++) {
            struct expected e =
                integer ? expect_integer(&row, &quantised[t], m->cols, info->group, info->has_min)
                        : expect_float(w, r, x + (size_t)t * ldx, tiles);
            double b = bias ? (double)bias[r] : 0;
            double found = (double)y[(size_t)t * ldy + (size_t)r];
            double bound = e.bound + 2 * unit * (fabs(b) + fabs(e.value));
            if (!(fabs(found - e.value - b) <= bound)) /* libcheck's own assertions are slow */
                ck_abort_msg("%s on %s: (%d,%d) times %d tokens, row %d of token %d: %.9g, "
                             "expected %.9g +- %.2g",
                             info->name, kernels->name, m->cols, m->rows, n, r, t, found,
                             e.value + b, bound);
        }
    }
    for (int t = 0; t < n; t++)
        for (size_t r = (size_t)m->rows; r < ldy; r++)
            if (y[(size_t)t * ldy + r] != untouched)
                ck_abort_msg("%s on %s: wrote past row %d of token %d", info->name, kernels->name,
                             m->rows, t);
}

static void fill(float *x, size_t n, float value)
{
    for (size_t i = 0; i < n; i++)
        x[i] = value;
}

static void fill_random(float *x, size_t n, float limit)
{
    for (size_t i = 0; i < n; i++)
        x[i] = uniform(limit);
}

/* All numbers of tokens for one shape: against double on one thread, and the same bits on 2 and 3.
 */
static void check_shape(const struct kernels *kernels, enum format format, int rows, int cols,
                        bool biased)
{
    static const int ns[] = {1, 2, 3, 4, 5, 17, 33, 65};
    static float y[(TOKENS_MAX) * (ROWS_MAX + PAD)], again[TOKENS_MAX * (ROWS_MAX + PAD)],
        bias[ROWS_MAX];
    struct error err;
    struct weights w;
    struct workspace workspace = {0};
    size_t ldx = (size_t)cols + 3, ldy = (size_t)rows + PAD;
    float *x = malloc(TOKENS_MAX * ldx * sizeof *x);
    ck_assert_ptr_nonnull(x);
    weights_make(&w, format, rows, cols);
    fill_random(x, TOKENS_MAX * ldx, 3);
    fill_random(bias, ROWS_MAX, 1);
    for (size_t i = 0; i < sizeof ns / sizeof ns[0]; i++) {
        int n = ns[i];
        if (n == TOKENS_MAX && rows * cols > 20000)
            continue; /* enough */
        struct product product = {&w.matrix, biased ? bias : NULL, y, ldy};
        parallel_set_threads(3);
        ck_assert_msg(workspace_reserve(&workspace, n, cols, &err) == 0, "%s", err.text);
        for (int threads = 1; threads <= 3; threads++) {
            parallel_set_threads(threads);
            product.y = threads == 1 ? y : again;
            fill(product.y, (size_t)n * ldy, untouched);
            matmul(kernels, &workspace, x, ldx, n, &product, 1);
            if (threads == 1)
                check_product(kernels, &w, x, ldx, n, product.bias, y, ldy);
            else
                ck_assert_mem_eq(again, y, (size_t)n * ldy * sizeof *y);
        }
    }
    workspace_free(&workspace);
    weights_free(&w);
    free(x);
}

/* Rows are no multiple of any tier's panel, columns end inside chunks. */
START_TEST(test_formats)
{
    static const int floats[][2] = {{1, 1}, {7, 5}, {33, 48}, {16, 255}, {70, 300}, {131, 515}};
    static const int blocks_32[][2] = {{1, 32}, {5, 96}, {64, 512}, {131, 544}, {33, 800}};
    static const int blocks_256[][2] = {{1, 256}, {33, 768}, {131, 512}, {15, 1280}};
    enum format format = (enum format)_i;
    int block_len = format_info[format].block_len;
    const int(*shapes)[2] = block_len == 1 ? floats : block_len == 32 ? blocks_32 : blocks_256;
    size_t n = block_len == 1 ? 6 : block_len == 32 ? 5 : 4;
    ck_assert_int_eq(block_len == 1 || block_len == 32 || block_len == 256, 1);
    for (int tier = 0; tier < tiers_count(); tier++) {
        struct kernels kernels = tiers_get(tier);
        for (size_t i = 0; i < n; i++)
            check_shape(&kernels, format, shapes[i][0], shapes[i][1], i % 2 == 1);
    }
}
END_TEST

/* Products that share activations: float ones, groups of 16 and of 32 in turn, one of them biased.
 */
START_TEST(test_several_products)
{
    static const enum format formats[] = {FORMAT_Q4_K, FORMAT_Q6_K, FORMAT_F16, FORMAT_Q8_0,
                                          FORMAT_Q2_K, FORMAT_Q4_0, FORMAT_F32};
    enum { N = sizeof formats / sizeof formats[0], ROWS = 37, COLS = 768 };
    static const int tokens[] = {1, 3, 20};
    static float x[20 * COLS], y[N][20 * (ROWS + PAD)], bias[ROWS];
    struct weights w[N];
    struct product products[N];
    struct error err;
    fill_random(x, 20 * COLS, 2);
    fill_random(bias, ROWS, 1);
    for (int i = 0; i < N; i++) {
        weights_make(&w[i], formats[i], ROWS, COLS);
        products[i] = (struct product){&w[i].matrix, i == 1 ? bias : NULL, y[i], ROWS + PAD};
    }
    parallel_set_threads(2);
    for (int tier = 0; tier < tiers_count(); tier++) {
        struct kernels kernels = tiers_get(tier);
        struct workspace workspace = {0};
        for (int k = 0; k < 3; k++) {
            ck_assert_int_eq(workspace_reserve(&workspace, tokens[k], COLS, &err), 0);
            for (int i = 0; i < N; i++)
                fill(y[i], sizeof y[i] / sizeof y[i][0], untouched);
            matmul(&kernels, &workspace, x, COLS, tokens[k], products, N);
            for (int i = 0; i < N; i++)
                check_product(&kernels, &w[i], x, COLS, tokens[k], products[i].bias, y[i],
                              ROWS + PAD);
        }
        workspace_free(&workspace);
    }
    for (int i = 0; i < N; i++)
        weights_free(&w[i]);
}
END_TEST

/* A token's result depends on nobody it shares the batch with: on tiers that have no panels always,
 * on others as long as the batch goes the same way. */
START_TEST(test_neighbours)
{
    enum { ROWS = 67, COLS = 512, N = 40 };
    static float x[N * COLS], y[N * ROWS], shifted[N * ROWS];
    static const enum format formats[] = {FORMAT_F32, FORMAT_Q4_0, FORMAT_Q5_K};
    struct error err;
    fill_random(x, N * COLS, 2);
    for (int tier = 0; tier < tiers_count(); tier++) {
        struct kernels kernels = tiers_get(tier);
        struct workspace workspace = {0};
        ck_assert_int_eq(workspace_reserve(&workspace, N, COLS, &err), 0);
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
            struct weights w;
            weights_make(&w, formats[f], ROWS, COLS);
            struct product product = {&w.matrix, NULL, y, ROWS};
            matmul(&kernels, &workspace, x, COLS, N, &product, 1);
            product.y = shifted;
            for (int first = 1; N - first >= TILES_MIN_TOKENS;
                 first += 6) { /* other batches, large enough for panels */
                int n = N - first;
                matmul(&kernels, &workspace, x + (size_t)first * COLS, COLS, n, &product, 1);
                ck_assert_mem_eq(shifted, y + (size_t)first * ROWS, (size_t)n * ROWS * sizeof *y);
            }
            for (int t = 0; kernels.panel_rows == 0 && t < N; t++) {
                matmul(&kernels, &workspace, x + (size_t)t * COLS, COLS, 1, &product, 1);
                ck_assert_mem_eq(shifted, y + (size_t)t * ROWS, ROWS * sizeof *y);
            }
            weights_free(&w);
        }
        workspace_free(&workspace);
    }
}
END_TEST

/* A whole batch, once for a format of each kind. */
START_TEST(test_large_batch)
{
    enum { ROWS = 40, COLS = 512, N = 512 };
    static float x[N * COLS], y[N * ROWS];
    static const enum format formats[] = {FORMAT_F16, FORMAT_Q4_0, FORMAT_Q6_K};
    struct error err;
    fill_random(x, N * COLS, 2);
    parallel_set_threads(2);
    for (int tier = 1; tier < tiers_count(); tier++) {
        struct kernels kernels = tiers_get(tier);
        struct workspace workspace = {0};
        ck_assert_int_eq(workspace_reserve(&workspace, N, COLS, &err), 0);
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
            struct weights w;
            weights_make(&w, formats[f], ROWS, COLS);
            struct product product = {&w.matrix, NULL, y, ROWS};
            matmul(&kernels, &workspace, x, COLS, N, &product, 1);
            for (int t = 0; t < N; t += 64)
                check_product(&kernels, &w, x + (size_t)t * COLS, COLS, 64, NULL,
                              y + (size_t)t * ROWS, ROWS);
            weights_free(&w);
        }
        workspace_free(&workspace);
    }
}
END_TEST

/* Zeros give zeros (or the bias), a NaN in x stays one in its token and does not reach others. */
START_TEST(test_special_activations)
{
    enum { ROWS = 35, COLS = 512, N = 9 };
    static const enum format formats[] = {FORMAT_F32, FORMAT_F16, FORMAT_Q4_0, FORMAT_Q4_K,
                                          FORMAT_Q6_K};
    static float x[N * COLS], y[N * ROWS];
    struct error err;
    for (int tier = 0; tier < tiers_count(); tier++) {
        struct kernels kernels = tiers_get(tier);
        struct workspace workspace = {0};
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
            struct weights w;
            weights_make(&w, formats[f], ROWS, COLS);
            struct product product = {&w.matrix, NULL, y, ROWS};
            for (int n = 1; n <= N; n += N - 1) {
                ck_assert_int_eq(workspace_reserve(&workspace, n, COLS, &err), 0);
                memset(x, 0, sizeof x);
                x[100] = NAN;
                matmul(&kernels, &workspace, x, COLS, n, &product, 1);
                for (int i = 0; i < n * ROWS; i++)
                    if (i < ROWS ? !isnan(y[i]) : y[i] != 0)
                        ck_abort_msg("%s on %s: row %d of token %d is %g",
                                     format_info[formats[f]].name, kernels.name, i % ROWS, i / ROWS,
                                     (double)y[i]);
            }
            weights_free(&w);
        }
        workspace_free(&workspace);
    }
}
END_TEST

START_TEST(test_workspace)
{
    struct workspace workspace = {0};
    struct error err;
    parallel_set_threads(2);
    ck_assert_int_eq(workspace_reserve(&workspace, 4, 100, &err), 0);
    size_t bytes = workspace_bytes(&workspace);
    void *activations = workspace.activations;
    ck_assert_int_eq(workspace_reserve(&workspace, 3, 100, &err), 0); /* there is room */
    ck_assert_ptr_eq(workspace.activations, activations);
    for (int n = 1;; n++) {
        support_fail_memory(n, false);
        int result = workspace_reserve(&workspace, 1, 5000, &err);
        support_fail_memory(0, false);
        if (support_memory_failures() == 0)
            break;
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        ck_assert_ptr_eq(workspace.activations, activations);
        ck_assert_uint_eq(workspace_bytes(&workspace), bytes);
    }
    ck_assert_int_eq(workspace.max_tokens, 4); /* nothing shrinks */
    ck_assert_int_eq(workspace.max_cols, 5000);
    parallel_set_threads(5);
    ck_assert_int_eq(workspace_reserve(&workspace, 1, 1, &err), 0);
    ck_assert_int_eq(workspace.n_threads, 5);
    workspace_free(&workspace);
    workspace_free(&workspace);
}
END_TEST

Suite *matmul_suite(void)
{
    Suite *suite = suite_create("matmul");
    TCase *tcase = tcase_create("matmul");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_formats, 0, FORMAT_COUNT);
    tcase_add_test(tcase, test_several_products);
    tcase_add_test(tcase, test_neighbours);
    tcase_add_test(tcase, test_large_batch);
    tcase_add_test(tcase, test_special_activations);
    tcase_add_test(tcase, test_workspace);
    suite_add_tcase(suite, tcase);
    return suite;
}
