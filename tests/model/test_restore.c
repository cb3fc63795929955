/* restore: a file that is cut, damaged, lying, or saved with another model or settings is refused
 * with a reason, and its transcript can be read all the same; memory and disk may run out. */
#include "model/restore.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "model/save.h"
#include "model/save_format.h"
#include "tests/model/fixture.h"
#include "tests/model/timeline.h"
#include "tests/suites.h"
#include "tests/support.h"

static const char transcript[] = "{\"turns\": \"Grüße\"}";
enum { N = 300, LENGTH = sizeof transcript - 1 };

static struct fixture fixture;
static struct session session; /* of N tokens, with a gap */
static struct sampler sampler;
static int32_t ids[N + 10];
static struct bytes image; /* its file */
static char path[256];

static int write_session(const char *to, struct error *err)
{
    struct save save = {&fixture.checkpoint, &session, &sampler, ids, N, {transcript, LENGTH}};
    return save_write(&save, to, err);
}

static void read_image(void)
{
    uint8_t part[4096];
    size_t n;
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    image = (struct bytes){0};
    while ((n = fread(part, 1, sizeof part, file)) > 0)
        bytes_add(&image, part, n);
    fclose(file);
}

static void setup(void)
{
    struct error err;
    scratch_make();
    snprintf(path, sizeof path, "%s", scratch_path("s"));
    fixture_open(&fixture, "llama", "llama", NULL);
    timeline_ids(&fixture, ids, N + 10);
    timeline_open(&session, &fixture.model, "sinks=4,window=10", FORMAT_Q8_0, 0);
    timeline_feed(&session, ids, N, timeline_ones, NULL);
    struct sampler_options options = sampler_defaults;
    options.repeat_last = 5;
    ck_assert_int_eq(sampler_open(&sampler, &options, fixture.model.config.vocab_size, &err), 0);
    for (int i = 0; i < N; i++)
        sampler_accept(&sampler, ids[i]);
    ck_assert_msg(write_session(path, &err) == 0, "%s", err.text);
    read_image();
}

static void teardown(void)
{
    free(image.data);
    session_close(&session);
    sampler_close(&sampler);
    fixture_close(&fixture);
    scratch_remove();
}

/* Restores bytes[size] into a new session with that policy: 0, or -1 and the error. What has failed
 * leaves the session empty, and fit for a text. */
static int try_bytes(const uint8_t *bytes, size_t size, const char *policy, enum format kv,
                     int64_t origin, struct error *err)
{
    struct session other;
    /* On the heap, so that tools see a step past the end. */
    uint8_t *copy = malloc(size + 1);
    memcpy(copy, bytes, size);
    struct restore from = {.file = {copy, size}, .place = "s"};
    timeline_open(&other, &fixture.model, policy, kv, origin);
    err->text[0] = '\0';
    int result = restore_read(&from, err);
    if (result == 0)
        result = restore_session(&from, &fixture.checkpoint, &other, NULL, err);
    if (result) {
        ck_assert_msg(strncmp(err->text, "s: ", 3) == 0, "\"%s\" lacks the place", err->text);
        ck_assert_int_eq(other.position, 0);
        ck_assert_uint_eq(other.cache.n_blocks, 0);
    } else {
        ck_assert_int_eq(other.position, N);
        ck_assert_mem_eq(other.logits, session.logits,
                         (size_t)fixture.model.config.vocab_size * sizeof(float));
        ck_assert_uint_eq(other.cache.n_blocks, session.cache.n_blocks);
    }
    struct error ignored;
    ck_assert_int_eq(session_feed(&other, ids, 1, NULL, &ignored), 0);
    session_close(&other);
    free(copy);
    return result;
}

static void refuse(const char *message)
{
    struct error err;
    ck_assert_int_eq(try_bytes(image.data, image.size, "sinks=4,window=10", FORMAT_Q8_0, 0, &err),
                     -1);
    ck_assert_msg(strstr(err.text, message) != NULL, "no \"%s\" in \"%s\"", message, err.text);
}

/* --- other models and settings ------------------------------------------------------------- */

static void refuse_settings(const char *policy, enum format kv, int64_t origin, const char *message)
{
    struct error err;
    ck_assert_int_eq(try_bytes(image.data, image.size, policy, kv, origin, &err), -1);
    ck_assert_str_eq(err.text, message);
}

START_TEST(other_settings_are_refused)
{
    refuse_settings("all", FORMAT_Q8_0, 0,
                    "s: saved with \"context: sinks=4,window=10\", this session has \"context: "
                    "all\"");
    refuse_settings("sinks=4,window=11", FORMAT_Q8_0, 0,
                    "s: saved with \"context: sinks=4,window=10\", this session has \"context: "
                    "sinks=4,window=11\"");
    refuse_settings("sinks=4,window=10", FORMAT_F16, 0,
                    "s: saved with \"cache type: Q8_0\", this session has \"cache type: F16\"");
    refuse_settings("sinks=4,window=10", FORMAT_Q8_0, 7,
                    "s: saved with \"begins at: 0\", this session has \"begins at: 7\"");
    struct error err;
    ck_assert_int_eq(try_bytes(image.data, image.size, "sinks=4,window=10", FORMAT_Q8_0, 0, &err),
                     0);
}
END_TEST

static void refuse_model(const char *name, const struct rope_override *rope, const char *message)
{
    struct error err = {""};
    struct checkpoint checkpoint;
    struct model model;
    struct session other;
    struct restore from;
    char file[128];
    snprintf(file, sizeof file, "tests/data/%s.gguf", name);
    ck_assert_int_eq(checkpoint_open(&checkpoint, file, &err), 0);
    ck_assert_int_eq(model_open(&model, &checkpoint, &(struct model_options){.rope = rope}, &err),
                     0);
    timeline_open(&other, &model, "sinks=4,window=10", FORMAT_Q8_0, 0);
    ck_assert_int_eq(restore_open(&from, path, &err), 0);
    ck_assert_int_eq(restore_session(&from, &checkpoint, &other, NULL, &err), -1);
    ck_assert_msg(strstr(err.text, message) != NULL, "no \"%s\" in \"%s\"", message, err.text);
    restore_close(&from);
    session_close(&other);
    model_close(&model);
    checkpoint_close(&checkpoint);
}

START_TEST(other_models_are_refused)
{
    const struct rope_override rope = {.kind = -1, .base = 5000};
    refuse_model("qwen2", NULL,
                 "saved with \"architecture: llama\", this session has "
                 "\"architecture: qwen2\"");
    refuse_model("llama", &rope, "saved with \"positions: rope, base 10000");
}
END_TEST

/* One byte of a weight, and one of the metadata. */
START_TEST(changed_models_are_refused)
{
    struct session other;
    struct error err = {""};
    struct restore from;
    struct tensor *tensor = &fixture.checkpoint.tensors[3];
    const void *data = tensor->data;
    uint8_t *changed = malloc(tensor->bytes);
    memcpy(changed, data, tensor->bytes);
    changed[tensor->bytes / 2] ^= 1;
    timeline_open(&other, &fixture.model, "sinks=4,window=10", FORMAT_Q8_0, 0);
    ck_assert_int_eq(restore_open(&from, path, &err), 0);
    tensor->data = changed;
    ck_assert_int_eq(restore_session(&from, &fixture.checkpoint, &other, NULL, &err), -1);
    ck_assert_msg(strstr(err.text, "saved with \"weights: ") != NULL, "%s", err.text);
    tensor->data = data;
    free(changed);
    struct metadata_entry *entry = &fixture.checkpoint.metadata.entries[0];
    struct metadata_value value = entry->value;
    entry->value = (struct metadata_value){.type = METADATA_STRING, .text = {"llamb", 5}};
    ck_assert_int_eq(restore_session(&from, &fixture.checkpoint, &other, NULL, &err), -1);
    ck_assert_msg(strstr(err.text, "saved with \"metadata: ") != NULL, "%s", err.text);
    entry->value = value;
    ck_assert_int_eq(restore_session(&from, &fixture.checkpoint, &other, NULL, &err), 0);
    ck_assert_int_eq(restore_session(&from, &fixture.checkpoint, &other, NULL, &err), -1);
    ck_assert_msg(strstr(err.text, "has 300 tokens, expected none") != NULL, "%s", err.text);
    restore_close(&from);
    session_close(&other);
}
END_TEST

/* --- damage -------------------------------------------------------------------------------- */

static int read_transcript(const uint8_t *bytes, size_t size, char **text, size_t *length,
                           struct error *err)
{
    return restore_transcript(scratch_write("t", bytes, size), text, length, err);
}

/* The transcript is whole, or begins as it should, or nothing of it is there. */
static void check_transcript(const uint8_t *bytes, size_t size)
{
    struct error err;
    char *text;
    size_t length;
    int result = read_transcript(bytes, size, &text, &length, &err);
    ck_assert_int_eq(result, size >= SAVE_HEADER + LENGTH ? 0 : size < SAVE_HEADER ? -1 : 1);
    if (result >= 0) {
        ck_assert_uint_eq(length, result == 0 ? LENGTH : size - SAVE_HEADER);
        ck_assert_mem_eq(text, transcript, length);
    }
    free(text);
}

START_TEST(cut_files_are_refused)
{
    struct error err;
    for (size_t size = 0; size < image.size; size += size < 400 ? 1 : 97)
        ck_assert_int_eq(try_bytes(image.data, size, "sinks=4,window=10", FORMAT_Q8_0, 0, &err),
                         -1);
    for (size_t size = 1; size < image.size; size += size < 400 ? 7 : 9973)
        check_transcript(image.data, size);
    bytes_add_uint(&image, 0, 1);
    refuse("bytes, expected");
    check_transcript(image.data, image.size);
}
END_TEST

/* Every byte of the first pages, and some of the blocks: what is no padding is noticed. */
START_TEST(damaged_files_are_refused)
{
    struct error err;
    int unnoticed = 0;
    for (size_t i = 0; i < image.size; i += i < 8192 ? 1 : 61) {
        image.data[i] ^= 0x10;
        unnoticed +=
            try_bytes(image.data, image.size, "sinks=4,window=10", FORMAT_Q8_0, 0, &err) == 0;
        image.data[i] ^= 0x10;
    }
    ck_assert_int_le(unnoticed, SAVE_ALIGN * SAVE_BLOCKS);
    image.data[image.size - 1] ^= 1;
    refuse("of layer 1 is damaged: its checksum does not fit");
    check_transcript(image.data, image.size);
}
END_TEST

START_TEST(other_files_are_refused)
{
    static const uint8_t zeros[1000];
    struct error err;
    char *text;
    size_t length;
    ck_assert_int_eq(try_bytes(zeros, sizeof zeros, "all", FORMAT_F32, 0, &err), -1);
    ck_assert_str_eq(err.text, "s: is not a saved session");
    ck_assert_int_eq(read_transcript(zeros, sizeof zeros, &text, &length, &err), -1);
    ck_assert_ptr_null(text);
    ck_assert_int_eq(restore_transcript("/nonexistent/s", &text, &length, &err), -1);
    ((struct save_header *)(void *)image.data)->version = 2;
    refuse("s: is of version 2, this program reads version 1");
    check_transcript(image.data, image.size);
}
END_TEST

START_TEST(damaged_transcripts_are_shown)
{
    struct error err;
    char *text;
    size_t length;
    image.data[SAVE_HEADER] = '?';
    ck_assert_int_eq(read_transcript(image.data, image.size, &text, &length, &err), 1);
    ck_assert_msg(strstr(err.text, "the transcript is cut or damaged") != NULL, "%s", err.text);
    ck_assert_uint_eq(length, LENGTH);
    ck_assert_mem_eq(text + 1, transcript + 1, LENGTH - 1);
    free(text);
    ((struct save_header *)(void *)image.data)->sections[SAVE_TRANSCRIPT].bytes = UINT64_MAX;
    ck_assert_int_eq(read_transcript(image.data, image.size, &text, &length, &err), 1);
    ck_assert_uint_eq(length, image.size - SAVE_HEADER);
    free(text);
}
END_TEST

/* --- lies, with the right checksums -------------------------------------------------------- */

/* A number of a section, at byte `at` of it. */
struct lie {
    enum save_section section;
    size_t at;
    size_t bytes;
    int64_t value;
    const char *message;
};

static const struct lie lies[] = {
    {SAVE_STATE, 0, 8, -1, "position is -1, allowed: 0 to 300"},
    {SAVE_STATE, 0, 8, 301, "position is 301, allowed: 0 to 300"},
    {SAVE_STATE, 0, 8, 0, "logits: "},
    {SAVE_STATE, 0, 8, 200, "layer 0 lacks keys or values"},
    {SAVE_STATE, 8, 8, 299, "length is 299"},
    {SAVE_STATE, 8, 8, INT64_MAX, "length is"},
    {SAVE_STATE, 16, 8, -1, "expected length is -1"},
    {SAVE_STATE, 24, 8, 299, "room is 299, allowed: 300 to 812"},
    {SAVE_STATE, 24, 8, 400, "not a cache of 400 tokens"},
    {SAVE_STATE, 24, 8, INT64_MAX, "room is"},
    {SAVE_STATE, 32, 8, 2, "sampler is 2"},
    {SAVE_STATE, 112, 8, -1, "top-k is -1"},
    {SAVE_STATE, 120, 8, INT64_MAX, "repeat-last is"},
    {SAVE_STATE, 128, 8, 6, "recent tokens is 6, allowed: 0 to 5"},
    {SAVE_IDS, 4, 4, -1, "token 1: id -1, allowed: 0 to"},
    {SAVE_IDS, 4 * (N - 1), 4, INT32_MAX, "token 299: id 2147483647"},
    {SAVE_STRIPS, 0, 8, -1, "strips: -1 blocks"},
    {SAVE_STRIPS, 0, 8, INT64_MAX, "strips: 9223372036854775807 blocks"},
    {SAVE_STRIPS, 0, 8, 3, "strips: "},
    {SAVE_STRIPS, 8, 8, 3, "strip 0 of layer 0 has"},
    {SAVE_STRIPS, 8, 8, -1, "strip 0 of layer 0 has"},
    {SAVE_STRIPS, 16, 8, -1, "strip 0 of layer 0 has"},
    {SAVE_STRIPS, 16, 8, INT64_MAX, "strip 0 of layer 0 has"},
    {SAVE_STRIPS, 24, 8, -1, "strip 0 of layer 0 has"},
    {SAVE_STRIPS, 24, 8, 128, "strip 0 of layer 0 has"},
    {SAVE_STRIPS, 24, 8, 40, "layer 0 lacks keys or values"},
};
enum { N_LIES = sizeof lies / sizeof lies[0] };

static uint8_t *section_at(enum save_section section, size_t *bytes)
{
    const struct save_header *header = (const void *)image.data;
    uint64_t at = SAVE_HEADER;
    for (enum save_section s = 0; s < section; s++)
        at = save_align(at + header->sections[s].bytes);
    *bytes = (size_t)header->sections[section].bytes;
    return image.data + at;
}

static void make_sums(void)
{
    struct save_header *header = (void *)image.data;
    size_t bytes;
    for (enum save_section s = 0; s < SAVE_BLOCKS; s++) {
        const uint8_t *at = section_at(s, &bytes);
        header->sections[s].sum = checksum(at, bytes);
    }
    header->sum = save_header_sum(header);
}

START_TEST(lies_are_refused)
{
    size_t bytes;
    uint8_t *at = section_at(lies[_i].section, &bytes) + lies[_i].at;
    ck_assert_uint_le(lies[_i].at + lies[_i].bytes, bytes);
    memcpy(at, &lies[_i].value, lies[_i].bytes);
    make_sums();
    refuse(lies[_i].message);
}
END_TEST

START_TEST(sections_that_are_longer_than_the_file_are_refused)
{
    struct save_header *header = (void *)image.data;
    for (int s = 0; s < SAVE_SECTIONS; s++)
        for (int i = 0; i < 4; i++) {
            uint64_t said = header->sections[s].bytes;
            header->sections[s].bytes =
                (const uint64_t[]){UINT64_MAX, image.size, UINT64_MAX / 2, said + 1}[i];
            header->sum = save_header_sum(header);
            refuse(i < 3 ? "bytes, the file has" : "s: ");
            header->sections[s].bytes = said;
        }
}
END_TEST

/* --- memory and disk ----------------------------------------------------------------------- */

START_TEST(want_of_memory_is_an_error)
{
    struct error err = {""};
    int result = -1;
    for (long n = 1; result; n++) {
        ck_assert_int_lt(n, 100);
        support_fail_memory(n, false);
        result = write_session(path, &err);
        support_fail_memory(0, false);
        ck_assert(result == 0 || err.text[0] != '\0');
    }
    struct session other;
    struct restore from;
    timeline_open(&other, &fixture.model, "sinks=4,window=10", FORMAT_Q8_0, 0);
    ck_assert_int_eq(restore_open(&from, path, &err), 0);
    result = -1;
    for (long n = 1; result; n++) {
        ck_assert_int_lt(n, 100);
        err.text[0] = '\0';
        support_fail_memory(n, false);
        result = restore_session(&from, &fixture.checkpoint, &other, NULL, &err);
        support_fail_memory(0, false);
        ck_assert(result == 0 || err.text[0] != '\0');
        ck_assert_int_eq(other.position, result ? 0 : N);
    }
    restore_close(&from);
    session_close(&other);
}
END_TEST

START_TEST(no_more_memory_than_allowed)
{
    struct error err = {""};
    struct session other;
    struct restore from;
    timeline_open(&other, &fixture.model, "sinks=4,window=10", FORMAT_Q8_0, 0);
    ck_assert_int_eq(restore_open(&from, path, &err), 0);
    other.cache.max_bytes = cache_bytes(&session.cache) - 1;
    ck_assert_int_eq(restore_session(&from, &fixture.checkpoint, &other, NULL, &err), -1);
    ck_assert_msg(strstr(err.text, "the cache needs") != NULL, "%s", err.text);
    other.cache.max_bytes++;
    ck_assert_int_eq(restore_session(&from, &fixture.checkpoint, &other, NULL, &err), 0);
    restore_close(&from);
    session_close(&other);
}
END_TEST

/* The disk is full after each number of bytes: the old file stays. */
START_TEST(a_full_disk_leaves_the_old_file)
{
    struct rlimit limit;
    struct error err = {""};
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (size_t size = 0; size < image.size; size += image.size / 20) {
        struct rlimit small = {size, limit.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
        int result = write_session(path, &err);
        setrlimit(RLIMIT_FSIZE, &limit);
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(err.text, "cannot write: File too large") != NULL, "%s", err.text);
        struct bytes before = image;
        read_image();
        ck_assert_uint_eq(image.size, before.size);
        ck_assert_mem_eq(image.data, before.data, image.size);
        free(before.data);
    }
    signal(SIGXFSZ, SIG_DFL);
}
END_TEST

START_TEST(tokens_must_be_those_of_the_session)
{
    struct error err = {""};
    struct save save = {&fixture.checkpoint, &session, NULL, ids, N - 1, {NULL, 0}};
    ck_assert_int_eq(save_write(&save, path, &err), -1);
    ck_assert_str_eq(err.text, "cannot save: 299 tokens of the text given, the session has 300");
}
END_TEST

Suite *restore_suite(void)
{
    Suite *suite = suite_create("restore");
    TCase *tcase = tcase_create("restore");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, other_settings_are_refused);
    tcase_add_test(tcase, other_models_are_refused);
    tcase_add_test(tcase, changed_models_are_refused);
    tcase_add_test(tcase, cut_files_are_refused);
    tcase_add_test(tcase, damaged_files_are_refused);
    tcase_add_test(tcase, other_files_are_refused);
    tcase_add_test(tcase, damaged_transcripts_are_shown);
    tcase_add_loop_test(tcase, lies_are_refused, 0, N_LIES);
    tcase_add_test(tcase, sections_that_are_longer_than_the_file_are_refused);
    tcase_add_test(tcase, want_of_memory_is_an_error);
    tcase_add_test(tcase, no_more_memory_than_allowed);
    tcase_add_test(tcase, a_full_disk_leaves_the_old_file);
    tcase_add_test(tcase, tokens_must_be_those_of_the_session);
    suite_add_tcase(suite, tcase);
    return suite;
}
