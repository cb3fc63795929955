/* safetensors: the container: what a header says becomes tensors, and whatever is wrong with it a
 * message. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/formats.h"
#include "tests/suites.h"
#include "tests/support.h"

static struct checkpoint checkpoint;
static struct error err;

enum { DATA_BYTES = 64 };

/* A file with that header, the bytes 0, 1, 2, ... as data, and a length field that may lie. */
static struct bytes make_file(const char *header, uint64_t length)
{
    struct bytes file = {0};
    bytes_add_uint(&file, length, 8);
    bytes_add(&file, header, strlen(header));
    for (int i = 0; i < DATA_BYTES; i++)
        bytes_add_uint(&file, (uint64_t)i, 1);
    return file;
}

static int read_bytes(const void *bytes, size_t size)
{
    checkpoint = (struct checkpoint){0};
    const char *path = scratch_write("m.safetensors", bytes, size);
    int result = checkpoint_add_file(&checkpoint, path, &err);
    return result == 0 ? safetensors_read(&checkpoint, 0, &err) : result;
}

static int read_header(const char *header)
{
    struct bytes file = make_file(header, strlen(header));
    int result = read_bytes(file.data, file.size);
    free(file.data);
    return result;
}

START_TEST(tensors_have_types_shapes_and_places)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"matrix\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
        "\"\\u00e9\\\"\":{\"dtype\":\"BF16\",\"shape\":[2,1,2,2],\"data_offsets\":[20,36]},"
        "\"vector\":{\"data_offsets\":[0,8],\"other\":null,\"shape\":[2],\"dtype\":\"F32\"}}   ";
    ck_assert_msg(read_header(header) == 0, "%s", err.text);
    static const struct {
        const char *name;
        enum format format;
        int n_dims;
        int64_t shape[4];
        size_t bytes, at;
    } expected[] = {
        {"matrix", FORMAT_F16, 2, {3, 2, 1, 1}, 12, 8},
        {"\xC3\xA9\"", FORMAT_BF16, 4, {2, 2, 1, 2}, 16, 20},
        {"vector", FORMAT_F32, 1, {2, 1, 1, 1}, 8, 0},
    };
    ck_assert_uint_eq(checkpoint.n_tensors, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct tensor *tensor = &checkpoint.tensors[i];
        ck_assert(text_equals(tensor->name, expected[i].name));
        ck_assert_int_eq(tensor->format, expected[i].format);
        ck_assert_int_eq(tensor->n_dims, expected[i].n_dims);
        ck_assert_mem_eq(tensor->shape, expected[i].shape, sizeof tensor->shape);
        ck_assert_uint_eq(tensor->bytes, expected[i].bytes);
        ck_assert_uint_eq(tensor->offset, 8 + strlen(header) + expected[i].at);
        ck_assert_uint_eq(*(const uint8_t *)tensor->data, expected[i].at);
    }
    checkpoint_close(&checkpoint);
}
END_TEST

#define TENSOR(dtype, shape, offsets) \
    "{\"x\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const struct {
    const char *header, *message;
} broken[] = {
    {"", "is not JSON at its byte 0"},
    {"{", "is not JSON at its byte"},
    {"[]", "holds no JSON object"},
    {"{} x", "is not JSON at its byte 3"},
    {"{}{}", "is not JSON at its byte 2"},
    {"{\"x\\u0000y\":{}}", "has a string with \\u0000"},
    {"{\"x\":1}", "tensor \"x\": has no \"dtype\""},
    {"{\"x\":{}}", "tensor \"x\": has no \"dtype\""},
    {TENSOR("5", "[2]", "[0,8]"), "has no \"dtype\""},
    {TENSOR("\"I64\"", "[1]", "[0,8]"), "type I64 is not supported, expected F32, F16 or BF16"},
    {TENSOR("\"f32\"", "[2]", "[0,8]"), "type f32 is not supported"},
    {TENSOR("\"F8_E4M3\\u001b\"", "[8]", "[0,8]"), "type F8_E4M3\\x1b is not supported"},
    {TENSOR("\"F32\"", "2", "[0,8]"), "has no \"shape\""},
    {TENSOR("\"F32\"", "[]", "[0,4]"), "0 dimensions, expected 1 to 4"},
    {TENSOR("\"F32\"", "[1,1,1,1,1]", "[0,4]"), "5 dimensions, expected 1 to 4"},
    {TENSOR("\"F32\"", "[-2]", "[0,8]"), "a dimension of \"shape\" is no whole number"},
    {TENSOR("\"F32\"", "[1.5]", "[0,6]"), "a dimension of \"shape\" is no whole number"},
    {TENSOR("\"F32\"", "[\"2\"]", "[0,8]"), "a dimension of \"shape\" is no whole number"},
    {TENSOR("\"F32\"", "[1e300]", "[0,8]"), "a dimension of \"shape\" is no whole number"},
    {TENSOR("\"F32\"", "[0]", "[0,0]"), "dimension 0 is 0"},
    {TENSOR("\"F32\"", "[9007199254740992,9007199254740992]", "[0,8]"), "than memory can hold"},
    {TENSOR("\"F32\"", "[4294967296,4294967296]", "[0,0]"), "than memory can hold"},
    {TENSOR("\"F32\"", "[2]", "8"), "has no \"data_offsets\""},
    {TENSOR("\"F32\"", "[2]", "[0]"), "has no \"data_offsets\""},
    {TENSOR("\"F32\"", "[2]", "[0,8,16]"), "has no \"data_offsets\""},
    {TENSOR("\"F32\"", "[2]", "[8,0]"), "has no \"data_offsets\""},
    {TENSOR("\"F32\"", "[2]", "[-8,0]"), "has no \"data_offsets\""},
    {TENSOR("\"F32\"", "[2]", "[0,9]"), "hold 9 bytes, but type and shape make 8"},
    {TENSOR("\"F32\"", "[2]", "[0,4]"), "hold 4 bytes, but type and shape make 8"},
    {TENSOR("\"F32\"", "[2]", "[57,65]"), "the file ends at"},
    {TENSOR("\"F32\"", "[2]", "[9007199254740984,9007199254740992]"), "the file ends at"},
};
enum { N_BROKEN = sizeof broken / sizeof broken[0] };

START_TEST(broken_headers_are_refused)
{
    ck_assert_int_eq(read_header(broken[_i].header), -1);
    ck_assert_msg(strstr(err.text, broken[_i].message), "%s: %s", broken[_i].header, err.text);
    ck_assert_msg(strstr(err.text, "m.safetensors"), "%s", err.text);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(lengths_that_lie_are_refused)
{
    static const uint64_t lengths[] = {3 + DATA_BYTES, 1 << 20, UINT64_MAX, UINT64_MAX - 7,
                                       1u << 31};
    struct bytes file = make_file("{}", lengths[_i]);
    ck_assert_int_eq(read_bytes(file.data, file.size), -1);
    ck_assert_msg(strstr(err.text, "is no safetensors file: a header of"), "%s", err.text);
    free(file.data);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(truncation_is_noticed_at_every_byte)
{
    struct bytes file = make_file(TENSOR("\"F32\"", "[16]", "[0,64]"), 56);
    ck_assert_uint_eq(file.size, 8 + 56 + DATA_BYTES);
    for (size_t size = 1; size < file.size; size++) {
        ck_assert_msg(read_bytes(file.data, size) == -1, "%zu bytes were read", size);
        checkpoint_close(&checkpoint);
    }
    ck_assert_msg(read_bytes(file.data, file.size) == 0, "%s", err.text);
    checkpoint_close(&checkpoint);
    free(file.data);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
    enum { DEPTH = 200000 };
    char *header = malloc(DEPTH + 6);
    ck_assert_ptr_nonnull(header);
    memcpy(header, "{\"x\":", 5);
    memset(header + 5, _i == 0 ? '[' : '{', DEPTH);
    header[5 + DEPTH] = '\0';
    ck_assert_int_eq(read_header(header), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "is not JSON"));
    free(header);
    checkpoint_close(&checkpoint);
}
END_TEST

Suite *safetensors_suite(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *tcase = tcase_create("safetensors");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_test(tcase, tensors_have_types_shapes_and_places);
    tcase_add_loop_test(tcase, broken_headers_are_refused, 0, N_BROKEN);
    tcase_add_loop_test(tcase, lengths_that_lie_are_refused, 0, 5);
    tcase_add_test(tcase, truncation_is_noticed_at_every_byte);
    tcase_add_loop_test(tcase, deep_nesting_is_refused, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
