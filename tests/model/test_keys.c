/* keys: every type of value, one number or name a layer, and a message for what cannot be read. */
#include "model/keys.h"

#include <check.h>
#include <string.h>

#include "tests/model/directory.h"
#include "tests/suites.h"

static const char *const colours[] = {"red", "green", "blue"};

static struct keys reader(struct directory *directory, struct error *err)
{
    ck_assert_int_eq(metadata_sort(&directory->metadata, err), 0);
    err->text[0] = '\0';
    return (struct keys){.metadata = &directory->metadata, .prefix = "arch", .err = err};
}

START_TEST(test_values)
{
    struct directory directory;
    struct error err;
    directory_init(&directory);
    directory_set(&directory, "arch.int", value_i64(7));
    directory_set(&directory, "arch.double", value_f32(2.5));
    directory_set(&directory, "arch.bool", value_bool(true));
    directory_set(&directory, "arch.text", value_text("word"));
    directory_set(&directory, "arch.colour", value_text("blue"));
    struct keys keys = reader(&directory, &err);
    int number = 0, colour = 0;
    double real = 0;
    bool flag = false;
    struct text text = {NULL, 0};
    ck_assert_str_eq(keys_name(&keys, "a.b"), "arch.a.b");
    keys_int(&keys, "int", REQUIRED, 0, 10, &number);
    keys_double(&keys, "double", REQUIRED, &real);
    keys_bool(&keys, "bool", &flag);
    keys_text(&keys, "text", REQUIRED, &text);
    keys_choice(&keys, "colour", colours, 3, &colour);
    ck_assert_msg(!keys.failed, "%s", err.text);
    ck_assert_int_eq(number, 7);
    ck_assert_double_eq(real, 2.5);
    ck_assert(flag);
    ck_assert(text_equals(text, "word"));
    ck_assert_int_eq(colour, 2);
    directory_free(&directory);
}
END_TEST

/* Absent keys leave what was there, and are no failure. */
START_TEST(test_absent)
{
    struct directory directory;
    struct error err;
    directory_init(&directory);
    directory_set(&directory, "other.int", value_i64(7));
    struct keys keys = reader(&directory, &err);
    int number = 5, colour = 1;
    double real = 1.5;
    bool flag = true;
    struct text text = {"x", 1};
    keys_int(&keys, "int", OPTIONAL, 0, 10, &number);
    keys_double(&keys, "double", OPTIONAL, &real);
    keys_bool(&keys, "bool", &flag);
    keys_text(&keys, "text", OPTIONAL, &text);
    keys_choice(&keys, "colour", colours, 3, &colour);
    keys_layer_choice(&keys, "colour", colours, 3, 0, 2, &colour);
    keys_layer_double(&keys, "double", 0, 2, &real);
    ck_assert_msg(!keys.failed, "%s", err.text);
    ck_assert_int_eq(number, 5);
    ck_assert_double_eq(real, 1.5);
    ck_assert(flag);
    ck_assert(text_equals(text, "x"));
    ck_assert_int_eq(colour, 1);
    directory_free(&directory);
}
END_TEST

/* The first failure stays, and everything after it does nothing. */
START_TEST(test_first_failure)
{
    struct directory directory;
    struct error err;
    directory_init(&directory);
    directory_set(&directory, "arch.int", value_i64(11));
    directory_set(&directory, "arch.double", value_f32(2.5));
    directory_set(&directory, "arch.colour", value_text("blue"));
    directory_set(&directory, "arch.bool", value_bool(true));
    struct keys keys = reader(&directory, &err);
    int number = 5, colour = 1;
    double real = 1.5;
    bool flag = false;
    struct text text = {NULL, 0};
    keys_int(&keys, "int", REQUIRED, 0, 10, &number);
    ck_assert(keys.failed);
    ck_assert_msg(strstr(err.text, "m.gguf: ") && strstr(err.text, "arch.int") &&
                      strstr(err.text, "is 11, expected 0 to 10"),
                  "%s", err.text);
    char first[sizeof err.text];
    memcpy(first, err.text, sizeof first);
    keys_int(&keys, "missing", REQUIRED, 0, 10, &number);
    keys_double(&keys, "double", REQUIRED, &real);
    keys_bool(&keys, "bool", &flag);
    keys_text(&keys, "colour", REQUIRED, &text);
    keys_choice(&keys, "colour", colours, 3, &colour);
    keys_layer_choice(&keys, "colour", colours, 3, 0, 2, &colour);
    keys_layer_double(&keys, "double", 0, 2, &real);
    ck_assert_str_eq(err.text, first);
    ck_assert_int_eq(number, 5);
    ck_assert_double_eq(real, 1.5);
    ck_assert(!flag);
    ck_assert_ptr_null(text.bytes);
    ck_assert_int_eq(colour, 1);
    directory_free(&directory);
}
END_TEST

static double layer_number(struct directory *directory, int layer, int n_layers)
{
    struct error err;
    struct keys keys = reader(directory, &err);
    double value = -99;
    keys_layer_double(&keys, "x", layer, n_layers, &value);
    ck_assert_msg(!keys.failed, "%s", err.text);
    return value;
}

/* Every type of number, for all layers and one a layer. */
START_TEST(test_layer_numbers)
{
    static const struct {
        enum metadata_type type;
        size_t size;
        int64_t values[3];
    } rows[] = {
        {METADATA_U8, 1, {0, 200, 255}},
        {METADATA_I8, 1, {-128, -1, 127}},
        {METADATA_U16, 2, {1, 40000, 65535}},
        {METADATA_I16, 2, {-32768, -2, 32767}},
        {METADATA_U32, 4, {2, 3000000000, 4294967295}},
        {METADATA_I32, 4, {-2147483648, -3, 5}},
        {METADATA_U64, 8, {4, (int64_t)1 << 40, (int64_t)1 << 62}},
        {METADATA_I64, 8, {-((int64_t)1 << 50), -4, 6}},
        {METADATA_BOOL, 1, {1, 0, 1}},
    };
    struct directory directory;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        directory_init(&directory);
        directory_set(&directory, "arch.x",
                      value_ints(&directory, rows[i].type, rows[i].size, rows[i].values, 3));
        for (int l = 0; l < 3; l++)
            ck_assert_double_eq(layer_number(&directory, l, 3), (double)rows[i].values[l]);
        directory_free(&directory);
    }
    directory_init(&directory);
    directory_set(&directory, "arch.x", value_f32s(&directory, (float[]){0.5F, -1e30F}, 2));
    ck_assert_double_eq(layer_number(&directory, 0, 2), 0.5);
    ck_assert_double_eq(layer_number(&directory, 1, 2), (double)-1e30F);
    struct bytes *doubles = directory_array(&directory);
    bytes_add_uint(doubles, 0x3fd5555555555555, 8); /* 1/3 */
    bytes_add_uint(doubles, 0xc000000000000000, 8); /* -2 */
    directory_set(&directory, "arch.x", value_array(METADATA_F64, 2, doubles));
    ck_assert_double_eq(layer_number(&directory, 0, 2), 1.0 / 3);
    ck_assert_double_eq(layer_number(&directory, 1, 2), -2);
    directory_free(&directory);

    static const struct {
        enum metadata_type type;
        double expected;
    } shared[] = {{METADATA_U8, 7},   {METADATA_U16, 7},  {METADATA_U32, 7},  {METADATA_U64, 7},
                  {METADATA_I8, -7},  {METADATA_I16, -7}, {METADATA_I32, -7}, {METADATA_I64, -7},
                  {METADATA_F32, .7}, {METADATA_F64, .7}, {METADATA_BOOL, 1}};
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        struct metadata_value value = {.type = shared[i].type, .u = (uint64_t)shared[i].expected};
        if (shared[i].expected == .7)
            value.f = .7;
        else if (shared[i].expected < 0)
            value.i = -7;
        directory_init(&directory);
        directory_set(&directory, "arch.x", value);
        ck_assert_double_eq(layer_number(&directory, 1, 2), shared[i].expected);
        directory_free(&directory);
    }
}
END_TEST

START_TEST(test_layer_choices)
{
    struct directory directory;
    struct error err;
    static const char *const names[] = {"blue", "red", "green"};
    static const int expected[] = {2, 0, 1};
    directory_init(&directory);
    directory_set(&directory, "arch.colour", value_texts(&directory, names, 3));
    for (int l = 0; l < 3; l++) {
        struct keys keys = reader(&directory, &err);
        int colour = -1;
        keys_layer_choice(&keys, "colour", colours, 3, l, 3, &colour);
        ck_assert_msg(!keys.failed, "%s", err.text);
        ck_assert_int_eq(colour, expected[l]);
    }
    directory_set(&directory, "arch.colour", value_text("green"));
    struct keys keys = reader(&directory, &err);
    int colour = -1;
    keys_layer_choice(&keys, "colour", colours, 3, 1, 3, &colour);
    ck_assert_msg(!keys.failed, "%s", err.text);
    ck_assert_int_eq(colour, 1);
    directory_free(&directory);
}
END_TEST

enum reading { NUMBERS, NAMES };

static void refuse(enum reading reading, struct directory *directory, struct metadata_value value,
                   const char *message)
{
    struct error err;
    directory_set(directory, "arch.x", value);
    struct keys keys = reader(directory, &err);
    double number = 3;
    int choice = 1;
    if (reading == NUMBERS)
        keys_layer_double(&keys, "x", 1, 2, &number);
    else
        keys_layer_choice(&keys, "x", colours, 3, 1, 2, &choice);
    ck_assert_msg(keys.failed, "no failure, expected \"%s\"", message);
    ck_assert_str_eq(err.text, message);
    ck_assert_double_eq(number, 3);
    ck_assert_int_eq(choice, 1);
}

START_TEST(test_layer_messages)
{
    static const char *const words[] = {"red", "mauve", "\033"};
    struct directory directory;
    directory_init(&directory);
    struct metadata_value two = value_texts(&directory, words, 2);
    struct metadata_value three = value_texts(&directory, words, 3);
    struct metadata_value floats = value_f32s(&directory, (float[]){1, 2, 3}, 3);
    refuse(NUMBERS, &directory, floats, "m.gguf: arch.x has 3 items, expected 2, one a layer");
    refuse(NUMBERS, &directory, two, "m.gguf: arch.x has strings, expected numbers");
    refuse(NUMBERS, &directory, value_text("2"),
           "m.gguf: arch.x is a string, expected a number or one number a layer");
    refuse(NAMES, &directory, three, "m.gguf: arch.x has 3 items, expected 2, one a layer");
    refuse(NAMES, &directory, two, "m.gguf: arch.x is \"mauve\", allowed: red, green, blue");
    refuse(NAMES, &directory, value_text("\033"),
           "m.gguf: arch.x is \"\\x1b\", allowed: red, green, blue");
    refuse(NAMES, &directory, value_text(""), "m.gguf: arch.x is \"\", allowed: red, green, blue");
    refuse(NAMES, &directory, value_text("re"),
           "m.gguf: arch.x is \"re\", allowed: red, green, blue");
    directory_free(&directory);
}
END_TEST

START_TEST(test_wrong_types)
{
    struct directory directory;
    struct error err;
    directory_init(&directory);
    directory_set(&directory, "arch.x", value_f32s(&directory, (float[]){1, 2}, 2));
    directory_set(&directory, "arch.y", value_u32(1));
    int number = 5, choice = 1;
    double real = 1.5;
    bool flag = false;
    struct text text = {NULL, 0};
    struct keys keys = reader(&directory, &err);
    keys_layer_choice(&keys, "x", colours, 3, 0, 2, &choice);
    ck_assert_msg(keys.failed && strstr(err.text, "array of f32") && strstr(err.text, "string"),
                  "%s", err.text);
    keys = reader(&directory, &err);
    keys_layer_choice(&keys, "y", colours, 3, 0, 2, &choice);
    ck_assert_msg(keys.failed && strstr(err.text, "type u32, expected string"), "%s", err.text);
    keys = reader(&directory, &err);
    keys_choice(&keys, "y", colours, 3, &choice);
    ck_assert_msg(keys.failed && strstr(err.text, "type u32, expected string"), "%s", err.text);
    keys = reader(&directory, &err);
    keys_text(&keys, "missing", REQUIRED, &text);
    ck_assert_msg(keys.failed && strstr(err.text, "\"arch.missing\" is missing"), "%s", err.text);
    keys = reader(&directory, &err);
    keys_int(&keys, "x", REQUIRED, 0, 9, &number);
    ck_assert_msg(keys.failed && strstr(err.text, "array of f32"), "%s", err.text);
    keys = reader(&directory, &err);
    keys_double(&keys, "y", REQUIRED, &real);
    ck_assert_msg(keys.failed && strstr(err.text, "expected f32 or f64"), "%s", err.text);
    keys = reader(&directory, &err);
    keys_bool(&keys, "y", &flag);
    ck_assert_msg(keys.failed && strstr(err.text, "expected bool"), "%s", err.text);
    directory_free(&directory);
}
END_TEST

START_TEST(test_refuse)
{
    struct directory directory;
    struct error err;
    directory_init(&directory);
    struct keys keys = reader(&directory, &err);
    ck_assert_int_eq(keys_refuse(&keys, "a.b", 2.5, "3 or more"), -1);
    ck_assert(keys.failed);
    ck_assert_str_eq(err.text, "m.gguf: arch.a.b is 2.5, allowed: 3 or more");
    directory_free(&directory);
}
END_TEST

/* Names that would not fit a key or a message are cut, not written past their end. */
START_TEST(test_long_names)
{
    struct directory directory;
    struct error err;
    char name[300];
    const char *many[64];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (int i = 0; i < 64; i++)
        many[i] = "a rather long name";
    directory_init(&directory);
    directory_set(&directory, "arch.x", value_text("other"));
    struct keys keys = reader(&directory, &err);
    ck_assert_uint_eq(strlen(keys_name(&keys, name)), sizeof keys.key - 1);
    int choice = 1;
    keys_choice(&keys, "x", many, 64, &choice);
    ck_assert(keys.failed);
    ck_assert_msg(strstr(err.text, "is \"other\", allowed: a rather long name, a"), "%s", err.text);
    directory_free(&directory);
}
END_TEST

Suite *keys_suite(void)
{
    Suite *suite = suite_create("keys");
    TCase *tcase = tcase_create("keys");
    tcase_add_test(tcase, test_values);
    tcase_add_test(tcase, test_absent);
    tcase_add_test(tcase, test_first_failure);
    tcase_add_test(tcase, test_layer_numbers);
    tcase_add_test(tcase, test_layer_choices);
    tcase_add_test(tcase, test_layer_messages);
    tcase_add_test(tcase, test_wrong_types);
    tcase_add_test(tcase, test_refuse);
    tcase_add_test(tcase, test_long_names);
    suite_add_tcase(suite, tcase);
    return suite;
}
