/* learned: rows of a table in any format are added, and the table's end is the last place. */
#include <check.h>
#include <string.h>

#include "tests/model/position/scheme.h"
#include "tests/suites.h"

enum {
    DIM = 320,
    PLACES = 5
}; /* more columns than one step of embed converts, and not a multiple of it */

static void with(struct scheme *scheme, enum format format, const void *data)
{
    static const uint64_t shape[] = {DIM, PLACES};
    scheme_init(scheme, POSITION_LEARNED, 1);
    scheme->config.dim = DIM;
    gguf_image_tensor(&scheme->image, "position_embd.weight", format_info[format].ggml_type, 2,
                      shape, data, PLACES * format_row_bytes(format, DIM));
}

/* Exact in every format below: a multiple of 2^-6 from -127/64 to 127/64, with 127/64 in every
 * block of 32. */
static float value(int at, int d)
{
    return (float)(d % 32 == at ? 127 : (d * 7 + at * 31) % 255 - 127) / 64;
}

static void check_table(enum format format, int offset)
{
    static float floats[PLACES * DIM];
    static uint8_t blocks[PLACES * DIM * 4];
    for (int at = 0; at < PLACES; at++)
        for (int d = 0; d < DIM; d++)
            floats[at * DIM + d] = value(at, d);
    if (format == FORMAT_F32)
        memcpy(blocks, floats, sizeof floats);
    else
        format_info[format].quantize(floats, PLACES * DIM, blocks);
    struct scheme scheme;
    with(&scheme, format, blocks);
    if (offset > 0)
        gguf_image_u32(&scheme.image, "toy.position.offset", (uint32_t)offset);
    scheme_open(&scheme);
    ck_assert_str_eq(scheme.position.scheme->name, "learned");
    ck_assert(scheme.position.scheme->nature == POSITION_ABSOLUTE);
    ck_assert_int_eq(scheme.position.limit, PLACES - offset);
    for (int at = 0; at + offset < PLACES; at++) {
        float x[DIM + 1];
        for (int d = 0; d < DIM + 1; d++)
            x[d] = (float)d;
        scheme.position.scheme->embed(&scheme.position, at, x);
        for (int d = 0; d < DIM; d++)
            ck_assert_float_eq(x[d], (float)d + value(at + offset, d));
        ck_assert_float_eq(x[DIM], DIM);
    }
    scheme_close(&scheme);
}

START_TEST(test_formats)
{
    check_table(FORMAT_F32, 0);
    check_table(FORMAT_F16, 0);
    check_table(FORMAT_BF16, 0);
    check_table(FORMAT_Q8_0, 0);
}
END_TEST

START_TEST(test_offset)
{
    check_table(FORMAT_F32, 2);
    check_table(FORMAT_Q8_0, PLACES - 1);
}
END_TEST

START_TEST(test_described)
{
    static const float floats[PLACES * DIM];
    struct scheme scheme;
    with(&scheme, FORMAT_F32, floats);
    scheme_open_starved(&scheme);
    scheme_expect_text(&scheme, "learned, 5 places");
    scheme_close(&scheme);
    with(&scheme, FORMAT_F32, floats);
    gguf_image_u32(&scheme.image, "toy.position.offset", 2);
    scheme_open(&scheme);
    scheme_expect_text(&scheme, "learned, 3 places, the first in row 2");
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_refused)
{
    static const float floats[PLACES * DIM];
    struct scheme scheme;
    scheme_init(&scheme, POSITION_LEARNED, 1);
    scheme_refuse(&scheme, "m.gguf: tensor \"position_embd.weight\" is missing");
    with(&scheme, FORMAT_F32, floats);
    scheme.config.dim = DIM + 1;
    scheme_refuse(&scheme, "shape (320,5), expected (321,places)");
    scheme_init(&scheme, POSITION_LEARNED, 1);
    scheme.config.dim = DIM;
    scheme_tensor(&scheme, "position_embd.weight", 0, DIM, floats);
    scheme_refuse(&scheme, "shape (320,1), expected (320,places)");
    with(&scheme, FORMAT_F32, floats);
    gguf_image_u32(&scheme.image, "toy.position.offset", PLACES);
    scheme_refuse(&scheme, "toy.position.offset is 5, but \"position_embd.weight\" has 5 rows");
    with(&scheme, FORMAT_F32, floats);
    gguf_image_u32(&scheme.image, "toy.position.offset", UINT32_MAX);
    scheme_refuse(&scheme, "\"toy.position.offset\" is 4294967295");
}
END_TEST

Suite *learned_suite(void)
{
    Suite *suite = suite_create("learned");
    TCase *tcase = tcase_create("learned");
    tcase_add_test(tcase, test_formats);
    tcase_add_test(tcase, test_offset);
    tcase_add_test(tcase, test_described);
    tcase_add_test(tcase, test_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
