/* test_summarize_wording: which words a model is asked with. */
#include <check.h>
#include <string.h>

#include "commands/commands.h"
#include "commands/summarize/summarize.h"
#include "tests/model/directory.h"
#include "tests/suites.h"

#define KEY "longhand.summarize.wording"
#define CHATML                                                                    \
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + " \
    "message['content'] + '<|im_end|>\\n' }}{% endfor %}"                         \
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

struct choice {
    const char *key, *template;            /* of the file, or NULL */
    const char *wording, *chosen_template; /* on the command line, or NULL */
    const char *name;                      /* of what is chosen, or ... */
    int code;
    const char *found; /* ... why nothing is */
};

/* As wording_choose finds a file with these keys. */
static int choose(const struct choice *choice, struct wording *wording, struct error *err)
{
    struct directory directory;
    directory_init(&directory);
    if (choice->key)
        directory_set(&directory, KEY, value_text(choice->key));
    if (choice->template)
        directory_set(&directory, "tokenizer.chat_template", value_text(choice->template));
    ck_assert_int_eq(metadata_sort(&directory.metadata, err), 0);
    struct engine engine = {.checkpoint = {.path = "m.gguf", .metadata = directory.metadata}};
    struct options options = {.wording = choice->wording, .template = choice->chosen_template};
    int result = wording_choose(wording, &engine, &options, err);
    directory_free(&directory);
    return result;
}

static const struct choice choices[] = {
    {NULL, NULL, NULL, NULL, "report", 0, NULL},
    {NULL, CHATML, NULL, NULL, "chat", 0, NULL},
    {NULL, CHATML, "report", NULL, "report", 0, NULL},
    {"report", CHATML, NULL, NULL, "report", 0, NULL},
    {"report", CHATML, "chat", NULL, "chat", 0, NULL},
    {"report", CHATML, NULL, "chatml", "chat", 0, NULL},
    {"report", "of no known form", NULL, NULL, "report", 0, NULL},
    {"chat", CHATML, NULL, NULL, "chat", 0, NULL},
    {"poem", CHATML, "report", NULL, "report", 0, NULL},
    {"poem", CHATML, NULL, NULL, NULL, -1, "m.gguf: " KEY ": \"poem\" found, expected report"},
    {"chat", NULL, NULL, NULL, NULL, -1, KEY " chat: m.gguf has no chat template"},
    {NULL, NULL, "chat", NULL, NULL, EXIT_USAGE, "--wording chat: m.gguf has no chat template"},
    {NULL, "of no known form", NULL, NULL, NULL, -1, "no known form"},
    {"report", CHATML, "report", "chatml", NULL, EXIT_USAGE, "exclude each other"},
};

START_TEST(the_command_line_decides_then_the_file_then_the_template)
{
    const struct choice *choice = &choices[_i];
    struct wording wording;
    struct error err;
    ck_assert_int_eq(choose(choice, &wording, &err), choice->code);
    if (choice->name)
        ck_assert_str_eq(wording.name, choice->name);
    else
        ck_assert_msg(strstr(err.text, choice->found), "%s", err.text);
    wording_free(&wording);
}
END_TEST

Suite *summarize_wording_suite(void)
{
    Suite *suite = suite_create("summarize_wording");
    TCase *tcase = tcase_create("choice");
    tcase_add_loop_test(tcase, the_command_line_decides_then_the_file_then_the_template, 0,
                        (int)(sizeof choices / sizeof choices[0]));
    suite_add_tcase(suite, tcase);
    return suite;
}
