/* learned: rows of a table in any format are added, and the table's end is the last place. */
#include <check.h>
#include <string.h>

#include "model/position/position.h"
#include "tests/suites.h"

enum {
    DIM = 320,
    PLACES = 5
}; /* more columns than one step of embed converts, and not a multiple of it */

static const struct architecture architecture = {.position = POSITION_LEARNED};
static const struct config config = {.architecture = &architecture, .dim = DIM};

static struct checkpoint with_table(struct tensor *tensor, enum format format, const void *data)
{
    *tensor = (struct tensor){.name = {"position_embd.weight", 20},
                              .format = format,
                              .n_dims = 2,
                              .shape = {DIM, PLACES, 1, 1},
                              .data = data,
                              .bytes = PLACES * format_row_bytes(format, DIM),
                              .offset = 96,
                              .place = "m.gguf"};
    return (struct checkpoint){.tensors = tensor, .n_tensors = 1, .path = (char[]){"m.gguf"}};
}

/* Exact in every format below: a multiple of 2^-6 from -127/64 to 127/64, with 127/64 in every
 * block of 32. */
static float value(int at, int d)
{
    return (float)(d % 32 == at ? 127 : (d * 7 + at * 31) % 255 - 127) / 64;
}

static void check_table(enum format format)
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
    struct tensor tensor;
    struct checkpoint checkpoint = with_table(&tensor, format, blocks);
    struct position position;
    struct error err;
    ck_assert_msg(position_open(&position, &config, &checkpoint, &err) == 0, "%s", err.text);
    ck_assert_str_eq(position.scheme->name, "learned");
    ck_assert_int_eq(position.limit, PLACES);
    ck_assert_int_eq(position.rotated, 0);
    for (int at = 0; at < PLACES; at++) {
        float x[DIM + 1];
        for (int d = 0; d < DIM + 1; d++)
            x[d] = (float)d;
        position.scheme->embed(&position, at, x);
        for (int d = 0; d < DIM; d++)
            ck_assert_float_eq(x[d], (float)d + value(at, d));
        ck_assert_float_eq(x[DIM], DIM);
    }
    position_close(&position);
}

START_TEST(test_formats)
{
    check_table(FORMAT_F32);
    check_table(FORMAT_F16);
    check_table(FORMAT_BF16);
    check_table(FORMAT_Q8_0);
}
END_TEST

START_TEST(test_bad_tables)
{
    static const float floats[PLACES * DIM];
    struct tensor tensor;
    struct position position;
    struct error err;
    struct checkpoint none = {.path = (char[]){"m.gguf"}};
    ck_assert_int_eq(position_open(&position, &config, &none, &err), -1);
    ck_assert_str_eq(err.text, "m.gguf: tensor \"position_embd.weight\" is missing");
    struct checkpoint checkpoint = with_table(&tensor, FORMAT_F32, floats);
    tensor.shape[0] = DIM - 1;
    ck_assert_int_eq(position_open(&position, &config, &checkpoint, &err), -1);
    ck_assert_str_eq(
        err.text,
        "m.gguf: tensor \"position_embd.weight\" at byte 96: shape (319,5), expected (320,places)");
    checkpoint = with_table(&tensor, FORMAT_F32, floats);
    tensor.n_dims = 1;
    ck_assert_int_eq(position_open(&position, &config, &checkpoint, &err), -1);
    ck_assert_ptr_null(position.scheme);
}
END_TEST

Suite *learned_suite(void)
{
    Suite *suite = suite_create("learned");
    TCase *tcase = tcase_create("learned");
    tcase_add_test(tcase, test_formats);
    tcase_add_test(tcase, test_bad_tables);
    suite_add_tcase(suite, tcase);
    return suite;
}
