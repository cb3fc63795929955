/* position: the table of schemes, what opening one sets, and what all schemes read and turn with.
 */
#include "model/position/position.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/position/scheme.h"
#include "tests/suites.h"

START_TEST(test_table)
{
    static const struct {
        enum position_kind kind;
        const char *name;
        enum position_nature nature;
    } rows[] = {
        {POSITION_NONE, "none", POSITION_PLACELESS},
        {POSITION_SINUSOIDAL, "sinusoidal", POSITION_ABSOLUTE},
        {POSITION_LEARNED, "learned", POSITION_ABSOLUTE},
        {POSITION_ROPE, "rope", POSITION_REAL},
        {POSITION_XPOS, "xpos", POSITION_REAL},
        {POSITION_ALIBI, "alibi", POSITION_REAL},
        {POSITION_T5, "t5", POSITION_WHOLE},
        {POSITION_SHAW, "shaw", POSITION_WHOLE},
        {POSITION_TRANSFORMER_XL, "transformer-xl", POSITION_WHOLE},
        {POSITION_DISENTANGLED, "disentangled", POSITION_WHOLE},
        {POSITION_KERPLE, "kerple", POSITION_REAL},
        {POSITION_SANDWICH, "sandwich", POSITION_REAL},
        {POSITION_FIRE, "fire", POSITION_ABSOLUTE},
        {POSITION_COPE, "cope", POSITION_PLACELESS},
    };
    static const struct position_scheme *const schemes[] = {
        &position_none,           &position_sinusoidal,   &position_learned, &position_rope,
        &position_xpos,           &position_alibi,        &position_t5,      &position_shaw,
        &position_transformer_xl, &position_disentangled, &position_kerple,  &position_sandwich,
        &position_fire,           &position_cope};
    ck_assert_int_eq(sizeof rows / sizeof rows[0], POSITION_COUNT);
    for (int i = 0; i < POSITION_COUNT; i++) {
        ck_assert_str_eq(position_name(rows[i].kind), rows[i].name);
        ck_assert_str_eq(schemes[i]->name, rows[i].name);
        ck_assert_msg(schemes[i]->nature == rows[i].nature, "%s", rows[i].name);
    }
}
END_TEST

START_TEST(test_defaults)
{
    struct scheme scheme;
    scheme_init(&scheme, POSITION_ROPE, 2);
    scheme.layers[1] = (struct layer_config){.position = POSITION_NONE};
    scheme.layer = 1;
    scheme_open(&scheme);
    const struct position *position = &scheme.position;
    ck_assert_ptr_eq(position->scheme, &position_none);
    ck_assert_ptr_eq(position->config, &scheme.config);
    ck_assert_ptr_eq(position->layer, &scheme.layers[1]);
    ck_assert(position->limit == INT64_MAX && position->last_distance == INT64_MAX);
    ck_assert_float_eq(position->scale, 0.5F); /* 1 / sqrt(4) */
    ck_assert_float_eq(position->rotation_scale, 1);
    ck_assert_int_eq(position->rotated, 0);
    position_close(&scheme.position);
    ck_assert_ptr_null(scheme.position.scheme);
    scheme_close(&scheme);

    scheme_init(&scheme, POSITION_NONE, 2);
    scheme.config.attention_scale = 0.125F;
    scheme_open(&scheme);
    ck_assert_float_eq(scheme.position.scale, 0.125F);
    scheme_close(&scheme);
}
END_TEST

/* A line that does not fit is cut, and nothing behind it is touched. */
START_TEST(test_describe)
{
    struct scheme scheme;
    char whole[128], text[129];
    scheme_init(&scheme, POSITION_ROPE, 2);
    scheme.layers[0].rope_base = 10000;
    scheme_open(&scheme);
    position_describe(&scheme.position, whole, sizeof whole);
    ck_assert_msg(strncmp(whole, "rope, base 10000, 4 of 4", 24) == 0, "%s", whole);
    for (size_t size = 1; size < sizeof whole; size++) {
        memset(text, '#', sizeof text);
        position_describe(&scheme.position, text, size);
        ck_assert_uint_lt(strlen(text), size);
        ck_assert_int_eq(text[size], '#');
        ck_assert_int_eq(strncmp(text, whole, strlen(text)), 0);
    }
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_no_memory)
{
    static const enum position_kind kinds[] = {POSITION_ROPE, POSITION_ALIBI};
    for (size_t i = 0; i < 2; i++) {
        struct scheme scheme;
        scheme_init(&scheme, kinds[i], 4);
        scheme.architecture.alibi_max_bias = 8;
        scheme.layers[0].rope_base = 10000;
        scheme_open_starved(&scheme);
        scheme_close(&scheme);
    }
}
END_TEST

/* --- reading ---------------------------------------------------------------------------------- */

static const float numbers[] = {1, 2, 3, 4, 5, 6, 7, 8};

static struct position_source source_of(const struct scheme *scheme, int layer)
{
    return (struct position_source){
        .config = &scheme->config, .checkpoint = &scheme->checkpoint, .layer = layer};
}

static void check_read(const struct scheme *scheme, int layer, const char *name, int64_t rows,
                       int64_t cols, const float *expected)
{
    struct error err;
    struct position_source source = source_of(scheme, layer);
    float *x;
    ck_assert_msg(position_read(&source, name, REQUIRED, rows, cols, &x, &err) == 0, "%s",
                  err.text);
    for (int64_t i = 0; i < rows * cols; i++)
        ck_assert_float_eq(x[i], expected[i]);
    free(x);
}

/* A layer's own tensor, or that of all. */
START_TEST(test_read)
{
    struct scheme scheme;
    static const uint16_t halves[] = {0x3c00, 0xc000, 0x3555, 0x0001};
    static const float as_floats[] = {1, -2, 0.333251953125F, 5.9604645e-8F};
    scheme_init(&scheme, POSITION_NONE, 2);
    scheme_tensor(&scheme, "shared.weight", 2, 4, numbers);
    scheme_tensor(&scheme, "both.weight", 2, 2, numbers);
    scheme_tensor(&scheme, "blk.1.both.weight", 2, 2, numbers + 4);
    scheme_tensor(&scheme, "vector.weight", 0, 4, numbers);
    scheme_tensor(&scheme, "row.weight", 1, 4, numbers);
    gguf_image_tensor(&scheme.image, "half.weight", GGML_F16, 2, (uint64_t[]){2, 2}, halves,
                      sizeof halves);
    scheme_open(&scheme);
    check_read(&scheme, 0, "shared.weight", 2, 4, numbers);
    check_read(&scheme, 1, "shared.weight", 2, 4, numbers);
    check_read(&scheme, 0, "both.weight", 2, 2, numbers);
    check_read(&scheme, 1, "both.weight", 2, 2, numbers + 4);
    check_read(&scheme, 0, "vector.weight", 1, 4, numbers);
    check_read(&scheme, 0, "row.weight", 1, 4, numbers);
    check_read(&scheme, 0, "half.weight", 2, 2, as_floats);

    struct error err;
    struct position_source source = source_of(&scheme, 1);
    float dummy, *x = &dummy;
    ck_assert_int_eq(position_read(&source, "absent.weight", OPTIONAL, 2, 4, &x, &err), 0);
    ck_assert_ptr_null(x);
    support_fail_memory(1, true);
    int result = position_read(&source, "shared.weight", REQUIRED, 2, 4, &x, &err);
    support_fail_memory(0, false);
    ck_assert_int_eq(result, -1);
    ck_assert_ptr_null(x);
    ck_assert_msg(strstr(err.text, "out of memory") && strstr(err.text, "shared.weight"), "%s",
                  err.text);
    scheme_close(&scheme);
}
END_TEST

static void refuse_read(const struct scheme *scheme, const char *name, int64_t rows, int64_t cols,
                        const char *message)
{
    struct error err = {""};
    struct position_source source = source_of(scheme, 1);
    float dummy, *x = &dummy;
    ck_assert_msg(position_read(&source, name, REQUIRED, rows, cols, &x, &err) == -1,
                  "no error, expected \"%s\"", message);
    ck_assert_ptr_null(x);
    ck_assert_msg(strstr(err.text, message) && strstr(err.text, "m.gguf: tensor "),
                  "no \"%s\" in \"%s\"", message, err.text);
}

START_TEST(test_read_messages)
{
    struct scheme scheme;
    scheme_init(&scheme, POSITION_NONE, 2);
    scheme_tensor(&scheme, "matrix.weight", 2, 4, numbers);
    scheme_tensor(&scheme, "vector.weight", 0, 4, numbers);
    scheme_tensor(&scheme, "blk.1.own.weight", 2, 2, numbers);
    scheme_open(&scheme);
    refuse_read(&scheme, "absent.weight", 2, 4,
                "\"blk.1.absent.weight\" is missing, and so is \"absent.weight\"");
    refuse_read(&scheme, "matrix.weight", 4, 2, "shape (4,2,1), expected (2,4)");
    refuse_read(&scheme, "matrix.weight", 1, 8, "shape (4,2,1), expected (8,1)");
    refuse_read(&scheme, "matrix.weight", 2, 3, "shape (4,2,1), expected (3,2)");
    refuse_read(&scheme, "vector.weight", 4, 1, "shape (4,1,1), expected (1,4)");
    refuse_read(&scheme, "vector.weight", 1, 3, "shape (4,1,1), expected (3,1)");
    refuse_read(&scheme, "own.weight", 2, 4, "\"blk.1.own.weight\" at byte ");
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_rows)
{
    struct scheme scheme;
    struct error err;
    scheme_init(&scheme, POSITION_NONE, 2);
    scheme_tensor(&scheme, "matrix.weight", 2, 4, numbers);
    scheme_tensor(&scheme, "blk.1.matrix.weight", 4, 2, numbers);
    scheme_tensor(&scheme, "vector.weight", 0, 4, numbers);
    gguf_image_tensor(&scheme.image, "cube.weight", GGML_F32, 3, (uint64_t[]){2, 2, 2}, numbers,
                      sizeof numbers);
    scheme_open(&scheme);
    struct position_source first = source_of(&scheme, 0), second = source_of(&scheme, 1);
    ck_assert_int_eq(position_rows(&first, "matrix.weight", 4, &err), 2);
    ck_assert_int_eq(position_rows(&second, "matrix.weight", 2, &err), 4);
    ck_assert_int_eq(position_rows(&first, "vector.weight", 4, &err), 1);
    ck_assert_int_eq(position_rows(&first, "matrix.weight", 2, &err), -1);
    ck_assert_msg(strstr(err.text, "m.gguf: tensor \"matrix.weight\" at byte ") &&
                      strstr(err.text, "shape (4,2), expected (2,rows)"),
                  "%s", err.text);
    ck_assert_int_eq(position_rows(&first, "cube.weight", 2, &err), -1);
    ck_assert_msg(strstr(err.text, "cube.weight") != NULL, "%s", err.text);
    ck_assert_int_eq(position_rows(&second, "absent.weight", 2, &err), -1);
    ck_assert_str_eq(strchr(err.text, '"'),
                     "\"blk.1.absent.weight\" is missing, and so is \"absent.weight\"");
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_check)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const char *const shown[] = {"nan", "number 2 is inf", "number 2 is -inf"};
    struct scheme scheme;
    struct error err;
    scheme_init(&scheme, POSITION_NONE, 2);
    scheme_open(&scheme);
    struct position_source source = source_of(&scheme, 1);
    ck_assert_int_eq(position_check(&source, "x.weight", numbers, 8, &err), 0);
    ck_assert_int_eq(position_check(&source, "x.weight", NULL, 8, &err), 0);
    for (int i = 0; i < 3; i++) {
        float x[] = {3.4e38F, -1, bad[i], 1};
        ck_assert_int_eq(position_check(&source, "x.weight", x, 2, &err), 0);
        ck_assert_int_eq(position_check(&source, "x.weight", x, 4, &err), -1);
        ck_assert_msg(strstr(err.text, "m.gguf: tensor \"x.weight\" of layer 1: number 2 is") &&
                          strstr(err.text, shown[i]) && strstr(err.text, "expected a finite one"),
                      "%s", err.text);
    }
    scheme_close(&scheme);
}
END_TEST

/* --- turning ---------------------------------------------------------------------------------- */

/* Every head of a token is turned, and only the dimensions that are rotated: [1 2 3 4] at place 1,
 * base 10000. */
START_TEST(test_rotate)
{
    static const float expected[][6] = {
        [ROPE_INTERLEAVED] = {-1.1426397F, 1.9220756F, 2.9598507F, 4.0297995F, 5, 6},
        [ROPE_HALVES] = {-1.9841106F, 1.9599007F, 2.4623779F, 4.0197997F, 5, 6},
    };
    const struct config config = {.head_dim = 6};
    const float cosines[] = {0.54030231F, 0.99995F}, sines[] = {0.84147098F, 0.0099998333F};
    for (int tier = 0; kernels_available(tier); tier++)
        for (int pairs = ROPE_INTERLEAVED; pairs <= ROPE_HALVES; pairs++) {
            const struct position position = {
                .config = &config, .rotated = 4, .pairs = (enum rope_pairs)pairs};
            struct kernels kernels;
            struct error err;
            float x[3 * 6 + 1];
            ck_assert_int_eq(kernels_select(&kernels, kernels_available(tier), &err), 0);
            for (int i = 0; i < 3 * 6 + 1; i++)
                x[i] = (float)(i % 6 + 1);
            position_rotate(&position, &kernels, x, 3, cosines, sines);
            for (int i = 0; i < 3 * 6; i++)
                ck_assert_float_eq_tol(x[i], expected[pairs][i % 6], 1e-6F);
            ck_assert_float_eq(x[18], 1);
        }
}
END_TEST

/* The queries' turns alone carry the scheme's factor; places may be any number. */
START_TEST(test_turns)
{
    static const double places[] = {0, 1, 2.5, -3, 16777217};
    struct scheme scheme;
    scheme_init(&scheme, POSITION_ROPE, 2);
    scheme.layers[0].rope_base = 10000;
    scheme_open(&scheme);
    scheme.position.rotation_scale = 1.5F;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        for (int query = 0; query < 2; query++) {
            double scale = query ? 1.5 : 1;
            float cosines[3] = {9, 9, 9}, sines[3] = {9, 9, 9};
            position_turns(&scheme.position, places[i], 64, query == 1, cosines, sines);
            for (int t = 0; t < 2; t++) {
                double angle = places[i] * (t == 0 ? 1 : 0.01);
                ck_assert_float_eq_tol(cosines[t], (float)(scale * cos(angle)), 1e-6F);
                ck_assert_float_eq_tol(sines[t], (float)(scale * sin(angle)), 1e-6F);
            }
            ck_assert_float_eq(cosines[2], 9);
            ck_assert_float_eq(sines[2], 9);
        }
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_multiply)
{
    static const float factor[] = {2, 10};
    static const float expected[][6] = {
        [ROPE_INTERLEAVED] = {2, 4, 30, 40, 5, 6}, [ROPE_HALVES] = {2, 20, 6, 40, 5, 6}};
    const struct config config = {.head_dim = 6};
    for (int pairs = ROPE_INTERLEAVED; pairs <= ROPE_HALVES; pairs++) {
        const struct position position = {
            .config = &config, .rotated = 4, .pairs = (enum rope_pairs)pairs};
        float x[2 * 6 + 1];
        for (int i = 0; i < 2 * 6 + 1; i++)
            x[i] = (float)(i % 6 + 1);
        position_multiply(&position, x, 2, factor);
        for (int i = 0; i < 2 * 6; i++)
            ck_assert_float_eq(x[i], expected[pairs][i % 6]);
        ck_assert_float_eq(x[12], 1);
    }
}
END_TEST

Suite *position_suite(void)
{
    Suite *suite = suite_create("position");
    TCase *tcase = tcase_create("position");
    tcase_add_test(tcase, test_table);
    tcase_add_test(tcase, test_defaults);
    tcase_add_test(tcase, test_describe);
    tcase_add_test(tcase, test_no_memory);
    tcase_add_test(tcase, test_read);
    tcase_add_test(tcase, test_read_messages);
    tcase_add_test(tcase, test_rows);
    tcase_add_test(tcase, test_check);
    tcase_add_test(tcase, test_rotate);
    tcase_add_test(tcase, test_turns);
    tcase_add_test(tcase, test_multiply);
    suite_add_tcase(suite, tcase);
    return suite;
}
