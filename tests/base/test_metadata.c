/* test_metadata: entries are sorted, found and converted with their type and range checked. */
#include "base/metadata.h"

#include <check.h>
#include <stdlib.h>

#include "tests/suites.h"
#include "tests/support.h"

static struct metadata metadata;
static struct error err;

static void add(const char *key, struct metadata_value value)
{
    ck_assert_int_eq(metadata_add(&metadata, (struct text){key, strlen(key)}, value, &err), 0);
}

/* Keys in no order, one of every type. */
static void make(void)
{
    static const uint8_t numbers[] = {1, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF};
    static const uint8_t words[] = "\2\0\0\0\0\0\0\0ab\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0c";
    metadata = (struct metadata){.place = "m.gguf"};
    err = (struct error){""};
    add("u8", (struct metadata_value){.type = METADATA_U8, .u = 255});
    add("i8", (struct metadata_value){.type = METADATA_I8, .i = -128});
    add("u16", (struct metadata_value){.type = METADATA_U16, .u = 65535});
    add("i16", (struct metadata_value){.type = METADATA_I16, .i = 300});
    add("u64", (struct metadata_value){.type = METADATA_U64, .u = UINT64_MAX});
    add("u32", (struct metadata_value){.type = METADATA_U32, .u = 4000000000});
    add("i32", (struct metadata_value){.type = METADATA_I32, .i = -5});
    add("i64", (struct metadata_value){.type = METADATA_I64, .i = INT64_MIN});
    add("f32", (struct metadata_value){.type = METADATA_F32, .f = 1.5});
    add("f64", (struct metadata_value){.type = METADATA_F64, .f = 1e-300});
    add("yes", (struct metadata_value){.type = METADATA_BOOL, .u = 1});
    add("name", (struct metadata_value){.type = METADATA_STRING, .text = {"llama", 5}});
    add("numbers", (struct metadata_value){.type = METADATA_ARRAY,
                                           .array = {METADATA_I32, 2, numbers, sizeof numbers}});
    add("words", (struct metadata_value){.type = METADATA_ARRAY,
                                         .array = {METADATA_STRING, 3, words, sizeof words - 1}});
    ck_assert_int_eq(metadata_sort(&metadata, &err), 0);
}

static void drop(void)
{
    metadata_free(&metadata);
    ck_assert_ptr_null(metadata.entries);
    metadata_free(&metadata);
}

START_TEST(every_key_is_found_and_no_other)
{
    ck_assert_uint_eq(metadata.n_entries, 14);
    for (size_t i = 0; i < metadata.n_entries; i++) {
        char key[16] = "";
        memcpy(key, metadata.entries[i].key.bytes, metadata.entries[i].key.length);
        ck_assert_ptr_eq(metadata_find(&metadata, key), &metadata.entries[i].value);
    }
    ck_assert_ptr_null(metadata_find(&metadata, "nam"));
    ck_assert_ptr_null(metadata_find(&metadata, "names"));
    ck_assert_ptr_null(metadata_find(&metadata, ""));
    ck_assert_ptr_null(metadata_find(&(struct metadata){0}, "name"));
}
END_TEST

START_TEST(integers_of_any_type_convert)
{
    static const struct {
        const char *key;
        int value;
    } ints[] = {{"u8", 255}, {"i8", -128}, {"u16", 65535}, {"i16", 300}, {"i32", -5}};
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        int value;
        ck_assert_int_eq(metadata_int(&metadata, ints[i].key, REQUIRED, -128, 65535, &value, &err),
                         0);
        ck_assert_int_eq(value, ints[i].value);
    }
    uint64_t large;
    ck_assert_int_eq(metadata_u64(&metadata, "u64", REQUIRED, &large, &err), 0);
    ck_assert_uint_eq(large, UINT64_MAX);
    ck_assert_int_eq(metadata_u64(&metadata, "u32", OPTIONAL, &large, &err), 0);
    ck_assert_uint_eq(large, 4000000000);
    ck_assert_int_eq(metadata_u64(&metadata, "i16", OPTIONAL, &large, &err), 0);
    ck_assert_uint_eq(large, 300);
}
END_TEST

START_TEST(other_scalars_are_read)
{
    double number;
    bool yes = false;
    struct text name;
    ck_assert_int_eq(metadata_double(&metadata, "f32", REQUIRED, &number, &err), 0);
    ck_assert(number == 1.5);
    ck_assert_int_eq(metadata_double(&metadata, "f64", REQUIRED, &number, &err), 0);
    ck_assert(number == 1e-300);
    ck_assert_int_eq(metadata_bool(&metadata, "yes", REQUIRED, &yes, &err), 0);
    ck_assert(yes);
    ck_assert_int_eq(metadata_text(&metadata, "name", REQUIRED, &name, &err), 0);
    ck_assert(text_equals(name, "llama"));
}
END_TEST

START_TEST(arrays_are_walked)
{
    struct cursor items;
    uint64_t count;
    ck_assert_int_eq(
        metadata_array(&metadata, "numbers", REQUIRED, METADATA_I32, &items, &count, &err), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(cursor_u32(&items), 1);
    ck_assert_int_eq((int32_t)cursor_u32(&items), -2);
    ck_assert_int_eq(
        metadata_array(&metadata, "words", REQUIRED, METADATA_STRING, &items, &count, &err), 0);
    ck_assert_uint_eq(count, 3);
    ck_assert(text_equals(metadata_next_text(&items), "ab"));
    ck_assert(text_equals(metadata_next_text(&items), ""));
    ck_assert(text_equals(metadata_next_text(&items), "c"));
    ck_assert(!items.failed);
    ck_assert(text_equals(metadata_next_text(&items), ""));
    ck_assert(items.failed);
}
END_TEST

START_TEST(absent_optional_keys_change_nothing)
{
    int number = 7;
    uint64_t large = 8;
    double real = 9;
    bool yes = true;
    struct text name = {"x", 1};
    struct cursor items;
    uint64_t count = 10;
    ck_assert_int_eq(metadata_int(&metadata, "no", OPTIONAL, 0, 1, &number, &err), 0);
    ck_assert_int_eq(metadata_u64(&metadata, "no", OPTIONAL, &large, &err), 0);
    ck_assert_int_eq(metadata_double(&metadata, "no", OPTIONAL, &real, &err), 0);
    ck_assert_int_eq(metadata_bool(&metadata, "no", OPTIONAL, &yes, &err), 0);
    ck_assert_int_eq(metadata_text(&metadata, "no", OPTIONAL, &name, &err), 0);
    ck_assert_int_eq(number, 7);
    ck_assert_uint_eq(large, 8);
    ck_assert(real == 9 && yes && text_equals(name, "x"));
    ck_assert_int_eq(metadata_array(&metadata, "no", OPTIONAL, METADATA_F32, &items, &count, &err),
                     0);
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(cursor_left(&items), 0);
}
END_TEST

enum form { INT, U64, DOUBLE, BOOL, TEXT, WORDS };

static int look_up(enum form form, const char *key)
{
    int number;
    uint64_t large;
    double real;
    bool yes;
    struct text name;
    struct cursor items;
    switch (form) {
    case INT:
        return metadata_int(&metadata, key, REQUIRED, -10, 299, &number, &err);
    case U64:
        return metadata_u64(&metadata, key, REQUIRED, &large, &err);
    case DOUBLE:
        return metadata_double(&metadata, key, REQUIRED, &real, &err);
    case BOOL:
        return metadata_bool(&metadata, key, REQUIRED, &yes, &err);
    case TEXT:
        return metadata_text(&metadata, key, REQUIRED, &name, &err);
    default:
        return metadata_array(&metadata, key, REQUIRED, METADATA_STRING, &items, &large, &err);
    }
}

static const struct {
    enum form form;
    const char *key;
    const char *message;
} refusals[] = {
    {INT, "no", "m.gguf: metadata key \"no\" is missing, expected an integer"},
    {U64, "no", "m.gguf: metadata key \"no\" is missing, expected an integer"},
    {DOUBLE, "no", "m.gguf: metadata key \"no\" is missing, expected f32 or f64"},
    {BOOL, "no", "m.gguf: metadata key \"no\" is missing, expected bool"},
    {TEXT, "no", "m.gguf: metadata key \"no\" is missing, expected string"},
    {WORDS, "no", "m.gguf: metadata key \"no\" is missing, expected array of string"},
    {INT, "name", "m.gguf: metadata \"name\" has type string, expected an integer"},
    {INT, "yes", "m.gguf: metadata \"yes\" has type bool, expected an integer"},
    {U64, "f32", "m.gguf: metadata \"f32\" has type f32, expected an integer"},
    {DOUBLE, "u8", "m.gguf: metadata \"u8\" has type u8, expected f32 or f64"},
    {BOOL, "u8", "m.gguf: metadata \"u8\" has type u8, expected bool"},
    {TEXT, "words", "m.gguf: metadata \"words\" has type array of string, expected string"},
    {WORDS, "numbers",
     "m.gguf: metadata \"numbers\" has type array of i32, expected array of string"},
    {WORDS, "i64", "m.gguf: metadata \"i64\" has type i64, expected array of string"},
    {INT, "i16", "m.gguf: metadata \"i16\" is 300, expected -10 to 299"},
    {INT, "i8", "m.gguf: metadata \"i8\" is -128, expected -10 to 299"},
    {INT, "u64", "m.gguf: metadata \"u64\" is 18446744073709551615, expected -10 to 299"},
    {U64, "i32", "m.gguf: metadata \"i32\" is -5, expected 0 or more"},
};

START_TEST(wrong_look_ups_are_refused)
{
    ck_assert_int_eq(look_up(refusals[_i].form, refusals[_i].key), -1);
    ck_assert_str_eq(err.text, refusals[_i].message);
}
END_TEST

START_TEST(a_key_that_occurs_twice_is_refused)
{
    add("a\x1b", (struct metadata_value){.type = METADATA_U8});
    add("a\x1b", (struct metadata_value){.type = METADATA_U8, .u = 1});
    ck_assert_int_eq(metadata_sort(&metadata, &err), -1);
    ck_assert_str_eq(err.text, "m.gguf: metadata key \"a\\x1b\" occurs twice, expected once");
}
END_TEST

START_TEST(types_have_names_and_sizes)
{
    ck_assert_str_eq(metadata_type_name(METADATA_U8), "u8");
    ck_assert_str_eq(metadata_type_name(METADATA_F64), "f64");
    ck_assert_str_eq(metadata_type_name(METADATA_TYPE_COUNT), "unknown");
    static const size_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8, 0};
    for (int i = 0; i <= METADATA_TYPE_COUNT; i++)
        ck_assert_uint_eq(metadata_type_bytes((enum metadata_type)i), bytes[i]);
}
END_TEST

START_TEST(want_of_memory_is_an_error)
{
    struct metadata small = {.place = "m.gguf"};
    struct text key = {"k", 1};
    support_fail_memory(1, false);
    int result = metadata_add(&small, key, (struct metadata_value){0}, &err);
    support_fail_memory(0, false);
    ck_assert_int_eq(support_memory_failures(), 1);
    ck_assert_int_eq(result, -1);
    ck_assert_ptr_nonnull(strstr(err.text, "out of memory"));
    ck_assert_uint_eq(small.n_entries, 0);
    metadata_free(&small);
}
END_TEST

Suite *metadata_suite(void)
{
    Suite *suite = suite_create("metadata");
    TCase *tcase = tcase_create("metadata");
    tcase_add_checked_fixture(tcase, make, drop);
    tcase_add_test(tcase, every_key_is_found_and_no_other);
    tcase_add_test(tcase, integers_of_any_type_convert);
    tcase_add_test(tcase, other_scalars_are_read);
    tcase_add_test(tcase, arrays_are_walked);
    tcase_add_test(tcase, absent_optional_keys_change_nothing);
    tcase_add_loop_test(tcase, wrong_look_ups_are_refused, 0,
                        (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(tcase, a_key_that_occurs_twice_is_refused);
    tcase_add_test(tcase, types_have_names_and_sizes);
    tcase_add_test(tcase, want_of_memory_is_an_error);
    suite_add_tcase(suite, tcase);
    return suite;
}
