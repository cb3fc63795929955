/* test_transcript: what was said, written for people, and read from files that are no longer what
 * they were. */
#include "commands/chat/transcript.h"

#include <check.h>
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "commands/array.h"
#include "tests/program.h"
#include "tests/suites.h"
#include "tests/support.h"

#define TINY "tests/data/llama.gguf"
/* Where a saved session has its version (model/save_format.h). */
enum { VERSION_AT = 16, MOST_TURNS = 4 };

static struct chat_turn *make_turns(void)
{
    static const struct chat_turn turns[] = {{CHAT_SYSTEM, {"Be kind.", 8}},
                                             {CHAT_USER, {"a \"b\"\n# c", 9}},
                                             {CHAT_ASSISTANT, {"z\0\xe2\x82\xac", 5}}};
    struct chat_turn *copy = NULL;
    for (int i = 0; i < 3; i++)
        arrput(copy, turns[i]);
    return copy;
}

static char *read_file(const char *path, size_t *size)
{
    struct file file;
    struct error err;
    ck_assert_msg(file_open(&file, path, &err) == 0, "%s", err.text);
    char *text = malloc(file.size + 1);
    ck_assert_ptr_nonnull(text);
    memcpy(text, file.data, file.size);
    text[file.size] = '\0';
    *size = file.size;
    file_close(&file);
    return text;
}

START_TEST(markdown_has_a_heading_a_turn_and_every_byte)
{
    static const char expected[] = "## System\n\nBe kind.\n\n## User\n\na \"b\"\n# c\n\n"
                                   "## Assistant\n\nz\0\xe2\x82\xac\n";
    struct chat_turn *turns = make_turns();
    struct error err = {""};
    size_t size;
    const char *path = scratch_path("t.md");
    ck_assert_msg(transcript_export(turns, path, &err) == 0, "%s", err.text);
    char *text = read_file(path, &size);
    ck_assert_uint_eq(size, sizeof expected - 1);
    ck_assert_mem_eq(text, expected, size);
    ck_assert_int_eq(transcript_export(turns, path, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "exists already"));
    ck_assert_int_eq(transcript_export(turns, "/nonexistent/t.md", &err), -1);
    free(text);
    arrfree(turns);
}
END_TEST

static int allocations_left;

static void *allocate(size_t bytes)
{
    return allocations_left-- > 0 ? malloc(bytes) : NULL;
}

START_TEST(without_memory_there_is_no_part_of_a_transcript)
{
    struct chat_turn *turns = make_turns();
    const int64_t starts[] = {0, 0, 7};
    char *expected = transcript_print(turns, starts);
    char *printed = NULL;
    cJSON_InitHooks(&(cJSON_Hooks){allocate, free});
    int n = 0;
    for (; !printed; n++) {
        allocations_left = n;
        printed = transcript_print(turns, starts);
    }
    cJSON_InitHooks(NULL);
    ck_assert_int_gt(n, 10);
    ck_assert_str_eq(printed, expected);
    free(printed);
    free(expected);
    arrfree(turns);
}
END_TEST

START_TEST(json_is_told_by_the_name)
{
    struct chat_turn *turns = make_turns();
    struct error err = {""};
    size_t size;
    const char *path = scratch_path("t.json");
    ck_assert_msg(transcript_export(turns, path, &err) == 0, "%s", err.text);
    char *text = read_file(path, &size);
    cJSON *json = cJSON_Parse(text);
    const cJSON *list = cJSON_GetObjectItem(json, "turns");
    ck_assert_int_eq(cJSON_GetArraySize(list), 3);
    const cJSON *user = cJSON_GetArrayItem(list, 1);
    ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(user, "role")), "user");
    ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(user, "content")), "a \"b\"\n# c");
    ck_assert_int_eq(
        cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetArrayItem(list, 2), "content")),
        2); /* around the zero */
    cJSON_Delete(json);
    free(text);
    arrfree(turns);
}
END_TEST

struct collected {
    int n;
    int64_t at[MOST_TURNS];
};

static void collect(void *context, enum chat_role role, const char *text, size_t length, int64_t at)
{
    struct collected *collected = context;
    (void)role;
    ck_assert(text != NULL || length == 0);
    ck_assert_int_lt(collected->n, MOST_TURNS);
    collected->at[collected->n++] = at;
}

static const struct {
    const char *json;
    int n; /* turns before what is wrong */
} broken[] = {
    {"", 0},
    {"[]", 0},
    {"{\"turns\": 1}", 0},
    {"{\"turns\": [1]}", 0},
    {"{\"turns\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"king\", "
     "\"content\": \"b\"}]}",
     1},
    {"{\"turns\": [{\"role\": \"user\", \"content\": 7}]}", 0},
    {"{\"turns\": [{\"role\": \"user\", \"content\": []}]}", 0},
    {"{\"turns\": [{\"role\": \"user\", \"content\": [\"a\", 1]}]}", 0},
    {"{\"turns\": [{\"role\": 3, \"content\": \"a\"}]}", 0},
    {"{\"turns\": [{\"role\": \"user\", \"content\": \"a", 0},
};
enum { N_BROKEN = sizeof broken / sizeof broken[0] };

START_TEST(what_is_no_transcript_is_an_error)
{
    struct error err = {""};
    struct collected collected = {0};
    struct text json = {broken[_i].json, strlen(broken[_i].json)};
    ck_assert_int_eq(transcript_read(json, "s", collect, &collected, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "s: the transcript is not that of a chat"));
    ck_assert_int_eq(collected.n, broken[_i].n);
}
END_TEST

START_TEST(places_are_whole_numbers_or_not_known)
{
    static const char json[] = "{\"turns\": [{\"role\": \"user\", \"content\": \"a\", \"at\": 12}, "
                               "{\"role\": \"user\", \"content\": \"a\", \"at\": -3}, "
                               "{\"role\": \"user\", \"content\": \"a\", \"at\": 1e300}, "
                               "{\"role\": \"user\", \"content\": \"a\"}]}";
    struct error err;
    struct collected collected = {0};
    ck_assert_int_eq(
        transcript_read((struct text){json, sizeof json - 1}, "s", collect, &collected, &err), 0);
    ck_assert_int_eq(collected.n, 4);
    ck_assert_int_eq(collected.at[0], 12);
    for (int i = 1; i < 4; i++)
        ck_assert_int_eq(collected.at[i], -1);
}
END_TEST

/* --- the program ---------------------------------------------------------------------------- */

static void make_session(const char *path)
{
    const char *const arguments[] = {"chat", "-m", TINY, "-n", "5", "--session", path, "-q", NULL};
    struct program program = {.arguments = arguments, .input = "remember the lake\n"};
    program_run(&program);
    ck_assert_msg(program.status == 0, "%s", program.err);
    program_free(&program);
}

/* What is done to a saved session, and why it is refused. */
static const struct {
    const char *name;
    size_t cut; /* bytes at the end that go */
    long at;    /* a byte that changes; < 0: none */
    const char *model;
    const char *reason;
    bool whole; /* the transcript */
} changes[] = {
    {"another model", 0, -1, "tests/data/qwen2.gguf", "saved with", true},
    {"another version", 0, VERSION_AT, TINY, "is of version", true},
    {"cut", 100, -1, TINY, "blocks at byte", true},
    {"damaged", 0, 400, TINY, "transcript at byte", false},
};
enum { N_CHANGES = sizeof changes / sizeof changes[0] };

START_TEST(a_refused_session_says_why_and_what_was_said_can_be_read)
{
    char path[256], out[256];
    size_t size;
    snprintf(path, sizeof path, "%s", scratch_path("s"));
    snprintf(out, sizeof out, "%s", scratch_path("out.md"));
    make_session(path);
    char *image = read_file(path, &size);
    if (changes[_i].at >= 0)
        image[changes[_i].at] ^= 0x55;
    scratch_write("s", image, size - changes[_i].cut);
    free(image);
    const char *const chat[] = {"chat", "-m", changes[_i].model, "--session", path, NULL};
    struct program program = {.arguments = chat, .input = "hello\n"};
    program_run(&program);
    ck_assert_int_eq(program.status, 1);
    ck_assert_msg(strstr(program.err, changes[_i].reason) != NULL, "%s", program.err);
    ck_assert_ptr_nonnull(strstr(program.err, "--export FILE writes what was said"));
    program_free(&program);

    const char *const export[] = {"chat", "--session", path, "--export", out, NULL};
    program = (struct program){.arguments = export};
    program_run(&program);
    ck_assert_int_eq(program.status, changes[_i].whole ? 0 : 1);
    ck_assert_str_eq(program.out, "");
    if (!changes[_i].whole)
        ck_assert_ptr_nonnull(strstr(program.err, "what is left, as it is: "));
    program_free(&program);
    char *text = read_file(out, &size);
    const char *said =
        changes[_i].whole ? "## User\n\nremember the lake\n\n## Assistant\n\n" : "\"role\":\t\"";
    ck_assert_msg(strstr(text, said) != NULL, "%s", text);
    free(text);
}
END_TEST

START_TEST(an_export_needs_a_session)
{
    const char *const without[] = {"chat", "--export", "x.md", NULL};
    const char *const absent[] = {"chat", "--session", "/nonexistent/s", "--export", "x.md", NULL};
    const char *const foreign[] = {"chat", "--session", TINY, "--export", "x.md", NULL};
    struct program program = {.arguments = without};
    program_run(&program);
    ck_assert_int_eq(program.status, 2);
    program_free(&program);
    program = (struct program){.arguments = absent};
    program_run(&program);
    ck_assert_int_eq(program.status, 1);
    program_free(&program);
    program = (struct program){.arguments = foreign};
    program_run(&program);
    ck_assert_int_eq(program.status, 1);
    ck_assert_ptr_nonnull(strstr(program.err, "is not a saved session"));
    program_free(&program);
    ck_assert_int_ne(access("x.md", F_OK), 0);
}
END_TEST

Suite *transcript_suite(void)
{
    Suite *suite = suite_create("transcript");
    TCase *tcase = tcase_create("transcript");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, markdown_has_a_heading_a_turn_and_every_byte);
    tcase_add_test(tcase, without_memory_there_is_no_part_of_a_transcript);
    tcase_add_test(tcase, json_is_told_by_the_name);
    tcase_add_loop_test(tcase, what_is_no_transcript_is_an_error, 0, N_BROKEN);
    tcase_add_test(tcase, places_are_whole_numbers_or_not_known);
    tcase_add_loop_test(tcase, a_refused_session_says_why_and_what_was_said_can_be_read, 0,
                        N_CHANGES);
    tcase_add_test(tcase, an_export_needs_a_session);
    suite_add_tcase(suite, tcase);
    return suite;
}
