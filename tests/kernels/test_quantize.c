/* test_quantize: blocks and errors against llama.cpp's (quantize.gguf, made by
 * scripts/reference.py). */
#include "kernels/quantize.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"
#include "tests/suites.h"

static struct checkpoint checkpoint;
static const float *weights;
static size_t n_weights;

static void setup(void)
{
    struct error err;
    ck_assert_msg(checkpoint_open(&checkpoint, "tests/data/quantize.gguf", &err) == 0, "%s",
                  err.text);
    const struct tensor *tensor = checkpoint_find(&checkpoint, "weights");
    ck_assert_ptr_nonnull(tensor);
    weights = tensor->data;
    n_weights = tensor->bytes / 4;
}

static void teardown(void)
{
    checkpoint_close(&checkpoint);
}

/* The blocks of x, between guard bytes; free(). */
static uint8_t *quantized(enum format format, const float *x, size_t n)
{
    size_t bytes = format_row_bytes(format, n);
    uint8_t *blocks = malloc(bytes + 1);
    ck_assert_ptr_nonnull(blocks);
    blocks[bytes] = 0xA5;
    format_info[format].quantize(x, n, blocks);
    ck_assert_uint_eq(blocks[bytes], 0xA5);
    return blocks;
}

static double round_trip_error(enum format format, const uint8_t *blocks, const float *x, size_t n)
{
    float *decoded = malloc(4 * n);
    ck_assert_ptr_nonnull(decoded);
    format_dequantize(format, blocks, n, decoded);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)decoded[i] - (double)x[i]) * ((double)decoded[i] - (double)x[i]);
    free(decoded);
    return sqrt(sum / (double)n);
}

struct expected_format {
    enum format format;
    const char *name;
    bool exact; /* the reference fixes every bit */
};

static const struct expected_format formats[] = {
    {FORMAT_F16, "f16", true},   {FORMAT_BF16, "bf16", true},  {FORMAT_Q8_0, "q8_0", true},
    {FORMAT_Q4_0, "q4_0", true}, {FORMAT_Q4_K, "q4_k", false}, {FORMAT_Q6_K, "q6_k", false}};
enum { N_FORMATS = sizeof formats / sizeof *formats };

START_TEST(as_good_as_the_reference)
{
    const struct expected_format *expected = &formats[_i];
    const struct tensor *reference = checkpoint_find(&checkpoint, expected->name);
    ck_assert_ptr_nonnull(reference);
    ck_assert_int_eq(reference->format, expected->format);
    uint8_t *blocks = quantized(expected->format, weights, n_weights);
    if (expected->exact)
        ck_assert_int_eq(memcmp(blocks, reference->data, reference->bytes), 0);
    char key[16];
    snprintf(key, sizeof key, "%s.rmse", expected->name);
    double allowed;
    struct error err;
    ck_assert_int_eq(metadata_double(&checkpoint.metadata, key, REQUIRED, &allowed, &err), 0);
    double error = round_trip_error(expected->format, blocks, weights, n_weights);
    ck_assert_msg(error <= allowed * (1 + 1e-6), "%s: %g, reference %g", key, error, allowed);
    free(blocks);
}
END_TEST

/* Row by row, too: no row may pay for the others. Rows of outliers leave some freedom. */
START_TEST(every_row_is_as_good)
{
    const struct expected_format *expected = &formats[_i];
    const struct tensor *reference = checkpoint_find(&checkpoint, expected->name);
    size_t cols = (size_t)reference->shape[0], row_bytes = format_row_bytes(expected->format, cols);
    for (size_t i = 0; i < n_weights / cols; i++) {
        const float *x = weights + i * cols;
        uint8_t *blocks = quantized(expected->format, x, cols);
        const uint8_t *theirs = (const uint8_t *)reference->data + i * row_bytes;
        double error = round_trip_error(expected->format, blocks, x, cols);
        double allowed = round_trip_error(expected->format, theirs, x, cols);
        ck_assert_msg(error <= 1.05 * allowed, "%s row %zu: %g, reference %g", expected->name, i,
                      error, allowed);
        free(blocks);
    }
}
END_TEST

/* Whatever the values, quantising is defined and the blocks decode; the sanitizers watch. */
START_TEST(any_value_is_defined)
{
    static const float extremes[] = {0,       -0.0F,    INFINITY,        -INFINITY, NAN,
                                     1e-45F,  -1e-45F,  1e-38F,          65504,     70000,
                                     3.4e38F, -3.4e38F, 0x1.fffffep127F, 6e-8F,     -1};
    enum { N_EXTREMES = sizeof extremes / sizeof *extremes };
    enum format format = formats[_i].format;
    float x[256], decoded[256];
    unsigned seed = 1;
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 256; i++) {
            seed = seed * 1103515245 + 12345;
            unsigned pick = seed >> 16;
            x[i] =
                round < 2 * N_EXTREMES && i % 2 ? extremes[round / 2] : extremes[pick % N_EXTREMES];
            if (round < N_EXTREMES)
                x[i] = extremes[round]; /* constant */
        }
        uint8_t *blocks = quantized(format, x, 256);
        format_dequantize(format, blocks, 256, decoded);
        free(blocks);
    }
}
END_TEST

START_TEST(simple_blocks_survive)
{
    enum format format = formats[_i].format;
    float x[256] = {0}, decoded[256];
    uint8_t *blocks = quantized(format, x, 256);
    format_dequantize(format, blocks, 256, decoded);
    for (int i = 0; i < 256; i++)
        ck_assert(decoded[i] == 0);
    free(blocks);
    /* representable exactly by each: -8/16 .. 7/16 */
    for (int i = 0; i < 256; i++)
        x[i] = (float)(i % 16 - 8) / 16;
    blocks = quantized(format, x, 256);
    double error = round_trip_error(format, blocks, x, 256);
    ck_assert_msg(error < 1.5e-3, "%s: %g", formats[_i].name, error);
    free(blocks);
}
END_TEST

Suite *quantize_suite(void)
{
    Suite *suite = suite_create("quantize");
    TCase *tcase = tcase_create("quantize");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, as_good_as_the_reference, 0, N_FORMATS);
    tcase_add_loop_test(tcase, every_row_is_as_good, 0, N_FORMATS);
    tcase_add_loop_test(tcase, any_value_is_defined, 0, N_FORMATS);
    tcase_add_loop_test(tcase, simple_blocks_survive, 0, N_FORMATS);
    suite_add_tcase(suite, tcase);
    return suite;
}
