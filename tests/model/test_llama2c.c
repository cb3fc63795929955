/* test_llama2c: legacy llama2.c checkpoints show GGUF names, keys and shapes; near misses are
 * refused. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"
#include "tests/suites.h"
#include "tests/support.h"

static struct checkpoint checkpoint;
static struct error err;

enum { DIM = 8, HIDDEN = 12, LAYERS = 2, HEADS = 4, KV_HEADS = 2, VOCAB = 5, SEQ = 3, KV_DIM = 4 };

/* The order and the sizes of llama2.c's memory_map_weights; weight i of the file has the value i.
 */
static struct bytes make_model(bool tied)
{
    const int32_t header[] = {DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, tied ? VOCAB : -VOCAB, SEQ};
    size_t n = VOCAB * DIM + LAYERS * DIM + LAYERS * DIM * DIM + 2 * LAYERS * DIM * KV_DIM +
               LAYERS * DIM * DIM + LAYERS * DIM + 3 * LAYERS * DIM * HIDDEN + DIM +
               SEQ * (DIM / HEADS) + (tied ? 0 : VOCAB * DIM);
    struct bytes file = {0};
    for (size_t i = 0; i < 7; i++)
        bytes_add_uint(&file, (uint32_t)header[i], 4);
    for (size_t i = 0; i < n; i++)
        bytes_add_f32(&file, (float)i);
    return file;
}

static int open_bytes(struct bytes *file)
{
    const char *path = scratch_write("m.bin", file->data, file->size);
    free(file->data);
    return checkpoint_open(&checkpoint, path, &err);
}

/* `first`: how many weights come before it in the file, counted by hand. */
static const struct {
    const char *name;
    int columns, rows, first;
} tensors[] = {
    {"token_embd.weight", DIM, VOCAB, 0},        {"blk.0.attn_norm.weight", DIM, 0, 40},
    {"blk.1.attn_norm.weight", DIM, 0, 48},      {"blk.0.attn_q.weight", DIM, DIM, 56},
    {"blk.1.attn_q.weight", DIM, DIM, 120},      {"blk.0.attn_k.weight", DIM, KV_DIM, 184},
    {"blk.1.attn_k.weight", DIM, KV_DIM, 216},   {"blk.0.attn_v.weight", DIM, KV_DIM, 248},
    {"blk.1.attn_v.weight", DIM, KV_DIM, 280},   {"blk.0.attn_output.weight", DIM, DIM, 312},
    {"blk.1.attn_output.weight", DIM, DIM, 376}, {"blk.0.ffn_norm.weight", DIM, 0, 440},
    {"blk.1.ffn_norm.weight", DIM, 0, 448},      {"blk.0.ffn_gate.weight", DIM, HIDDEN, 456},
    {"blk.1.ffn_gate.weight", DIM, HIDDEN, 552}, {"blk.0.ffn_down.weight", HIDDEN, DIM, 648},
    {"blk.1.ffn_down.weight", HIDDEN, DIM, 744}, {"blk.0.ffn_up.weight", DIM, HIDDEN, 840},
    {"blk.1.ffn_up.weight", DIM, HIDDEN, 936},   {"output_norm.weight", DIM, 0, 1032},
    {"output.weight", DIM, VOCAB, 1046}, /* after 6 cosines and sines */
};
enum { N_TENSORS = sizeof tensors / sizeof tensors[0] };

START_TEST(tensors_have_gguf_names_and_their_place)
{
    bool tied = _i == 0;
    struct bytes file = make_model(tied);
    ck_assert_msg(open_bytes(&file) == 0, "%s", err.text);
    ck_assert_str_eq(checkpoint.container, "llama2.c");
    ck_assert_uint_eq(checkpoint.n_tensors, tied ? N_TENSORS - 1 : N_TENSORS);
    for (size_t i = 0; i < checkpoint.n_tensors; i++) {
        const struct tensor *tensor = checkpoint_find(&checkpoint, tensors[i].name);
        ck_assert_msg(tensor != NULL, "%s is absent", tensors[i].name);
        ck_assert_int_eq(tensor->format, FORMAT_F32);
        ck_assert_int_eq(tensor->n_dims, tensors[i].rows > 0 ? 2 : 1);
        ck_assert_int_eq(tensor->shape[0], tensors[i].columns);
        ck_assert_int_eq(tensor->shape[1], tensors[i].rows > 0 ? tensors[i].rows : 1);
        ck_assert_float_eq(*(const float *)tensor->data, (float)tensors[i].first);
    }
    if (tied)
        ck_assert_ptr_null(checkpoint_find(&checkpoint, "output.weight"));
    checkpoint_close(&checkpoint);
}
END_TEST

static void expect_integer(const char *key, int expected)
{
    int value;
    ck_assert_msg(metadata_int(&checkpoint.metadata, key, REQUIRED, 0, 1 << 30, &value, &err) == 0,
                  "%s", err.text);
    ck_assert_int_eq(value, expected);
}

START_TEST(hyperparameters_have_gguf_keys)
{
    struct bytes file = make_model(false);
    ck_assert_msg(open_bytes(&file) == 0, "%s", err.text);
    struct text architecture;
    ck_assert_int_eq(
        metadata_text(&checkpoint.metadata, "general.architecture", REQUIRED, &architecture, &err),
        0);
    ck_assert(text_equals(architecture, "llama"));
    expect_integer("llama.block_count", LAYERS);
    expect_integer("llama.context_length", SEQ);
    expect_integer("llama.embedding_length", DIM);
    expect_integer("llama.feed_forward_length", HIDDEN);
    expect_integer("llama.attention.head_count", HEADS);
    expect_integer("llama.attention.head_count_kv", KV_HEADS);
    expect_integer("llama.rope.dimension_count", DIM / HEADS);
    expect_integer("llama.vocab_size", VOCAB);
    double number;
    ck_assert_int_eq(metadata_double(&checkpoint.metadata, "llama.attention.layer_norm_rms_epsilon",
                                     REQUIRED, &number, &err),
                     0);
    ck_assert_float_eq((float)number, 1e-5f);
    ck_assert_int_eq(
        metadata_double(&checkpoint.metadata, "llama.rope.freq_base", REQUIRED, &number, &err), 0);
    ck_assert(number == 10000);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(another_size_is_refused)
{
    struct bytes file = make_model(true);
    size_t size = file.size;
    char piece[128];
    bytes_add(&file, NULL, 1);
    ck_assert_int_eq(open_bytes(&file), -1);
    snprintf(piece, sizeof piece, "looks like a llama2.c checkpoint of %zu bytes, but has %zu",
             size, size + 1);
    ck_assert_msg(strstr(err.text, piece), "%s", err.text);
}
END_TEST

START_TEST(truncation_is_noticed_at_every_byte)
{
    struct bytes file = make_model(true);
    for (size_t size = 0; size < file.size; size++) {
        const char *path = scratch_write("m.bin", file.data, size);
        ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == -1, "%zu bytes opened", size);
    }
    free(file.data);
}
END_TEST

static const struct {
    int field;
    int32_t value;
} implausible[] = {
    {0, 0},
    {0, -8},
    {0, 7},
    {0, INT32_MAX},
    {1, 0},
    {1, -1},
    {1, INT32_MAX},
    {2, 0},
    {2, 2000},
    {2, -2},
    {3, 0},
    {3, 3},
    {3, 8} /* odd heads */,
    {3, INT32_MIN},
    {4, 0},
    {4, 3},
    {4, -1},
    {5, 0},
    {5, INT32_MAX},
    {5, INT32_MIN},
    {6, 0},
    {6, -3},
    {6, INT32_MAX},
};

START_TEST(implausible_headers_are_refused)
{
    struct bytes file = make_model(true);
    for (size_t i = 0; i < 4; i++)
        file.data[4 * (size_t)implausible[_i].field + i] =
            (uint8_t)((uint32_t)implausible[_i].value >> (8 * i));
    ck_assert_int_eq(open_bytes(&file), -1);
    ck_assert_msg(strstr(err.text, "m.bin: looks like unknown data"), "%s", err.text);
}
END_TEST

START_TEST(want_of_memory_is_an_error)
{
    struct bytes file = make_model(false);
    char path[256];
    snprintf(path, sizeof path, "%s", scratch_write("m.bin", file.data, file.size));
    free(file.data);
    long failures = 0;
    for (long n = 1; n < 1000; n++) {
        support_fail_memory(n, false);
        int result = checkpoint_open(&checkpoint, path, &err);
        support_fail_memory(0, false);
        if (result == 0)
            break;
        ck_assert_int_eq(support_memory_failures(), 1);
        ck_assert_ptr_nonnull(strstr(err.text, "out of memory: "));
        failures++;
    }
    ck_assert_int_gt(failures, 5);
    ck_assert_uint_eq(checkpoint.n_tensors, N_TENSORS);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(a_real_checkpoint_opens)
{
    char path[256];
    if (!support_shared("data/stories260K/stories260K.bin", path, sizeof path))
        return;
    ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(checkpoint.n_tensors, 2 + 5 * 9);
    expect_integer("llama.block_count", 5);
    expect_integer("llama.embedding_length", 64);
    expect_integer("llama.attention.head_count_kv", 4);
    expect_integer("llama.vocab_size", 512);
    const struct tensor *k = checkpoint_find(&checkpoint, "blk.4.attn_k.weight");
    ck_assert_ptr_nonnull(k);
    ck_assert(k->shape[0] == 64 && k->shape[1] == 32);
    checkpoint_close(&checkpoint);
}
END_TEST

Suite *llama2c_suite(void)
{
    Suite *suite = suite_create("llama2c");
    TCase *tcase = tcase_create("llama2c");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_loop_test(tcase, tensors_have_gguf_names_and_their_place, 0, 2);
    tcase_add_test(tcase, hyperparameters_have_gguf_keys);
    tcase_add_test(tcase, another_size_is_refused);
    tcase_add_test(tcase, truncation_is_noticed_at_every_byte);
    tcase_add_loop_test(tcase, implausible_headers_are_refused, 0,
                        (int)(sizeof implausible / sizeof implausible[0]));
    tcase_add_test(tcase, want_of_memory_is_an_error);
    tcase_add_test(tcase, a_real_checkpoint_opens);
    tcase_set_timeout(tcase, 30);
    suite_add_tcase(suite, tcase);
    return suite;
}
