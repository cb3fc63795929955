/* test_gguf_broken: one good file, and every way of breaking it, each refused with its reason. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"
#include "tests/suites.h"
#include "tests/support.h"

static struct checkpoint checkpoint;
static struct error err;

/* Two entries, an array and three tensors: a (4,3) F32, b (32) Q8_0, c (2,2,2,2) F32. */
static void make_valid(struct gguf_image *image)
{
    static const char *const tokens[] = {"<s>", "", "a"};
    float values[16];
    for (int i = 0; i < 16; i++)
        values[i] = (float)i;
    gguf_image_init(image);
    gguf_image_text(image, "general.architecture", "llama");
    gguf_image_u32(image, "llama.block_count", 5);
    gguf_image_texts(image, "tokens", tokens, 3);
    gguf_image_tensor(image, "c", GGML_F32, 4, (uint64_t[]){2, 2, 2, 2}, values, 64);
    gguf_image_tensor(image, "a", GGML_F32, 2, (uint64_t[]){4, 3}, values, 48);
    gguf_image_tensor(image, "b", GGML_Q8_0, 1, (uint64_t[]){32}, NULL, 34);
}

START_TEST(a_good_file_opens)
{
    struct gguf_image image;
    make_valid(&image);
    image.version = (uint32_t)_i;
    ck_assert_msg(checkpoint_open(&checkpoint, gguf_image_write(&image, "m.gguf"), &err) == 0, "%s",
                  err.text);
    ck_assert_str_eq(checkpoint.container, _i == 2 ? "GGUF v2" : "GGUF v3");
    ck_assert_uint_eq(checkpoint.n_tensors, 3);
    ck_assert_ptr_null(checkpoint_find(&checkpoint, "d"));
    const struct tensor *a = checkpoint_find(&checkpoint, "a");
    const struct tensor *b = checkpoint_find(&checkpoint, "b");
    const struct tensor *c = checkpoint_find(&checkpoint, "c");
    ck_assert(a && b && c);
    ck_assert_int_eq(a->format, FORMAT_F32);
    ck_assert_int_eq(a->n_dims, 2);
    ck_assert(a->shape[0] == 4 && a->shape[1] == 3 && a->shape[2] == 1 && a->shape[3] == 1);
    ck_assert_uint_eq(a->bytes, 48);
    ck_assert_uint_eq(a->offset % 32, 0);
    ck_assert_ptr_eq(a->data, checkpoint.files[0].data + a->offset);
    ck_assert_str_eq(a->place, checkpoint.path);
    ck_assert_float_eq(((const float *)a->data)[11], 11.0f);
    ck_assert_int_eq(b->format, FORMAT_Q8_0);
    ck_assert_uint_eq(b->bytes, 34);
    ck_assert_int_eq(c->n_dims, 4);
    ck_assert_uint_eq(c->bytes, 64);
    struct text text;
    ck_assert_int_eq(
        metadata_text(&checkpoint.metadata, "general.architecture", REQUIRED, &text, &err), 0);
    ck_assert(text_equals(text, "llama"));
    checkpoint_close(&checkpoint);
    checkpoint_close(&checkpoint);
}
END_TEST

static void expect_refusal(struct gguf_image *image, const char *piece)
{
    const char *path = gguf_image_write(image, "m.gguf");
    ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == -1, "opened; expected \"%s\"", piece);
    ck_assert_msg(strstr(err.text, piece), "\"%s\" lacks \"%s\"", err.text, piece);
    ck_assert_msg(strncmp(err.text, path, strlen(path)) == 0, "\"%s\" lacks the path", err.text);
    for (const char *c = err.text; *c; c++)
        ck_assert_msg((unsigned char)*c >= 0x20, "\"%s\" holds a control character", err.text);
    struct checkpoint zero = {0};
    ck_assert_mem_eq(&checkpoint, &zero, sizeof zero);
}

/* The header: version and counts; a count of 0 stands for the true one. */
static const struct {
    uint32_t version;
    uint64_t n_entries, n_tensors;
    const char *message;
} headers[] = {
    {0, 0, 0, "m.gguf: GGUF version 0, expected 2 or 3"},
    {1, 0, 0, "m.gguf: GGUF version 1, expected 2 or 3"},
    {4, 0, 0, "m.gguf: GGUF version 4, expected 2 or 3"},
    {0x03000000, 0, 0, "m.gguf: big-endian GGUF version 3, expected a little-endian file"},
    {3, 1ull << 63, 0, "9223372036854775808 metadata entries before byte 24, expected at most"},
    {3, 0, 1ull << 63, "9223372036854775808 tensors before byte 24, expected at most"},
    {3, 36, 0, "36 metadata entries before byte 24, expected at most 35 in the 458 bytes left"},
    {3, 0, 15, "15 tensors before byte 24, expected at most 14 in the 458 bytes left"},
    {3, 4, 0, "runs past the end of the file at byte 482: truncated?"}, /* reads a tensor */
    {3, 2, 0, "m.gguf: tensor"},                                        /* reads an entry */
    {3, 0, 4, "0 dimensions, expected 1 to 4"},                         /* reads padding */
};

START_TEST(wrong_headers_are_refused)
{
    struct gguf_image image;
    make_valid(&image);
    image.version = headers[_i].version;
    if (headers[_i].n_entries > 0)
        image.n_entries = headers[_i].n_entries;
    if (headers[_i].n_tensors > 0)
        image.n_tensors = headers[_i].n_tensors;
    expect_refusal(&image, headers[_i].message);
}
END_TEST

/* One more entry, whose key "k" is at byte 160: a value that is `size` bytes of `bytes`. Numbers
 * are little-endian; an array is item type and count. */
static const struct {
    uint32_t type;
    const char *bytes;
    size_t size;
    const char *message;
} entries[] = {
#define BYTES(literal) literal, sizeof literal - 1
    {13, BYTES("\0\0\0\0"), "metadata \"k\" at byte 160: unknown type 13, expected 0 to 12"},
    {UINT32_MAX, BYTES(""),
     "metadata \"k\" at byte 160: unknown type 4294967295, expected 0 to 12"},
    {GGUF_BOOL, BYTES("\2"), "metadata \"k\" at byte 160: bool is 2, expected 0 or 1"},
    {GGUF_STRING, BYTES("\377\377\377\377\377\377\377\377"),
     "metadata entry 4 of 4 runs past the end of the file at byte"},
    {GGUF_STRING, BYTES("\0\0\0\0\0\0\0\200"),
     "metadata entry 4 of 4 runs past the end of the file at byte"},
    {GGUF_ARRAY, BYTES("\11\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
     "metadata \"k\" at byte 160: array of arrays, expected an array of scalars or strings"},
    {GGUF_ARRAY, BYTES("\15\0\0\0\0\0\0\0\0\0\0\0"),
     "metadata \"k\" at byte 160: array of unknown type 13, expected 0 to 12"},
    {GGUF_ARRAY, BYTES("\14\0\0\0\0\0\20\0\0\0\0\0"),
     "metadata \"k\" at byte 160: 1048576 array items before byte 185, expected at most"},
    {GGUF_ARRAY, BYTES("\4\0\0\0\1\0\0\0\0\0\0\100\0\0\0\0"), /* 4 times it is 4 */
     "4611686018427387905 array items before byte 185, expected at most"},
    {GGUF_ARRAY, BYTES("\10\0\0\0\377\377\377\377\377\377\377\377"),
     "18446744073709551615 array items before byte 185, expected at most"},
    {GGUF_ARRAY, BYTES("\10\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0x\0\0\0\0\0\0\0\200"),
     "metadata entry 4 of 4 runs past the end of the file at byte"},
#undef BYTES
};

START_TEST(wrong_values_are_refused)
{
    struct gguf_image image;
    make_valid(&image);
    gguf_image_key(&image, "k", entries[_i].type);
    bytes_add(&image.entries, entries[_i].bytes, entries[_i].size);
    expect_refusal(&image, entries[_i].message);
}
END_TEST

START_TEST(wrong_keys_are_refused)
{
    struct gguf_image image;
    make_valid(&image);
    gguf_image_u32(&image, "\x1b[31mk", 1);
    gguf_image_text(&image, "\x1b[31mk", "1");
    expect_refusal(&image, "metadata key \"\\x1b[31mk\" occurs twice, expected once");
    make_valid(&image);
    bytes_add_uint(&image.entries, UINT64_MAX - 7, 8);
    bytes_add(&image.entries, NULL, 8);
    image.n_entries++;
    expect_refusal(&image, "metadata entry 4 of 4 runs past the end of the file at byte");
}
END_TEST

static const struct {
    uint32_t type;
    uint64_t value;
    const char *message;
} alignments[] = {
    {GGUF_U32, 0, "\"general.alignment\" is 0, expected a power of two from 8 to 65536"},
    {GGUF_U32, 3, "\"general.alignment\" is 3, expected a power of two from 8 to 65536"},
    {GGUF_U32, 4, "\"general.alignment\" is 4, expected a power of two from 8 to 65536"},
    {GGUF_U32, 48, "\"general.alignment\" is 48, expected a power of two from 8 to 65536"},
    {GGUF_U32, 1u << 31, "\"general.alignment\" is 2147483648, expected a power of two from 8"},
    {GGUF_U64, 1ull << 63, "\"general.alignment\" is 9223372036854775808, expected a power of"},
    {GGUF_I64, -32ull, "\"general.alignment\" is -32, expected 0 or more"},
    {GGUF_F64, 32, "\"general.alignment\" has type f64, expected an integer"},
};

START_TEST(wrong_alignments_are_refused)
{
    struct gguf_image image;
    make_valid(&image);
    size_t size = alignments[_i].type == GGUF_U32 ? 4 : 8;
    gguf_image_number(&image, "general.alignment", alignments[_i].type, alignments[_i].value, size);
    expect_refusal(&image, alignments[_i].message);
}
END_TEST

/* One more tensor, "x", whose record is at byte 291; with two dimensions, the data start at 352. */
static const struct {
    uint32_t type, n_dims;
    uint64_t shape[5];
    uint64_t offset;
    const char *message;
} tensors[] = {
    {GGML_F32, 0, {0}, 0, "\"x\", described at byte 291: 0 dimensions, expected 1 to 4"},
    {GGML_F32, 5, {1, 1, 1, 1, 1}, 0, "\"x\", described at byte 291: 5 dimensions, expected 1"},
    {GGML_F32, 2, {4, 0}, 0, "m.gguf: tensor \"x\": dimension 1 is 0, expected 1 to"},
    {GGML_F32, 1, {-1ull}, 0, "tensor \"x\": dimension 0 is 18446744073709551615, expected 1 to"},
    {GGML_F32, 1, {1ull << 62}, 0, "tensor \"x\": its dimensions multiply to more than memory"},
    {GGML_F32, 2, {1ull << 31, (1ull << 31) + 1}, 0, "multiply to more than memory can hold"},
    {GGML_F32, 4, {1, 1ull << 31, 1ull << 31, 1ull << 31}, 0, "multiply to more than memory"},
    {GGML_Q8_0, 2, {33, 32}, 0, "tensor \"x\": 33 columns of Q8_0, expected a multiple of 32"},
    {GGML_Q4_K, 2, {32, 8}, 0, "tensor \"x\": 32 columns of Q4_K, expected a multiple of 256"},
    {16,
     1,
     {256},
     0,
     "\"x\", described at byte 291: type 16 is unknown, supported: F32 F16 BF16 Q4_0 Q4_1 Q5_0 "
     "Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS"},
    {4, 1, {32}, 0, "type 4 is unknown, supported: F32"}, /* a format that was removed */
    {UINT32_MAX, 1, {32}, 0, "type 4294967295 is unknown, supported: F32"},
    {GGML_F32,
     1,
     {1},
     48,
     "\"x\", described at byte 291: offset 48 in the tensor data, expected a "
     "multiple of 32"},
    {GGML_F32, 1, {1}, 1 << 20, "offset 1048576 in the tensor data, but the file ends at 514"},
    {GGML_F32, 1, {64}, -64ull, "offset 18446744073709551552 in the tensor data, but the file"},
    {GGML_F32,
     2,
     {4, 2},
     160,
     "tensor \"x\" at byte 512: has 32 bytes, but the file ends at 514: truncated?"},
    {GGML_F32,
     2,
     {1 << 20, 1},
     0,
     "\"x\" at byte 352: has 4194304 bytes, but the file ends at 514"},
    {GGML_F32, 2, {1, 1}, 64, "at byte 416 overlaps"},
    {GGML_F32, 2, {1, 1}, 32, "tensor \"x\" at byte 384 overlaps \"c\" at bytes 352 to 416"},
};

START_TEST(wrong_tensors_are_refused)
{
    struct gguf_image image;
    make_valid(&image);
    gguf_image_record(&image, "x", tensors[_i].type, tensors[_i].n_dims, tensors[_i].shape,
                      tensors[_i].offset);
    expect_refusal(&image, tensors[_i].message);
}
END_TEST

/* x lies in the middle of y, which begins long before it. */
START_TEST(overlap_with_a_far_start_is_refused)
{
    struct gguf_image image;
    make_valid(&image);
    gguf_image_tensor(&image, "y", GGML_F32, 1, (uint64_t[]){32}, NULL, 128);
    gguf_image_record(&image, "x", GGML_F32, 1, (uint64_t[]){1}, 256);
    expect_refusal(&image, "tensor \"x\" at byte 640 overlaps \"y\" at bytes 576 to 704");
}
END_TEST

START_TEST(wrong_names_are_refused)
{
    struct gguf_image image;
    make_valid(&image);
    gguf_image_tensor(&image, "a", GGML_F32, 1, (uint64_t[]){1}, NULL, 4);
    expect_refusal(&image, "tensor \"a\" at byte");
    ck_assert_ptr_nonnull(strstr(err.text, "occurs twice, expected once: also at byte"));
    make_valid(&image);
    gguf_image_record(&image, "\x1b]0;owned\x07\n", 99, 1, (uint64_t[]){1}, 0);
    expect_refusal(&image, "tensor \"\\x1b]0;owned\\x07\\x0a\", described at byte 291: type 99");
    char name[2000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    make_valid(&image);
    gguf_image_record(&image, name, 99, 1, (uint64_t[]){1}, 0);
    expect_refusal(&image, "nnn...\", described at byte 291: type 99 is unknown, supported: F32");
    make_valid(&image);
    bytes_add_uint(&image.records, UINT64_MAX, 8);
    bytes_add(&image.records, NULL, 24);
    image.n_tensors++;
    expect_refusal(&image, "tensor 4 of 4 runs past the end of the file at byte");
    make_valid(&image);
    bytes_add_text(&image.records, "x");
    bytes_add_uint(&image.records, UINT32_MAX, 4);
    bytes_add(&image.records, NULL, 32);
    image.n_tensors++;
    expect_refusal(&image,
                   "tensor \"x\", described at byte 291: 4294967295 dimensions, expected 1");
}
END_TEST

START_TEST(truncation_is_noticed_at_every_byte)
{
    struct gguf_image image;
    make_valid(&image);
    struct bytes file = gguf_image_finish(&image);
    for (size_t size = 0; size < file.size; size++) {
        const char *path = scratch_write("m.gguf", file.data, size);
        err.text[0] = 0;
        ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == -1, "%zu bytes opened", size);
        ck_assert_ptr_nonnull(strstr(err.text, "m.gguf: "));
    }
    free(file.data);
}
END_TEST

/* Every byte of what is not data, set to values that counts, lengths and types may break on. */
START_TEST(no_single_byte_crashes_the_reader)
{
    static const uint8_t values[] = {0x00, 0x01, 0x7F, 0x80, 0xFF};
    struct gguf_image image;
    make_valid(&image);
    struct bytes file = gguf_image_finish(&image);
    int refused = 0;
    for (size_t at = 0; at < 340; at++) {
        uint8_t old = file.data[at];
        file.data[at] = values[_i];
        const char *path = scratch_write("m.gguf", file.data, file.size);
        if (checkpoint_open(&checkpoint, path, &err) != 0)
            refused++;
        else
            ck_assert_uint_le(checkpoint.n_tensors, 3);
        checkpoint_close(&checkpoint);
        file.data[at] = old;
    }
    ck_assert_int_gt(refused, 25);
    free(file.data);
}
END_TEST

Suite *gguf_broken_suite(void)
{
    Suite *suite = suite_create("gguf_broken");
    TCase *tcase = tcase_create("gguf_broken");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_loop_test(tcase, a_good_file_opens, 2, 4);
    tcase_add_loop_test(tcase, wrong_headers_are_refused, 0,
                        (int)(sizeof headers / sizeof headers[0]));
    tcase_add_loop_test(tcase, wrong_values_are_refused, 0,
                        (int)(sizeof entries / sizeof entries[0]));
    tcase_add_test(tcase, wrong_keys_are_refused);
    tcase_add_loop_test(tcase, wrong_alignments_are_refused, 0,
                        (int)(sizeof alignments / sizeof alignments[0]));
    tcase_add_loop_test(tcase, wrong_tensors_are_refused, 0,
                        (int)(sizeof tensors / sizeof tensors[0]));
    tcase_add_test(tcase, overlap_with_a_far_start_is_refused);
    tcase_add_test(tcase, wrong_names_are_refused);
    tcase_add_test(tcase, truncation_is_noticed_at_every_byte);
    tcase_add_loop_test(tcase, no_single_byte_crashes_the_reader, 0, 5);
    tcase_set_timeout(tcase, 30);
    suite_add_tcase(suite, tcase);
    return suite;
}
