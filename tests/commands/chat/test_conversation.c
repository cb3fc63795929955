/* test_conversation: chat, quantize and Ctrl-C through the program itself. */
#include <check.h>
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands/array.h"
#include "commands/chat/conversation.h"
#include "commands/chat/keep.h"
#include "tests/program.h"
#include "tests/suites.h"
#include "tests/support.h"

#define TINY "tests/data/llama.gguf"
#define ENDLESS "tests/data/cohere2.gguf" /* at temperature 0 */

static struct program run(const char *const *arguments, const char *input)
{
    struct program program = {.arguments = arguments, .input = input};
    program_run(&program);
    ck_assert_msg(program.status == 0, "exit code %d: %s", program.status, program.err);
    return program;
}

static int count_lines(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

START_TEST(chat_answers_every_line_and_prints_replies_only)
{
    const char *const arguments[] = {"chat", "-m", TINY, "-n", "8", "--seed", "1", "--json", NULL};
    struct program program = run(arguments, "hello\n\nhow are you?\n");
    ck_assert_int_eq(count_lines(program.out), 2); /* an empty line is no turn */
    ck_assert_str_eq(program.err, "");
    cJSON *first = cJSON_Parse(program.out);
    ck_assert(cJSON_IsString(cJSON_GetObjectItem(first, "reply")));
    cJSON *second = cJSON_Parse(strchr(program.out, '\n') + 1);
    /* The second turn computes what is new, not the whole conversation. */
    double fed = cJSON_GetObjectItem(second, "prompt_tokens")->valuedouble;
    double held = cJSON_GetObjectItem(second, "position")->valuedouble;
    ck_assert_double_lt(fed, held - cJSON_GetObjectItem(first, "prompt_tokens")->valuedouble + 1);
    cJSON_Delete(first);
    cJSON_Delete(second);
    program_free(&program);
}
END_TEST

/* A family by name, the same by a file with its template, and none: two forms in all. */
START_TEST(chat_takes_a_template_by_name_or_file)
{
    static const char template[] =
        "{%- for message in messages %}{{ '<|' + message.role + '|>' + '\\n' + message.content + "
        "'<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif "
        "%}";
    scratch_make();
    const char *path = scratch_write("phi.jinja", template, sizeof template - 1);
    const char *const choices[] = {"phi-3", path, "chatml"};
    double tokens[3];
    for (int i = 0; i < 3; i++) {
        const char *const arguments[] = {"chat", "-m",     TINY, "-n",         "4",        "--seed",
                                         "1",    "--json", "-q", "--template", choices[i], NULL};
        struct program program = run(arguments, "hello\n");
        cJSON *reply = cJSON_Parse(program.out);
        ck_assert_msg(reply != NULL, "%s", program.err);
        tokens[i] = cJSON_GetObjectItem(reply, "prompt_tokens")->valuedouble;
        cJSON_Delete(reply);
        program_free(&program);
    }
    ck_assert_double_eq(tokens[0], tokens[1]);
    ck_assert_double_ne(tokens[0], tokens[2]);
    scratch_remove();
}
END_TEST

START_TEST(chat_of_nothing_says_nothing)
{
    const char *const arguments[] = {"chat", "-m", TINY, NULL};
    struct program program = run(arguments, "");
    ck_assert_str_eq(program.out, "");
    program_free(&program);
}
END_TEST

enum { TURNS = 200, TRAINED = 128, FULL = 20 };

static double number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(object, name);
    ck_assert_msg(cJSON_IsNumber(item), "%s", name);
    return item->valuedouble;
}

/* Tokens of what ChatML puts between a reply and the next. */
static double count_between(const char *content)
{
    char text[300];
    snprintf(text, sizeof text,
             "<|im_end|>\n<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n", content);
    const char *const arguments[] = {"tokenize", "-m",        TINY,     "-p",
                                     text,       "--special", "--json", NULL};
    struct program program = run(arguments, NULL);
    cJSON *object = cJSON_Parse(program.out);
    int n = cJSON_GetArraySize(cJSON_GetObjectItem(object, "ids")) - 1; /* the BOS in front */
    cJSON_Delete(object);
    program_free(&program);
    return n;
}

/* 200 turns, far past the training length, under the policy that chat chooses, and one with a
 * system message: every turn costs its own tokens, and at most the last one of the reply before,
 * which has not been fed; and the cache is as large as it was. */
static const char *const endless[][4] = {{NULL},
                                         {"--context", "sinks=4,window=156", "--system", "Hi."}};

START_TEST(a_turn_costs_what_it_adds_for_ever)
{
    const char *arguments[24] = {"chat",   "-m",     TINY, "-n",     "12",           "--template",
                                 "chatml", "--seed", "1",  "--json", "--max-memory", "1M"};
    char input[TURNS * 8] = "";
    for (int i = 0; i < 4 && endless[_i][i]; i++)
        arguments[12 + i] = endless[_i][i];
    for (int i = 0; i < TURNS; i++)
        memcpy(input + strlen(input), "hello\n", 7);
    double between = count_between("hello");
    ck_assert_double_gt(between, 5);
    struct program program = run(arguments, input);
    double most_before = 0, most_after = 0, position = 0, left = 0;
    const char *line = program.out;
    for (int i = 0; i < TURNS; i++, line = strchr(line, '\n') + 1) {
        cJSON *turn = cJSON_Parse(line);
        ck_assert_ptr_nonnull(turn);
        double prompt = number(turn, "prompt_tokens"), cache = number(turn, "cache_bytes");
        ck_assert_msg(i == 0 || (prompt >= between && prompt <= between + 1),
                      "turn %d: %g tokens, expected %g or one more", i + 1, prompt, between);
        double *most = i < FULL ? &most_before : &most_after;
        *most = cache > *most ? cache : *most;
        position = number(turn, "position");
        left = number(turn, "turns_left");
        cJSON_Delete(turn);
    }
    ck_assert_double_gt(position, 16 * TRAINED);
    ck_assert_double_le(most_after, most_before);
    ck_assert_double_gt(left, TURNS - FULL);
    ck_assert_double_lt(left, TURNS);
    program_free(&program);
}
END_TEST

/* That it is chat's choice is said once, when it begins to matter. */
START_TEST(the_policy_of_its_own_is_said)
{
    const char *const arguments[] = {"chat", "-m", TINY, "-n", "60", "--seed", "4", "-v", NULL};
    struct program program = run(arguments, "one two\nthree\nfour\nfive\nsix\n");
    const char *past = strstr(program.err, "past the training length of 128 tokens: the window "
                                           "keeps the last 124 tokens and the first 4");
    ck_assert_msg(past != NULL, "%s", program.err);
    const char *choice = strstr(past, "chat's choice for this model; --context all");
    ck_assert_ptr_nonnull(choice);
    ck_assert_ptr_null(strstr(choice + 1, "chat's choice"));
    program_free(&program);
}
END_TEST

/* Until the training length is reached chat's own policy is no other than none. */
START_TEST(the_policy_of_its_own_changes_nothing_before_it_matters)
{
    const char *const own[] = {"chat", "-m", TINY, "-n", "16", "--seed", "4", "-q", NULL};
    const char *const all[] = {"chat", "-m", TINY,        "-n",  "16", "--seed",
                               "4",    "-q", "--context", "all", NULL};
    struct program a = run(own, "one two\nthree\nfour\n");
    struct program b = run(all, "one two\nthree\nfour\n");
    ck_assert_uint_eq(a.out_bytes, b.out_bytes);
    ck_assert_mem_eq(a.out, b.out, a.out_bytes);
    program_free(&a);
    program_free(&b);
}
END_TEST

/* --- where the template changes what came before -----------------------------------------------
 */

struct opened {
    struct options options;
    struct engine engine;
    struct chat_template template;
    struct conversation conversation;
};

static void open_conversation(struct opened *opened, const char *family, const char *system)
{
    struct error err = {""};
    struct text text = {system, system ? strlen(system) : 0};
    *opened = (struct opened){
        .options = {.model = TINY, .kv_type = FORMAT_F16, .sampler = sampler_defaults}};
    opened->options.rope.kind = -1;
    ck_assert_msg(engine_open(&opened->engine, &opened->options, &err) == 0, "%s", err.text);
    ck_assert_int_eq(chat_named(&opened->template, family, 0, &err), 0);
    ck_assert_int_eq(conversation_open(&opened->conversation, &opened->engine, &opened->options,
                                       &opened->template, NULL, &err),
                     0);
    ck_assert_msg(conversation_begin(&opened->conversation, system ? &text : NULL, NULL, &err) == 0,
                  "%s", err.text);
}

static void close_conversation(struct opened *opened)
{
    conversation_close(&opened->conversation);
    chat_template_free(&opened->template);
    engine_close(&opened->engine);
}

/* A turn, and a reply as if the model had generated that text. */
static void talk(struct opened *opened, const char *turn, const char *reply)
{
    struct conversation *c = &opened->conversation;
    struct error err = {""};
    ck_assert_msg(conversation_ask(c, turn, strlen(turn), &err) == 0, "%s", err.text);
    int64_t start = (int64_t)c->ids.n;
    ck_assert_int_eq(tokenizer_encode(opened->engine.tokenizer, reply, strlen(reply),
                                      (struct encode_options){0}, &c->ids, &err),
                     0);
    conversation_add(c, CHAT_ASSISTANT, reply, strlen(reply), start);
    ck_assert_int_eq(session_feed(&c->session, c->ids.ids + c->session.position,
                                  (int64_t)c->ids.n - c->session.position, NULL, &err),
                     0);
}

static const struct {
    const char *family, *system, *reply;
    bool rewrites;
} families[] = {
    {"mistral-v3", "Be odd.", "yes", true},
    {"mistral-v3", NULL, "yes", false},
    {"qwen3", NULL, "a</think>b", true},
    {"qwen3", "Be odd.", "b", false},
    {"chatml", NULL, "a</think>b", false},
    {"mistral-v3", "Be odd, and say it at length, as long as it takes.", "no", true},
    {"deepseek-r1", NULL, "a</think>b", true},
};

START_TEST(the_past_changes_where_the_template_says_so)
{
    struct opened opened;
    struct error err = {""};
    struct token_list whole = {0};
    open_conversation(&opened, families[_i].family, families[_i].system);
    struct conversation *c = &opened.conversation;
    for (int i = 0; i < 3; i++) {
        talk(&opened, "a turn", families[_i].reply);
        int64_t before = c->session.position;
        ck_assert_int_eq(conversation_ask(c, "next", 4, &err), 0);
        ck_assert_int_eq(c->session.position < before, families[_i].rewrites);
        if (families[_i].rewrites) {
            whole.n = 0;
            ck_assert_int_eq(chat_render(&opened.template, opened.engine.tokenizer, c->turns,
                                         arrlenu(c->turns), &whole, &err),
                             0);
            ck_assert_uint_eq(c->ids.n, whole.n);
            ck_assert_mem_eq(c->ids.ids, whole.ids, whole.n * sizeof *whole.ids);
        }
        ck_assert_int_eq(conversation_take_turn(c, &err), 0);
    }
    token_list_free(&whole);
    close_conversation(&opened);
}
END_TEST

/* What is rewritten keeps its places: the turns can be saved, taken back and replied to anew. */
START_TEST(places_of_turns_are_those_of_the_rewritten_text)
{
    struct opened opened;
    struct error err = {""};
    struct token_list whole = {0};
    struct conversation restored;
    scratch_make();
    open_conversation(&opened, families[_i].family, families[_i].system);
    struct conversation *c = &opened.conversation;
    talk(&opened, "a turn", families[_i].reply);
    talk(&opened, "another", families[_i].reply);
    for (ptrdiff_t i = 1; i < arrlen(c->starts); i++)
        ck_assert_int_le(c->starts[i - 1], c->starts[i]);
    ck_assert_int_eq(keep_write(c, scratch_path("s"), &err), 0);
    ck_assert_int_eq(conversation_open(&restored, c->engine, c->options, c->template, NULL, &err),
                     0);
    ck_assert_msg(keep_restore(scratch_path("s"), &restored, &err) == 0, "%s", err.text);
    conversation_close(&restored);
    ck_assert_int_eq(conversation_take_turn(c, &err), 0);
    ck_assert_int_eq(conversation_take_reply(c, &err), 0);
    ck_assert_int_eq(chat_render(&opened.template, opened.engine.tokenizer, c->turns,
                                 arrlenu(c->turns), &whole, &err),
                     0);
    ck_assert_uint_eq(c->ids.n, whole.n);
    ck_assert_mem_eq(c->ids.ids, whole.ids, whole.n * sizeof *whole.ids);
    token_list_free(&whole);
    close_conversation(&opened);
    scratch_remove();
}
END_TEST

/* Once the policy has let go of it, the past stays as it was. */
START_TEST(what_has_left_is_not_read_again)
{
    struct opened opened;
    struct error err = {""};
    open_conversation(&opened, "mistral-v3", "Be odd.");
    struct conversation *c = &opened.conversation;
    char reply[600];
    memset(reply, 'z', sizeof reply);
    reply[sizeof reply - 1] = '\0';
    talk(&opened, "a turn", reply);
    talk(&opened, "another", reply);
    int64_t before = c->session.position;
    ck_assert_int_eq(c->session.context.kind, CONTEXT_WINDOW);
    ck_assert_int_eq(conversation_ask(c, "next", 4, &err), 0);
    ck_assert_int_eq(c->session.position, before);
    ck_assert_uint_lt(c->ids.n, (size_t)before + 60);
    ck_assert_int_eq(conversation_turns_left(c), 0); /* engine.context is the caller's to set */
    opened.engine.context = c->session.context;
    ck_assert_int_eq(conversation_turns_left(c), 1);
    close_conversation(&opened);
}
END_TEST

/* Type, the largest relative squared error of a random matrix in it (half a step of a uniform
 * quantiser with so many bits over a Gaussian, with room for the rows that fall back), and its name
 * in info. */
static const struct {
    const char *type;
    double error;
    const char *name;
} types[] = {
    {"f16", 1e-6, "F16"},   {"bf16", 1e-5, "BF16"}, {"q8_0", 1e-4, "Q8_0"}, {"q4_0", 2e-2, "Q4_0"},
    {"Q4_K", 1e-2, "Q8_0"}, {"q6_k", 1e-3, "Q8_0"}, /* no K block divides its rows */
};

START_TEST(quantize_writes_a_model_that_runs)
{
    scratch_make();
    char out[256];
    snprintf(out, sizeof out, "%s", scratch_path("out.gguf"));
    const char *const arguments[] = {"quantize", TINY, out, types[_i].type, "--json", NULL};
    struct program program = run(arguments, NULL);
    cJSON *report = cJSON_Parse(program.out);
    double error = cJSON_GetObjectItem(report, "relative_squared_error")->valuedouble;
    ck_assert_double_gt(error, 0);
    ck_assert_double_lt(error, types[_i].error);
    cJSON_Delete(report);
    program_free(&program);

    const char *const info[] = {"info", "-m", out, "--json", NULL};
    program = run(info, NULL);
    cJSON *object = cJSON_Parse(program.out);
    ck_assert_ptr_nonnull(
        cJSON_GetObjectItem(cJSON_GetObjectItem(object, "formats"), types[_i].name));
    cJSON_Delete(object);
    program_free(&program);

    const char *const generate[] = {"generate", "-m",     out, "-p",     "hello", "-n",
                                    "4",        "--seed", "1", "--json", NULL};
    program = run(generate, NULL);
    object = cJSON_Parse(program.out);
    ck_assert_double_eq(cJSON_GetObjectItem(object, "new_tokens")->valuedouble, 4);
    cJSON_Delete(object);
    program_free(&program);
    ck_assert_int_ne(access(scratch_path("out.gguf.part"), F_OK), 0);
    scratch_remove();
}
END_TEST

START_TEST(interrupt_keeps_the_text_and_is_code_130)
{
    const char *path = getenv("LONGHAND_PROGRAM");
    path = path ? path : "./longhand";
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    char *arguments[] = {"longhand", "generate",      "-m", ENDLESS, "-p", "hello",
                         "-q",       "--temperature", "0",  NULL};
    extern char **environ;
    pid_t child;
    ck_assert_int_eq(posix_spawn(&child, path, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    char text[4096];
    ck_assert_int_gt(read(ends[0], text, 1), 0); /* the reply has begun */
    kill(child, SIGINT);
    while (read(ends[0], text, sizeof text) > 0)
        continue;
    int status;
    waitpid(child, &status, 0);
    close(ends[0]);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 130);
}
END_TEST

Suite *conversation_suite(void)
{
    Suite *suite = suite_create("conversation");
    TCase *tcase = tcase_create("program");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, chat_answers_every_line_and_prints_replies_only);
    tcase_add_test(tcase, chat_takes_a_template_by_name_or_file);
    tcase_add_test(tcase, chat_of_nothing_says_nothing);
    tcase_add_loop_test(tcase, a_turn_costs_what_it_adds_for_ever, 0, 2);
    tcase_add_test(tcase, the_policy_of_its_own_is_said);
    tcase_add_test(tcase, the_policy_of_its_own_changes_nothing_before_it_matters);
    tcase_add_loop_test(tcase, the_past_changes_where_the_template_says_so, 0,
                        sizeof families / sizeof families[0]);
    tcase_add_loop_test(tcase, places_of_turns_are_those_of_the_rewritten_text, 0,
                        sizeof families / sizeof families[0]);
    tcase_add_test(tcase, what_has_left_is_not_read_again);
    tcase_add_loop_test(tcase, quantize_writes_a_model_that_runs, 0,
                        sizeof types / sizeof types[0]);
    tcase_add_test(tcase, interrupt_keeps_the_text_and_is_code_130);
    suite_add_tcase(suite, tcase);
    return suite;
}
