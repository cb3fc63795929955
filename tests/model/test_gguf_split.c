/* test_gguf_split: models split over several files open whole; sets that do not match are refused.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/checkpoint.h"
#include "tests/suites.h"
#include "tests/support.h"

static struct checkpoint checkpoint;
static struct error err;

static void expect_message(const char *piece)
{
    ck_assert_msg(strstr(err.text, piece), "\"%s\" lacks \"%s\"", err.text, piece);
    struct checkpoint zero = {0};
    ck_assert_mem_eq(&checkpoint, &zero, sizeof zero);
}

/* One file of a split model: `index` and `count` as it says, with tensors t<first>... */
static const char *write_shard(const char *name, int index, int count, int all, int first, int n)
{
    struct gguf_image image;
    gguf_image_init(&image);
    gguf_image_text(&image, "general.architecture", index == 0 ? "llama" : "none");
    gguf_image_number(&image, "split.no", GGUF_U16, (uint64_t)index, 2);
    gguf_image_number(&image, "split.count", GGUF_U16, (uint64_t)count, 2);
    gguf_image_number(&image, "split.tensors.count", GGUF_I32, (uint64_t)all, 4);
    for (int i = first; i < first + n; i++) {
        char tensor[16];
        float value = (float)i;
        snprintf(tensor, sizeof tensor, "t%d", i);
        gguf_image_tensor(&image, tensor, GGML_F32, 1, (uint64_t[]){1}, &value, 4);
    }
    return gguf_image_write(&image, name);
}

static const char *write_split(void)
{
    const char *path = write_shard("m-00001-of-00003.gguf", 0, 3, 4, 0, 0);
    write_shard("m-00002-of-00003.gguf", 1, 3, 4, 2, 2);
    write_shard("m-00003-of-00003.gguf", 2, 3, 4, 0, 2);
    return path;
}

START_TEST(a_split_model_opens_from_its_first_file)
{
    const char *path = write_split();
    ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == 0, "%s", err.text);
    ck_assert_int_eq(checkpoint.n_files, 3);
    ck_assert_uint_eq(checkpoint.n_tensors, 4);
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        const struct tensor *tensor = checkpoint_find(&checkpoint, name);
        ck_assert_ptr_nonnull(tensor);
        ck_assert_float_eq(*(const float *)tensor->data, (float)i);
        ck_assert_ptr_nonnull(strstr(tensor->place, i < 2 ? "m-00003-of" : "m-00002-of"));
    }
    ck_assert(
        text_equals(metadata_find(&checkpoint.metadata, "general.architecture")->text, "llama"));
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(another_file_of_a_split_model_names_the_first)
{
    write_split();
    ck_assert_int_eq(checkpoint_open(&checkpoint, scratch_path("m-00002-of-00003.gguf"), &err), -1);
    expect_message("m-00002-of-00003.gguf: is file 2 of 3 of a split model, expected the first: ");
    expect_message("m-00001-of-00003.gguf");
}
END_TEST

START_TEST(a_missing_file_of_a_split_model_is_named)
{
    const char *path = write_split();
    unlink(scratch_path("m-00003-of-00003.gguf"));
    ck_assert_int_eq(checkpoint_open(&checkpoint, path, &err), -1);
    expect_message("m-00001-of-00003.gguf: split model of 3 files: ");
    expect_message("m-00003-of-00003.gguf: cannot open: No such file");
}
END_TEST

START_TEST(a_renamed_first_file_is_refused)
{
    const char *path = write_shard("renamed.gguf", 0, 3, 4, 0, 0);
    ck_assert_int_eq(checkpoint_open(&checkpoint, path, &err), -1);
    expect_message("renamed.gguf: is file 1 of 3 of a split model, expected a name that ends in "
                   "-00001-of-00003.gguf");
    path = write_shard("x", 1, 3, 4, 0, 0);
    ck_assert_int_eq(checkpoint_open(&checkpoint, path, &err), -1);
    expect_message(
        "x: is file 2 of 3 of a split model, expected a name that ends in -00002-of-00003");
}
END_TEST

enum mix {
    WRONG_INDEX,
    WRONG_COUNT,
    WRONG_TOTAL,
    NO_SPLIT,
    NOT_GGUF,
    TOO_FEW,
    TOO_MANY,
    TWICE,
    N_MIXES
};

static const char *const mix_messages[] = {
    [WRONG_INDEX] = "m-00002-of-00003.gguf: is file 3 of 3 with 4 tensors in all, expected file 2",
    [WRONG_COUNT] = "is file 2 of 4 with 4 tensors in all, expected file 2 of 3 with 4",
    [WRONG_TOTAL] = "is file 2 of 3 with 5 tensors in all, expected file 2 of 3 with 4",
    [NO_SPLIT] =
        "m-00002-of-00003.gguf: is file 1 of 0 with 0 tensors in all, expected file 2 of 3",
    [NOT_GGUF] = "m-00002-of-00003.gguf: expected a GGUF file like the first of the split model",
    [TOO_FEW] = "m-00001-of-00003.gguf: the 3 files of the split model hold 3 tensors, expected 4",
    [TOO_MANY] = "m-00001-of-00003.gguf: the 3 files of the split model hold 5 tensors, expected 4",
    [TWICE] = "occurs twice, expected once",
};

static void mix(enum mix mix)
{
    const char *name = "m-00002-of-00003.gguf";
    switch (mix) {
    case WRONG_INDEX:
        write_shard(name, 2, 3, 4, 2, 2);
        break;
    case WRONG_COUNT:
        write_shard(name, 1, 4, 4, 2, 2);
        break;
    case WRONG_TOTAL:
        write_shard(name, 1, 3, 5, 2, 2);
        break;
    case NO_SPLIT:
        write_shard(name, 0, 0, 0, 2, 2);
        break;
    case NOT_GGUF:
        scratch_write(name, "hello", 5);
        break;
    case TOO_FEW:
        write_shard(name, 1, 3, 4, 2, 1);
        break;
    case TOO_MANY:
        write_shard(name, 1, 3, 4, 2, 3);
        break;
    default:
        write_shard(name, 1, 3, 4, 1, 2);
        break;
    }
}

START_TEST(mixed_up_split_models_are_refused)
{
    const char *path = write_split();
    mix((enum mix)_i);
    ck_assert_int_eq(checkpoint_open(&checkpoint, path, &err), -1);
    expect_message(mix_messages[_i]);
}
END_TEST

START_TEST(split_keys_are_checked)
{
    ck_assert_int_eq(
        checkpoint_open(&checkpoint, write_shard("m-00004-of-00003.gguf", 3, 3, 4, 0, 0), &err),
        -1);
    expect_message("metadata \"split.no\" is 3, expected 0 to 2");
    struct gguf_image image;
    gguf_image_init(&image);
    gguf_image_u32(&image, "split.count", 100000);
    ck_assert_int_eq(checkpoint_open(&checkpoint, gguf_image_write(&image, "m.gguf"), &err), -1);
    expect_message("metadata \"split.count\" is 100000, expected 0 to 65535");
    gguf_image_init(&image);
    gguf_image_u32(&image, "split.count", 2);
    ck_assert_int_eq(checkpoint_open(&checkpoint, gguf_image_write(&image, "m.gguf"), &err), -1);
    expect_message("metadata key \"split.no\" is missing, expected an integer");
    gguf_image_init(&image);
    gguf_image_u32(&image, "split.count", 1);
    ck_assert_int_eq(checkpoint_open(&checkpoint, gguf_image_write(&image, "m.gguf"), &err), 0);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(want_of_memory_is_an_error)
{
    char path[256];
    snprintf(path, sizeof path, "%s", write_split());
    long failures = 0;
    for (long n = 1; n < 1000; n++) {
        support_fail_memory(n, _i == 1);
        int result = checkpoint_open(&checkpoint, path, &err);
        support_fail_memory(0, false);
        if (result == 0)
            break;
        ck_assert_int_ge(support_memory_failures(), 1);
        expect_message("out of memory: ");
        failures++;
    }
    ck_assert_int_gt(failures, 10);
    ck_assert_uint_eq(checkpoint.n_tensors, 4);
    checkpoint_close(&checkpoint);
}
END_TEST

Suite *gguf_split_suite(void)
{
    Suite *suite = suite_create("gguf_split");
    TCase *tcase = tcase_create("gguf_split");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_test(tcase, a_split_model_opens_from_its_first_file);
    tcase_add_test(tcase, another_file_of_a_split_model_names_the_first);
    tcase_add_test(tcase, a_missing_file_of_a_split_model_is_named);
    tcase_add_test(tcase, a_renamed_first_file_is_refused);
    tcase_add_loop_test(tcase, mixed_up_split_models_are_refused, 0, N_MIXES);
    tcase_add_test(tcase, split_keys_are_checked);
    tcase_add_loop_test(tcase, want_of_memory_is_an_error, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
