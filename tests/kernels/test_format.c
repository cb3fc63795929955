/* test_format: the table of formats, and the reference decoding against the gguf package's
 * (formats.gguf, made by scripts/reference.py: random blocks, and what numpy makes of them). */
#include "kernels/format.h"

#include <check.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"
#include "tests/suites.h"

static void lower(const char *name, const char *suffix, char out[32])
{
    size_t i = 0;
    for (; name[i]; i++)
        out[i] = (char)tolower((unsigned char)name[i]);
    memcpy(out + i, suffix, strlen(suffix) + 1);
}

START_TEST(decodes_as_the_reference)
{
    enum format format = (enum format)_i;
    const struct format_info *info = &format_info[format];
    char name[32], expected_name[32];
    lower(info->name, "", name);
    lower(info->name, ".expected", expected_name);
    struct checkpoint checkpoint = {0};
    struct error err;
    ck_assert_msg(checkpoint_open(&checkpoint, "tests/data/formats.gguf", &err) == 0, "%s",
                  err.text);
    const struct tensor *blocks = checkpoint_find(&checkpoint, name);
    const struct tensor *expected = checkpoint_find(&checkpoint, expected_name);
    ck_assert(blocks && expected);
    ck_assert_int_eq(blocks->format, format);
    ck_assert_int_eq(expected->format, FORMAT_F32);
    size_t n = expected->bytes / 4;
    ck_assert_uint_eq(blocks->bytes, format_row_bytes(format, n));
    uint32_t *x = malloc(4 * n);
    ck_assert_ptr_nonnull(x);
    format_dequantize(format, blocks->data, n, (float *)x);
    for (size_t i = 0; i < n; i++) {
        uint32_t want;
        memcpy(&want, (const char *)expected->data + 4 * i, 4);
        ck_assert_msg(x[i] == want, "%s: weight %zu: %08x, expected %08x", name, i, x[i], want);
    }
    /* any number of blocks, from any address */
    size_t few = 3 * (size_t)info->block_len, bytes = format_row_bytes(format, few);
    char *odd = malloc(bytes + 1);
    ck_assert_ptr_nonnull(odd);
    memcpy(odd + 1, blocks->data, bytes);
    x[few] = 0xABCDABCD;
    format_dequantize(format, odd + 1, few, (float *)x);
    ck_assert_int_eq(memcmp(x, expected->data, 4 * few), 0);
    ck_assert_uint_eq(x[few], 0xABCDABCD);
    free(odd);
    free(x);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(floats_pass_through)
{
    const uint32_t bits[] = {0, 0x80000000, 1, 0x3F800000, 0x7F800000, 0xFFC12345};
    uint32_t x[6];
    format_dequantize(FORMAT_F32, bits, 6, (float *)x);
    ck_assert_int_eq(memcmp(x, bits, sizeof bits), 0);
}
END_TEST

/* Names, numbers and sizes as in the gguf package's constants.py. */
START_TEST(formats_are_found)
{
    static const struct {
        const char *name;
        uint32_t type;
        size_t bytes_of_256;
    } known[] = {{"F32", 0, 1024},  {"F16", 1, 512},     {"Q4_0", 2, 144},   {"Q4_1", 3, 160},
                 {"Q5_0", 6, 176},  {"Q5_1", 7, 192},    {"Q8_0", 8, 272},   {"Q2_K", 10, 84},
                 {"Q3_K", 11, 110}, {"Q4_K", 12, 144},   {"Q5_K", 13, 176},  {"Q6_K", 14, 210},
                 {"BF16", 30, 512}, {"IQ4_NL", 20, 144}, {"IQ4_XS", 23, 136}};
    ck_assert_uint_eq(sizeof known / sizeof *known, FORMAT_COUNT);
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        int format = format_from_ggml(known[i].type);
        ck_assert_int_ge(format, 0);
        ck_assert_str_eq(format_info[format].name, known[i].name);
        ck_assert_int_eq(format_from_name(known[i].name), format);
        ck_assert_uint_eq(format_row_bytes((enum format)format, 256), known[i].bytes_of_256);
    }
    ck_assert_int_eq(format_from_name("q4_k"), FORMAT_Q4_K);
    ck_assert_int_eq(format_from_name("Q4_K_M"), -1);
    ck_assert_int_eq(format_from_name(""), -1);
    ck_assert_int_eq(format_from_ggml(4), -1); /* Q4_2, withdrawn */
    ck_assert_int_eq(format_from_ggml(UINT32_MAX), -1);
}
END_TEST

/* What the rest of the tree relies on. */
START_TEST(the_table_is_consistent)
{
    for (int i = 0; i < FORMAT_COUNT; i++) {
        const struct format_info *info = &format_info[i];
        ck_assert_int_eq(info->unpack != NULL, info->block_len > 1);
        ck_assert_int_eq(info->unpack != NULL, info->group == 16 || info->group == 32);
        ck_assert(info->unpack || !info->has_min);
        ck_assert(info->block_len == 1 || info->block_len == 32 || info->block_len == 256);
    }
}
END_TEST

Suite *format_suite(void)
{
    Suite *suite = suite_create("format");
    TCase *tcase = tcase_create("format");
    tcase_add_loop_test(tcase, decodes_as_the_reference, FORMAT_F16, FORMAT_COUNT);
    tcase_add_test(tcase, floats_pass_through);
    tcase_add_test(tcase, formats_are_found);
    tcase_add_test(tcase, the_table_is_consistent);
    suite_add_tcase(suite, tcase);
    return suite;
}
