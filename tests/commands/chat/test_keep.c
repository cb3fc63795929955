/* test_keep: a chat that ends and goes on says what one that never ended says. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "longhand.h"
#include "tests/program.h"
#include "tests/suites.h"
#include "tests/support.h"

#define TINY "tests/data/llama.gguf"

static const struct {
    const char *policy;
    const char *type;
    const char *temperature;
    const char *penalty;
} chats[] = {
    {"all", "f16", "1", "1.1"},
    {"all", "q8_0", "0", "1"},
    {"sinks=4,window=40", "f16", "1", "1"},
    {"self-extend,group=4,window=24", "bf16", "1", "1.2"},
};
enum { N_CHATS = sizeof chats / sizeof chats[0] };

/* Appends what the chat says to `out`. */
static void chat(int i, const char *seed, const char *session, const char *input, struct bytes *out)
{
    const char *arguments[24] = {"chat",
                                 "-m",
                                 TINY,
                                 "-n",
                                 "60",
                                 "--seed",
                                 seed,
                                 "--context",
                                 chats[i].policy,
                                 "--kv-type",
                                 chats[i].type,
                                 "--temperature",
                                 chats[i].temperature,
                                 "--repeat-penalty",
                                 chats[i].penalty,
                                 session ? "--session" : NULL,
                                 session};
    struct program program = {.arguments = arguments, .input = input};
    program_run(&program);
    ck_assert_msg(program.status == 0, "exit code %d: %s", program.status, program.err);
    bytes_add(out, program.out, program.out_bytes);
    program_free(&program);
}

START_TEST(a_chat_in_parts_is_the_chat_as_a_whole)
{
    char path[256];
    struct bytes whole = {0}, parts = {0};
    snprintf(path, sizeof path, "%s", scratch_path("s"));
    chat(_i, "3", NULL, "one two\nthree\nfour five six\n", &whole);
    chat(_i, "3", path, "one two\n", &parts);
    chat(_i, "9", path, "", &parts);
    chat(_i, "8", path, "three\n", &parts);
    chat(_i, "7", path, "four five six\n", &parts);
    ck_assert_uint_eq(parts.size, whole.size);
    ck_assert_mem_eq(parts.data, whole.data, whole.size);
    free(whole.data);
    free(parts.data);
    unlink(path);
}
END_TEST

static void refuse(const char *const *arguments, const char *message)
{
    struct program program = {.arguments = arguments, .input = "hello\n"};
    program_run(&program);
    ck_assert_int_eq(program.status, 1);
    ck_assert_msg(strstr(program.err, message) != NULL, "no \"%s\" in \"%s\"", message,
                  program.err);
    ck_assert_str_eq(program.out, "");
    program_free(&program);
}

START_TEST(other_settings_are_refused_and_the_file_stays)
{
    char path[256];
    snprintf(path, sizeof path, "%s", scratch_path("s"));
    struct bytes out = {0};
    chat(0, "1", path, "hello\n", &out);
    const char *const context[] = {"chat", "-m",        TINY,        "--session",
                                   path,   "--context", "window=60", NULL};
    refuse(context, "saved with \"context: all\", this session has \"context: window=60\"");
    const char *const system[] = {"chat", "-m", TINY, "--session", path, "--system", "x", NULL};
    refuse(system, "--system: the conversation in ");
    const char *const other[] = {"chat", "-m", TINY, "--session", TINY, NULL};
    refuse(other, "is not a saved session");
    const char *const folder[] = {"chat", "-m", TINY, "--session", "/nonexistent/s", NULL};
    refuse(folder, "cannot create a file beside it"); /* before anything is said */
    chat(0, "1", path, "go on\n", &out);
    free(out.data);
    unlink(path);
}
END_TEST

/* The signals that may end a chat in the midst of a reply, and how the process ends. SIGINT is sent
 * until it does: the first ends the reply. */
static const struct {
    int signal;
    int exit_code; /* -1: by the signal */
} ends[] = {{SIGTERM, 130}, {SIGHUP, 130}, {SIGINT, 130}, {SIGKILL, -1}};
enum { N_ENDS = sizeof ends / sizeof ends[0] };

START_TEST(whatever_ends_a_chat_it_goes_on)
{
    char path[256];
    snprintf(path, sizeof path, "%s", scratch_path("s"));
    struct bytes first = {0};
    chat(0, "1", path, "the first turn\n", &first);
    free(first.data);
    const char *program = getenv("LONGHAND_PROGRAM");
    int to[2], from[2];
    ck_assert(pipe(to) == 0 && pipe(from) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, to[1]);
    posix_spawn_file_actions_addclose(&actions, from[0]);
    char *arguments[] = {"longhand", "chat", "-m", TINY, "-q", "--session", path, NULL};
    extern char **environ;
    pid_t child;
    ck_assert_int_eq(
        posix_spawn(&child, program ? program : "./longhand", &actions, NULL, arguments, environ),
        0);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]);
    close(from[1]);
    char text[4096];
    ck_assert_int_eq(write(to[1], "second\n", 7), 7);
    ck_assert_int_gt(read(from[0], text, 1), 0); /* the reply has begun */
    kill(child, ends[_i].signal);
    fcntl(from[0], F_SETFL, O_NONBLOCK);
    int status;
    for (int i = 1; waitpid(child, &status, WNOHANG) == 0; i++) {
        while (read(from[0], text, sizeof text) > 0)
            continue;
        usleep(1000);
        if (i % 200 == 0 && ends[_i].signal == SIGINT)
            kill(child, SIGINT);
    }
    close(to[1]);
    close(from[0]);
    if (ends[_i].exit_code >= 0)
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == ends[_i].exit_code);
    const char *const again[] = {"chat", "-m", TINY, "-n", "5", "--session", path, "--json", NULL};
    char *out = program_output(again, "third\n");
    ck_assert_ptr_nonnull(strstr(out, "\"prompt_tokens\""));
    free(out);
    unlink(path);
}
END_TEST

/* Transcripts that no chat writes, in files that are right otherwise: five tokens, fed. */
static const struct {
    const char *turns;
    const char *reason; /* NULL: it is one that a chat writes */
} transcripts[] = {
    {"{\"role\":\"user\",\"content\":\"a\",\"at\":0},"
     "{\"role\":\"assistant\",\"content\":\"b\",\"at\":3}",
     NULL},
    {"", NULL},
    {"{\"role\":\"user\",\"content\":\"a\",\"at\":0}", "out of order"},
    {"{\"role\":\"assistant\",\"content\":\"a\",\"at\":0}", "out of order"},
    {"{\"role\":\"user\",\"content\":\"a\",\"at\":0},"
     "{\"role\":\"system\",\"content\":\"b\",\"at\":1}",
     "out of order"},
    {"{\"role\":\"user\",\"content\":\"a\",\"at\":0},"
     "{\"role\":\"user\",\"content\":\"b\",\"at\":1}",
     "out of order"},
    {"{\"role\":\"user\",\"content\":\"a\",\"at\":3},"
     "{\"role\":\"assistant\",\"content\":\"b\",\"at\":2}",
     "out of order"},
    {"{\"role\":\"user\",\"content\":\"a\",\"at\":0},"
     "{\"role\":\"assistant\",\"content\":\"b\",\"at\":6}",
     "out of order"},
    {"{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":\"b\",\"at\":2}",
     "out of order"},
    {"{\"role\":\"user\",\"content\":\"a\",\"at\":0},"
     "{\"role\":\"assistant\",\"content\":\"b\",\"at\":0}",
     "out of order"},
    {"{\"role\":\"user\",\"content\":{},\"at\":0}", "not that of a chat"},
    {"{\"role\":\"user", "not that of a chat"},
};
enum { N_TRANSCRIPTS = sizeof transcripts / sizeof transcripts[0] };

static void write_session(const char *path, const char *turns)
{
    static const int32_t ids[] = {1, 5, 6, 7, 8};
    char transcript[400];
    struct checkpoint checkpoint;
    struct model model;
    struct session session;
    struct error err = {""};
    snprintf(transcript, sizeof transcript, "{\"turns\":[%s]}", turns);
    ck_assert_int_eq(checkpoint_open(&checkpoint, TINY, &err), 0);
    ck_assert_int_eq(model_open(&model, &checkpoint, &(struct model_options){0}, &err), 0);
    ck_assert_int_eq(
        session_open(&session, &model, &(struct session_options){.kv = FORMAT_F16}, &err), 0);
    ck_assert_int_eq(session_feed(&session, ids, 5, NULL, &err), 0);
    struct save save = {&checkpoint, &session, NULL, ids, 5, {transcript, strlen(transcript)}};
    ck_assert_msg(save_write(&save, path, &err) == 0, "%s", err.text);
    session_close(&session);
    model_close(&model);
    checkpoint_close(&checkpoint);
}

START_TEST(a_transcript_that_no_chat_wrote_is_refused)
{
    char path[256];
    snprintf(path, sizeof path, "%s", scratch_path("s"));
    write_session(path, transcripts[_i].turns);
    const char *const arguments[] = {"chat", "-m", TINY, "-n", "3", "-q", "--session", path, NULL};
    if (transcripts[_i].reason)
        refuse(arguments, transcripts[_i].reason);
    else
        free(program_output(arguments, "hello\n"));
    unlink(path);
}
END_TEST

Suite *keep_suite(void)
{
    Suite *suite = suite_create("keep");
    TCase *tcase = tcase_create("keep");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_chat_in_parts_is_the_chat_as_a_whole, 0, N_CHATS);
    tcase_add_test(tcase, other_settings_are_refused_and_the_file_stays);
    tcase_add_loop_test(tcase, a_transcript_that_no_chat_wrote_is_refused, 0, N_TRANSCRIPTS);
    tcase_add_loop_test(tcase, whatever_ends_a_chat_it_goes_on, 0, N_ENDS);
    suite_add_tcase(suite, tcase);
    return suite;
}
