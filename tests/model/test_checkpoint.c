/* test_checkpoint: files are told apart by content, and what is no model is refused by what it is.
 */
#include "model/checkpoint.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/support.h"

static struct checkpoint checkpoint;
static struct error err;

static void expect_refusal(const char *path, const char *piece)
{
    ck_assert_int_eq(checkpoint_open(&checkpoint, path, &err), -1);
    ck_assert_msg(strstr(err.text, piece), "\"%s\" lacks \"%s\"", err.text, piece);
    ck_assert_msg(strncmp(err.text, path, strlen(path)) == 0, "\"%s\" lacks the path", err.text);
    struct checkpoint zero = {0};
    ck_assert_mem_eq(&checkpoint, &zero, sizeof zero);
}

START_TEST(what_is_no_file_is_refused)
{
    expect_refusal(scratch_path("absent.gguf"), "cannot open: No such file");
    expect_refusal("/", "is a directory without config.json, expected a model file");
    expect_refusal(scratch_write("empty.gguf", "", 0), "is empty");
}
END_TEST

#define FILE_OF(literal) literal, sizeof literal - 1

static const struct {
    const char *bytes;
    size_t size;
    const char *message;
} strangers[] = {
    {FILE_OF("Once upon a time\n"),
     "looks like a text file, expected a model: GGUF v2 or v3, llama2.c"},
    {FILE_OF("<!DOCTYPE html>\n<html>caf\xc3\xa9"), "looks like a text file"},
    {FILE_OF("version https://git-lfs.github.com/spec/v1\noid sha256:"),
     "looks like a Git LFS pointer"},
    {FILE_OF("\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0>\0"), "looks like a program"},
    {FILE_OF("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "looks like a PNG image"},
    {FILE_OF("PK\3\4\0\0\b\b\0\0archive/data.pkl"),
     "looks like a ZIP archive or PyTorch checkpoint"},
    {FILE_OF("\x80\2}q\0."), "looks like a Python pickle"},
    {FILE_OF("\x1f\x8b\b\0\0\0\0\0"), "looks like a gzip archive"},
    {FILE_OF("\x48\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\"}}"), "looks like a safetensors file"},
    {FILE_OF("tjgg\3\0\0\0"), "looks like a GGML file from before GGUF"},
    {FILE_OF("24ka\1\0\0\0"), "looks like a llama2.c export of version 1 or 2"},
    {FILE_OF("GGUX\3\0\0\0\0\0\0\0"), "looks like unknown data"},
    {FILE_OF("GGU"), "looks like a text file"},
    {FILE_OF("\0"), "looks like unknown data"},
    {FILE_OF("GGUF"), "ends at byte 4, inside the GGUF header: truncated?"},
};

START_TEST(strangers_are_named)
{
    expect_refusal(scratch_write("m.gguf", strangers[_i].bytes, strangers[_i].size),
                   strangers[_i].message);
}
END_TEST

START_TEST(the_name_does_not_matter)
{
    struct gguf_image image;
    gguf_image_init(&image);
    gguf_image_u32(&image, "x", 1);
    struct bytes file = gguf_image_finish(&image);
    const char *path = scratch_write("model.bin", file.data, file.size);
    free(file.data);
    ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == 0, "%s", err.text);
    ck_assert_str_eq(checkpoint.container, "GGUF v3");
    ck_assert_str_eq(checkpoint.path, path);
    ck_assert_str_eq(checkpoint.metadata.place, path);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(a_zeroed_checkpoint_closes)
{
    struct checkpoint zero = {0};
    checkpoint_close(&zero);
    ck_assert_ptr_null(checkpoint_find(&zero, "x"));
}
END_TEST

/* Names that are prefixes of each other, or hold a NUL, are told apart. */
START_TEST(look_up_is_exact)
{
    static const char *const names[] = {"b", "a", "abc", "ab", "", "blk.10.x", "blk.1.x"};
    enum { N = sizeof names / sizeof names[0] };
    struct gguf_image image;
    gguf_image_init(&image);
    for (size_t i = 0; i < N; i++) {
        float value = (float)i;
        gguf_image_tensor(&image, names[i], GGML_F32, 1, (uint64_t[]){1}, &value, 4);
    }
    struct bytes file = gguf_image_finish(&image);
    const char *path = scratch_write("m.gguf", file.data, file.size);
    free(file.data);
    ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == 0, "%s", err.text);
    for (size_t i = 0; i < N; i++) {
        const struct tensor *tensor = checkpoint_find(&checkpoint, names[i]);
        ck_assert_ptr_nonnull(tensor);
        ck_assert_float_eq(*(const float *)tensor->data, (float)i);
    }
    ck_assert_ptr_null(checkpoint_find(&checkpoint, "abcd"));
    ck_assert_ptr_null(checkpoint_find(&checkpoint, "c"));
    checkpoint_close(&checkpoint);
}
END_TEST

Suite *checkpoint_suite(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *tcase = tcase_create("checkpoint");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_test(tcase, what_is_no_file_is_refused);
    tcase_add_loop_test(tcase, strangers_are_named, 0,
                        (int)(sizeof strangers / sizeof strangers[0]));
    tcase_add_test(tcase, the_name_does_not_matter);
    tcase_add_test(tcase, a_zeroed_checkpoint_closes);
    tcase_add_test(tcase, look_up_is_exact);
    suite_add_tcase(suite, tcase);
    return suite;
}
