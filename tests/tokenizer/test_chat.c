/* test_chat: recognising templates, and rendering, against what transformers made of the same
 * conversations with the models' own templates (tests/data/templates, template_fixtures.py). */
#include "tokenizer/chat.h"

#include <check.h>
#include <cjson/cJSON.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tests/suites.h"
#include "tests/tokenizer/toy.h"

#define FOLDER "tests/data/templates/"
enum { MOST_TURNS = 8, BYTES = 256 };

/* Names of control tokens, of all families; files have some of them as user-defined ones. */
static const char *const names[] = {"<s>",
                                    "</s>",
                                    "[INST]",
                                    "[/INST]",
                                    "<|im_start|>",
                                    "<|im_end|>",
                                    "<|im_sep|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eot_id|>",
                                    "<start_of_turn>",
                                    "<end_of_turn>",
                                    "<|system|>",
                                    "<|user|>",
                                    "<|assistant|>",
                                    "<|end|>",
                                    "[SYSTEM_PROMPT]",
                                    "[/SYSTEM_PROMPT]",
                                    "<|start_of_role|>",
                                    "<|end_of_role|>",
                                    "<|end_of_text|>",
                                    "<｜User｜>",
                                    "<｜Assistant｜>",
                                    "<｜end▁of▁sentence｜>",
                                    "<|EOT|>",
                                    "<|START_OF_TURN_TOKEN|>",
                                    "<|SYSTEM_TOKEN|>",
                                    "<|USER_TOKEN|>",
                                    "<|CHATBOT_TOKEN|>",
                                    "<|END_OF_TURN_TOKEN|>",
                                    "<|end_of_turn|>"};
enum { N_NAMES = sizeof names / sizeof names[0] };

static const char *const unknown[] = {
    "{% for message in messages %}{{ '<|im_start|>' + message.role }}{% endfor %}", /* no content */
    "{{ messages }}\x1b",
    "{{",
    "{%",
    "{#",
    "{{ '",
    "{{ 'a\\",
    "{%-",
    "{{ -",
    "a\n",
    "\n",
    "{{- -}}",
    ""};

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

static void open_all(struct toy *toy)
{
    struct toy_token tokens[BYTES + N_NAMES];
    struct gguf_image image;
    size_t n = toy_add_bytes(tokens);
    for (size_t i = 0; i < N_NAMES; i++)
        tokens[n++] = (struct toy_token){names[i], i % 3 > 0 ? CONTROL : USER_DEFINED, 0};
    toy_image(&image, "gpt2", tokens, n);
    gguf_image_text(&image, "tokenizer.ggml.pre", "qwen2");
    gguf_image_texts(&image, "tokenizer.ggml.merges", NULL, 0);
    gguf_image_u32(&image, "tokenizer.ggml.bos_token_id", BYTES);
    gguf_image_u32(&image, "tokenizer.ggml.eos_token_id", BYTES + 1);
    toy_open(toy, &image);
}

static cJSON *read_json(const char *path)
{
    struct file file;
    struct error err;
    ck_assert_msg(file_open(&file, path, &err) == 0, "%s", err.text);
    cJSON *json = cJSON_ParseWithLength((const char *)file.data, file.size);
    ck_assert_msg(json != NULL, "%s", path);
    file_close(&file);
    return json;
}

static const char *string_of(const cJSON *object, const char *name)
{
    const char *string = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    ck_assert_msg(string != NULL, "%s", name);
    return string;
}

static size_t read_turns(const cJSON *conversation, struct chat_turn turns[MOST_TURNS])
{
    size_t n = 0;
    const cJSON *message;
    cJSON_ArrayForEach(message, conversation)
    {
        const char *role = string_of(message, "role");
        ck_assert_uint_lt(n, MOST_TURNS);
        turns[n].role = role[0] == 's' ? CHAT_SYSTEM : role[0] == 'u' ? CHAT_USER : CHAT_ASSISTANT;
        turns[n++].content = text_of(string_of(message, "content"));
    }
    return n;
}

/* The fifth of March 2026. */
static time_t noon(void)
{
    struct tm day = {.tm_year = 126, .tm_mon = 2, .tm_mday = 5, .tm_hour = 12, .tm_isdst = -1};
    return mktime(&day);
}

static size_t count_control(const struct token_list *ids)
{
    size_t n = 0;
    for (size_t i = 0; i < ids->n; i++)
        n += ids->ids[i] >= BYTES;
    return n;
}

/* Renders; the text must be `expected`, and the tokens those of that text with its markup, where
 * the turns spell none. */
static size_t check_rendering(const struct chat_template *template, const struct toy *toy,
                              const struct chat_turn *turns, size_t n, const char *expected,
                              bool spelled, const char *place)
{
    struct error err;
    struct token_list ids = {0}, whole = {0};
    ck_assert_msg(chat_render(template, toy->tokenizer, turns, n, &ids, &err) == 0, "%s: %s", place,
                  err.text);
    size_t used = 0, length = strlen(expected);
    for (size_t i = 0; i < ids.n; i++) {
        struct text piece = tokenizer_piece(toy->tokenizer, ids.ids[i], true);
        ck_assert_msg(used + piece.length <= length &&
                          memcmp(expected + used, piece.bytes, piece.length) == 0,
                      "%s: differs behind \"%.*s\", expected \"%.40s\"", place, (int)used, expected,
                      expected + used);
        used += piece.length;
    }
    ck_assert_msg(used == length, "%s: ends before \"%s\"", place, expected + used);
    struct encode_options options = {.parse_special = true};
    ck_assert_int_eq(tokenizer_encode(toy->tokenizer, expected, length, options, &whole, &err), 0);
    bool same = ids.n == whole.n && memcmp(ids.ids, whole.ids, ids.n * sizeof *ids.ids) == 0;
    ck_assert_msg(same == !spelled, "%s: tokens", place);
    size_t n_control = count_control(&ids);
    token_list_free(&ids);
    token_list_free(&whole);
    return n_control;
}

static void check_template(const char *path, const struct toy *toy, const cJSON *conversations)
{
    struct error err;
    struct chat_template template, named;
    struct chat_turn turns[MOST_TURNS];
    cJSON *json = read_json(path);
    const char *fragments = string_of(json, "fragments");
    ck_assert_msg(chat_recognise(&template, text_of(fragments), noon(), &err) == 0, "%s: %s", path,
                  err.text);
    ck_assert_msg(strcmp(chat_name(&template), string_of(json, "family")) == 0, "%s: is %s", path,
                  chat_name(&template));
    ck_assert_int_eq(chat_named(&named, chat_name(&template), noon(), &err), 0);
    ck_assert_str_eq(chat_name(&named), chat_name(&template));
    const cJSON *renderings = cJSON_GetObjectItemCaseSensitive(json, "renderings"), *conversation;
    size_t n_control[2] = {0}; /* in three turns, without and with a system turn */
    cJSON_ArrayForEach(conversation, conversations)
    {
        char place[200];
        const char *name = conversation->string;
        snprintf(place, sizeof place, "%s: %s", path, name);
        size_t n = read_turns(conversation, turns);
        const cJSON *expected = cJSON_GetObjectItemCaseSensitive(renderings, name);
        ck_assert_msg(expected != NULL, "%s", place);
        if (cJSON_IsNull(expected)) {
            struct token_list ids = {0};
            ck_assert_msg(chat_render(&template, toy->tokenizer, turns, n, &ids, &err) == -1, "%s",
                          place);
            ck_assert_uint_eq(ids.n, 0);
            token_list_free(&ids);
            continue;
        }
        bool spelled = strncmp(name, "spelled", 7) == 0, system = turns[0].role == CHAT_SYSTEM;
        size_t count = check_rendering(&template, toy, turns, n, cJSON_GetStringValue(expected),
                                       spelled, place);
        if (strncmp(name, "three", 5) == 0)
            n_control[system] = count;
        ck_assert_msg(!spelled || count == n_control[system], "%s: control tokens %zu %zu", place,
                      count, n_control[system]);
    }
    chat_template_free(&template);
    cJSON_Delete(json);
}

START_TEST(turns_become_what_transformers_makes_of_them)
{
    struct toy toy;
    glob_t paths;
    scratch_make();
    open_all(&toy);
    cJSON *conversations = read_json(FOLDER "conversations.json");
    ck_assert_int_eq(glob(FOLDER "*.json", 0, NULL, &paths), 0);
    ck_assert_uint_gt(paths.gl_pathc, 40);
    for (size_t i = 0; i < paths.gl_pathc; i++) {
        if (!strstr(paths.gl_pathv[i], "conversations"))
            check_template(paths.gl_pathv[i], &toy, conversations);
    }
    globfree(&paths);
    cJSON_Delete(conversations);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

/* What follows a reply, rendered alone, are the last tokens of the whole. Counts where with the
 * reply they are the whole (some templates put a space around a reply that they do not begin it
 * with), and where the template says that it rewrites. */
static void check_next(const struct toy *toy, const char *name, bool system, const char *reply,
                       int *n_same, int *n_rewritten)
{
    const struct chat_turn turns[] = {{CHAT_SYSTEM, text_of("s")},
                                      {CHAT_USER, text_of("first")},
                                      {CHAT_ASSISTANT, text_of(reply)},
                                      {CHAT_USER, text_of("second")}};
    struct error err;
    struct chat_template template;
    struct token_list whole = {0}, before = {0}, next = {0};
    ck_assert_int_eq(chat_named(&template, name, noon(), &err), 0);
    const struct chat_turn *from = turns + !system;
    size_t n = 3 + (size_t)system;
    if (chat_render(&template, toy->tokenizer, from, n, &whole, &err) == 0) {
        ck_assert_int_eq(chat_render(&template, toy->tokenizer, from, n - 2, &before, &err), 0);
        ck_assert_msg(chat_render_next(&template, toy->tokenizer, from, n, &next, &err) == 0,
                      "%s: %s", name, err.text);
        ck_assert_uint_gt(next.n, strlen("second"));
        ck_assert_uint_lt(next.n, whole.n);
        bool tail = memcmp(next.ids, whole.ids + whole.n - next.n, next.n * sizeof *next.ids) == 0;
        bool head = memcmp(before.ids, whole.ids, before.n * sizeof *before.ids) == 0;
        ck_assert_msg(tail, "%s: the end differs", name);
        ck_assert(!chat_rewrites(&template, from, n - 2));
        bool rewrites = chat_rewrites(&template, from, n);
        *n_rewritten += rewrites;
        *n_same += !rewrites && head && before.n + strlen(reply) + next.n == whole.n;
    }
    token_list_free(&whole);
    token_list_free(&before);
    token_list_free(&next);
    chat_template_free(&template);
}

START_TEST(a_turn_rendered_alone_is_the_end_of_the_whole)
{
    struct toy toy;
    glob_t paths;
    int n_same = 0, n_rewritten = 0;
    scratch_make();
    open_all(&toy);
    ck_assert_int_eq(glob(FOLDER "*.json", 0, NULL, &paths), 0);
    for (size_t i = 0; i < paths.gl_pathc; i++) {
        if (strstr(paths.gl_pathv[i], "conversations"))
            continue;
        cJSON *json = read_json(paths.gl_pathv[i]);
        for (int system = 0; system < 2; system++) {
            check_next(&toy, string_of(json, "family"), system, "reply", &n_same, &n_rewritten);
            check_next(&toy, string_of(json, "family"), system, "x</think>y", &n_same,
                       &n_rewritten);
        }
        cJSON_Delete(json);
    }
    ck_assert_int_gt(n_same, 80);
    ck_assert_int_gt(n_rewritten, 8);
    globfree(&paths);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(what_is_unknown_is_said_and_not_guessed)
{
    struct error err;
    struct chat_template template;
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        ck_assert_int_eq(chat_recognise(&template, text_of(unknown[i]), 0, &err), -1);
        ck_assert_ptr_nonnull(strstr(err.text, "of no known form, expected one of: chatml, "));
        ck_assert_ptr_nonnull(strstr(err.text, ", openchat"));
    }
    ck_assert_int_eq(chat_recognise(&template, (struct text){0}, 0, &err), -1);
    ck_assert_int_eq(chat_named(&template, "lama-3", 0, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "llama-3.2, "));
}
END_TEST

START_TEST(turns_out_of_order_are_refused)
{
    const struct chat_turn turns[] = {{CHAT_USER, text_of("a")},
                                      {CHAT_SYSTEM, text_of("b")},
                                      {CHAT_USER, text_of("c")},
                                      {CHAT_ASSISTANT, text_of("d")}};
    struct toy toy;
    struct error err;
    struct token_list ids = {0};
    struct chat_template template;
    scratch_make();
    open_all(&toy);
    ck_assert_int_eq(chat_named(&template, "chatml", 0, &err), 0);
    ck_assert_int_eq(chat_render(&template, toy.tokenizer, turns, 3, &ids, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "turn 2 is a system turn, expected only as the first"));
    ck_assert_int_eq(chat_render(&template, toy.tokenizer, NULL, 0, &ids, &err), -1);
    ck_assert_int_eq(chat_render(&template, toy.tokenizer, turns + 1, 1, &ids, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "the last turn is the system's, expected the user's"));
    ck_assert_int_eq(chat_render(&template, toy.tokenizer, turns + 2, 2, &ids, &err), -1);
    ck_assert_int_eq(chat_named(&template, "gemma", 0, &err), 0);
    ck_assert_int_eq(chat_render(&template, toy.tokenizer, turns + 1, 2, &ids, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "gemma has no place for a system message"));
    ck_assert_uint_eq(ids.n, 0);
    token_list_free(&ids);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(memory_that_runs_out_is_an_error)
{
    static const char own_text[] =
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nBe odd.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
        "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    const struct chat_turn turns[] = {{CHAT_SYSTEM, text_of("a /no_think")},
                                      {CHAT_USER, text_of("b")}};
    struct toy toy;
    struct error err;
    scratch_make();
    open_all(&toy);
    long failures = 1;
    for (long call = 1; failures > 0; call++) {
        struct chat_template template = {0}, named = {0};
        struct token_list ids = {0};
        support_fail_memory(call, true);
        int result = chat_recognise(&template, text_of(own_text), 0, &err);
        if (result == 0)
            result = chat_named(&named, "smollm3", 0, &err);
        if (result == 0)
            result = chat_render(&named, toy.tokenizer, turns, 2, &ids, &err);
        failures = support_memory_failures();
        support_fail_memory(0, false);
        ck_assert(result == 0 || strstr(err.text, "out of memory") != NULL);
        ck_assert(result == 0 || ids.n == 0);
        ck_assert_int_eq(result == 0, failures == 0);
        ck_assert_int_lt(call, 100);
        ck_assert(call > 4 || failures > 0);
        token_list_free(&ids);
        chat_template_free(&template);
    }
    toy_close(&toy);
    scratch_remove();
}
END_TEST

/* What the table tells less of than the template does is refused. */
START_TEST(a_word_that_is_not_supported_is_refused)
{
    const struct chat_turn turns[] = {{CHAT_SYSTEM, text_of("a /system_override")},
                                      {CHAT_USER, text_of("b")}};
    struct toy toy;
    struct error err;
    struct token_list ids = {0};
    struct chat_template template;
    scratch_make();
    open_all(&toy);
    ck_assert_int_eq(chat_named(&template, "smollm3", 0, &err), 0);
    ck_assert_int_eq(chat_render(&template, toy.tokenizer, turns, 2, &ids, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "\"/system_override\", which is not supported"));
    toy_close(&toy);
    scratch_remove();
}
END_TEST

Suite *chat_suite(void)
{
    Suite *suite = suite_create("chat");
    TCase *tcase = tcase_create("chat");
    tcase_add_test(tcase, turns_become_what_transformers_makes_of_them);
    tcase_add_test(tcase, a_turn_rendered_alone_is_the_end_of_the_whole);
    tcase_add_test(tcase, what_is_unknown_is_said_and_not_guessed);
    tcase_add_test(tcase, turns_out_of_order_are_refused);
    tcase_add_test(tcase, memory_that_runs_out_is_an_error);
    tcase_add_test(tcase, a_word_that_is_not_supported_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
