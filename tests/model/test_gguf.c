/* test_gguf: good files of every shape open, and say what they hold. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"
#include "tests/suites.h"
#include "tests/support.h"

static struct checkpoint checkpoint;
static struct error err;

START_TEST(every_metadata_type_is_read)
{
    static const size_t item_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    struct gguf_image image;
    gguf_image_init(&image);
    gguf_image_number(&image, "u8", GGUF_U8, 0xFE, 1);
    gguf_image_number(&image, "i8", GGUF_I8, 0xFE, 1);
    gguf_image_number(&image, "u16", GGUF_U16, 0xFFFE, 2);
    gguf_image_number(&image, "i16", GGUF_I16, 0xFFFE, 2);
    gguf_image_number(&image, "u32", GGUF_U32, 0xFFFFFFFE, 4);
    gguf_image_number(&image, "i32", GGUF_I32, 0xFFFFFFFE, 4);
    gguf_image_number(&image, "u64", GGUF_U64, UINT64_MAX - 1, 8);
    gguf_image_number(&image, "i64", GGUF_I64, UINT64_MAX - 1, 8);
    gguf_image_number(&image, "f32", GGUF_F32, 0xC0200000, 4); /* -2.5 */
    gguf_image_number(&image, "f64", GGUF_F64, 0xC004000000000000, 8);
    gguf_image_bool(&image, "true", true);
    gguf_image_bool(&image, "false", false);
    gguf_image_text(&image, "text", "caf\xc3\xa9");
    for (uint32_t type = 0; type <= GGUF_F64; type++) {
        char key[16];
        snprintf(key, sizeof key, "array %u", (unsigned)type);
        if (item_bytes[type] == 0)
            continue;
        gguf_image_array(&image, key, type, 3);
        bytes_add(&image.entries, NULL, 3 * item_bytes[type]);
    }
    gguf_image_array(&image, "empty", GGUF_STRING, 0);
    ck_assert_msg(checkpoint_open(&checkpoint, gguf_image_write(&image, "m.gguf"), &err) == 0, "%s",
                  err.text);
    const struct metadata *metadata = &checkpoint.metadata;
    static const char *const unsigned_keys[] = {"u8", "u16", "u32", "u64"};
    static const uint64_t unsigned_values[] = {0xFE, 0xFFFE, 0xFFFFFFFE, UINT64_MAX - 1};
    static const char *const signed_keys[] = {"i8", "i16", "i32", "i64"};
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(metadata_find(metadata, unsigned_keys[i])->u, unsigned_values[i]);
        ck_assert_int_eq(metadata_find(metadata, signed_keys[i])->i, -2);
    }
    ck_assert(metadata_find(metadata, "f32")->f == -2.5 &&
              metadata_find(metadata, "f64")->f == -2.5);
    ck_assert(metadata_find(metadata, "true")->u == 1 && metadata_find(metadata, "false")->u == 0);
    ck_assert(text_equals(metadata_find(metadata, "text")->text, "caf\xc3\xa9"));
    for (uint32_t type = 0; type <= GGUF_F64; type++) {
        char key[16];
        snprintf(key, sizeof key, "array %u", (unsigned)type);
        const struct metadata_value *value = metadata_find(metadata, key);
        if (item_bytes[type] == 0)
            continue;
        ck_assert_ptr_nonnull(value);
        ck_assert_uint_eq(value->array.type, type);
        ck_assert_uint_eq(value->array.count, 3);
        ck_assert_uint_eq(value->array.size, 3 * item_bytes[type]);
    }
    ck_assert_uint_eq(metadata_find(metadata, "empty")->array.count, 0);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(the_alignment_key_moves_the_data)
{
    struct gguf_image image;
    float value = 7;
    gguf_image_init(&image);
    image.alignment = (size_t)1 << _i;
    gguf_image_number(&image, "general.alignment", GGUF_U32, image.alignment, 4);
    gguf_image_tensor(&image, "a", GGML_F32, 1, (uint64_t[]){1}, NULL, 4);
    gguf_image_tensor(&image, "b", GGML_F32, 1, (uint64_t[]){1}, &value, 4);
    ck_assert_msg(checkpoint_open(&checkpoint, gguf_image_write(&image, "m.gguf"), &err) == 0, "%s",
                  err.text);
    const struct tensor *b = checkpoint_find(&checkpoint, "b");
    ck_assert_ptr_nonnull(b);
    ck_assert_float_eq(*(const float *)b->data, 7.0f);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(a_file_without_tensors_or_metadata_opens)
{
    struct gguf_image image;
    gguf_image_init(&image);
    if (_i > 0)
        gguf_image_u32(&image, "x", 1);
    ck_assert_msg(checkpoint_open(&checkpoint, gguf_image_write(&image, "m.gguf"), &err) == 0, "%s",
                  err.text);
    ck_assert_uint_eq(checkpoint.n_tensors, 0);
    ck_assert_uint_eq(checkpoint.metadata.n_entries, (size_t)_i);
    ck_assert_ptr_null(checkpoint_find(&checkpoint, "a"));
    checkpoint_close(&checkpoint);
}
END_TEST

/* Overlap and duplicates are found by sorting: so many tensors would take minutes pair by pair. */
START_TEST(a_hundred_thousand_tensors_open_fast)
{
    enum { N = 100000 };
    struct gguf_image image;
    gguf_image_init(&image);
    for (int i = 0; i < N; i++) {
        char name[24];
        snprintf(name, sizeof name, "t%d", i * 7919 % N);
        gguf_image_record(&image, name, GGML_F32, 1, (uint64_t[]){8}, (uint64_t)i * 32);
    }
    bytes_add(&image.data, NULL, N * 32);
    ck_assert_msg(checkpoint_open(&checkpoint, gguf_image_write(&image, "m.gguf"), &err) == 0, "%s",
                  err.text);
    ck_assert_uint_eq(checkpoint.n_tensors, N);
    const struct tensor *last = checkpoint_find(&checkpoint, "t99999");
    ck_assert_ptr_nonnull(last);
    checkpoint_close(&checkpoint);
}
END_TEST

static const struct {
    const char *name;
    size_t n_tokens;
} vocabularies[] = {{"gpt-2", 50257}, {"llama-spm", 32000}, {"falcon", 65024}};

START_TEST(real_vocabularies_open)
{
    char name[64], path[256];
    snprintf(name, sizeof name, "data/vocab/%s.gguf", vocabularies[_i].name);
    if (!support_shared(name, path, sizeof path))
        return;
    ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == 0, "%s", err.text);
    struct cursor items;
    uint64_t count;
    ck_assert_int_eq(metadata_array(&checkpoint.metadata, "tokenizer.ggml.tokens", REQUIRED,
                                    METADATA_STRING, &items, &count, &err),
                     0);
    ck_assert_uint_eq(count, vocabularies[_i].n_tokens);
    for (uint64_t i = 0; i < count; i++)
        metadata_next_text(&items);
    ck_assert(!items.failed);
    ck_assert_uint_eq(cursor_left(&items), 0);
    checkpoint_close(&checkpoint);
}
END_TEST

static const struct {
    const char *path;
    const char *container;
    int n_files;
} fixtures[] = {
    {"tests/data/llama.gguf", "GGUF v3", 1},
    {"tests/data/llama-v2.gguf", "GGUF v2", 1},
    {"tests/data/llama3.gguf", "GGUF v3", 1},
    {"tests/data/qwen2.gguf", "GGUF v3", 1},
    {"tests/data/qwen3.gguf", "GGUF v3", 1},
    {"tests/data/gptneox.gguf", "GGUF v3", 1},
    {"tests/data/gpt2.gguf", "GGUF v3", 1},
    {"tests/data/bloom.gguf", "GGUF v3", 1},
    {"tests/data/mpt.gguf", "GGUF v3", 1},
    {"tests/data/formats.gguf", "GGUF v3", 1},
    {"tests/data/llama-00001-of-00003.gguf", "GGUF v3", 3},
};

START_TEST(files_of_the_reference_writer_open)
{
    ck_assert_msg(checkpoint_open(&checkpoint, fixtures[_i].path, &err) == 0, "%s", err.text);
    ck_assert_str_eq(checkpoint.container, fixtures[_i].container);
    ck_assert_int_eq(checkpoint.n_files, fixtures[_i].n_files);
    ck_assert_uint_gt(checkpoint.n_tensors, 0);
    checkpoint_close(&checkpoint);
}
END_TEST

/* The version 2 file and the split one hold the same model as the plain one. */
START_TEST(forms_of_one_model_are_equal)
{
    struct checkpoint plain, other;
    ck_assert_int_eq(checkpoint_open(&plain, "tests/data/llama.gguf", &err), 0);
    ck_assert_int_eq(checkpoint_open(&other,
                                     _i == 0 ? "tests/data/llama-v2.gguf"
                                             : "tests/data/llama-00001-of-00003.gguf",
                                     &err),
                     0);
    ck_assert_uint_eq(plain.n_tensors, other.n_tensors);
    for (size_t i = 0; i < plain.n_tensors; i++) {
        const struct tensor *left = &plain.tensors[i], *right = &other.tensors[i];
        ck_assert_int_eq(text_compare(left->name, right->name), 0);
        ck_assert_int_eq(left->format, right->format);
        ck_assert_mem_eq(left->shape, right->shape, sizeof left->shape);
        ck_assert_uint_eq(left->bytes, right->bytes);
        ck_assert_mem_eq(left->data, right->data, left->bytes);
    }
    checkpoint_close(&plain);
    checkpoint_close(&other);
}
END_TEST

Suite *gguf_suite(void)
{
    Suite *suite = suite_create("gguf");
    TCase *tcase = tcase_create("gguf");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_test(tcase, every_metadata_type_is_read);
    tcase_add_loop_test(tcase, the_alignment_key_moves_the_data, 3, 17);
    tcase_add_loop_test(tcase, a_file_without_tensors_or_metadata_opens, 0, 2);
    tcase_add_test(tcase, a_hundred_thousand_tensors_open_fast);
    tcase_add_loop_test(tcase, real_vocabularies_open, 0,
                        (int)(sizeof vocabularies / sizeof vocabularies[0]));
    tcase_add_loop_test(tcase, files_of_the_reference_writer_open, 0,
                        (int)(sizeof fixtures / sizeof fixtures[0]));
    tcase_add_loop_test(tcase, forms_of_one_model_are_equal, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
