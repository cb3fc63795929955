/* test_chat_commands: what can be typed instead of a turn, on a chat that is open in this process.
 */
#include "commands/chat/chat_commands.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "commands/array.h"
#include "tests/suites.h"
#include "tests/support.h"

#define TINY "tests/data/llama.gguf"
#define GROUPS                                                                             \
    (OPTIONS_MODEL | OPTIONS_CHAT | OPTIONS_LENGTH | OPTIONS_SAMPLING | OPTIONS_POSITION | \
     OPTIONS_RUN | OPTIONS_COMMON)

enum { SAID_BYTES = 1 << 16 };

static int said_file;

/* Every test is a process of its own, so both streams may go elsewhere in it: replies to nowhere,
 * answers to a file. */
static void begin_test(void)
{
    scratch_make();
    fflush(stdout);
    said_file = memfd_create("said", MFD_CLOEXEC);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ck_assert(said_file >= 0 && nowhere >= 0);
    ck_assert(dup2(nowhere, STDOUT_FILENO) >= 0 && dup2(said_file, STDERR_FILENO) >= 0);
    close(nowhere);
}

/* What the commands have answered since the last call. */
static const char *said(void)
{
    static char text[SAID_BYTES];
    fflush(stderr);
    ssize_t n = pread(said_file, text, sizeof text - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    ck_assert(ftruncate(said_file, 0) == 0 && lseek(said_file, 0, SEEK_SET) == 0);
    return text;
}

/* A chat with the tiny model, eight tokens a reply; `more` options, NULL at their end, may be NULL.
 */
static void open_chat(struct chat *chat, const char *const *more)
{
    char *arguments[24] = {"chat", "-m", TINY,    "-n",     "8",          "--seed",
                           "5",    "-q", "--isa", "scalar", "--template", "chatml"};
    int n = 12;
    struct options options;
    struct error err = {""};
    while (more && *more)
        arguments[n++] = (char *)(uintptr_t)*more++;
    ck_assert_msg(options_parse(&options, n, arguments, GROUPS, 0, &err) == 0, "%s", err.text);
    *chat = (struct chat){.terminal = true};
    ck_assert_msg(chat_open(chat, &options, &err) == 0, "%s", err.text);
}

static void type(struct chat *chat, const char *line)
{
    struct error err = {""};
    ck_assert_msg(chat_line(chat, line, strlen(line), &err) == 0, "%s: %s", line, err.text);
}

/* The line fails with this in its message, and the turns stay. */
static void refuse(struct chat *chat, const char *line, const char *message)
{
    struct error err = {""};
    ptrdiff_t n = arrlen(chat->conversation.turns);
    ck_assert_int_eq(chat_line(chat, line, strlen(line), &err), -1);
    ck_assert_msg(strstr(err.text, message) != NULL, "%s: no \"%s\" in \"%s\"", line, message,
                  err.text);
    ck_assert_int_eq(arrlen(chat->conversation.turns), n);
}

static void check_same_ids(const struct chat *a, const struct chat *b)
{
    const struct token_list *x = &a->conversation.ids, *y = &b->conversation.ids;
    ck_assert_uint_eq(x->n, y->n);
    ck_assert_mem_eq(x->ids, y->ids, x->n * sizeof *x->ids);
}

static const char *turn(const struct chat *chat, int i)
{
    ck_assert_int_lt(i, arrlen(chat->conversation.turns));
    return chat->conversation.turns[i].content.bytes; /* ended by a zero, too */
}

START_TEST(help_names_every_command)
{
    struct chat chat;
    open_chat(&chat, NULL);
    type(&chat, "/help");
    const char *help = said();
    for (const struct chat_command *command = chat_commands; command->name; command++) {
        ck_assert_int_eq(command->name[0], '/');
        ck_assert_ptr_nonnull(strstr(help, command->name));
        ck_assert_ptr_nonnull(strstr(help, command->help));
    }
    ck_assert_int_eq(arrlen(chat.conversation.turns), 0);
    type(&chat, "/quit");
    ck_assert(chat.quit);
    chat_close(&chat);
}
END_TEST

START_TEST(what_is_no_command_is_said_and_no_turn)
{
    struct chat chat;
    open_chat(&chat, NULL);
    refuse(&chat, "/nope now", "unknown command \"/nope\"");
    refuse(&chat, "/", "unknown command \"/\"");
    refuse(&chat, "/helpme", "unknown command \"/helpme\"");
    refuse(&chat, "/save", "usage: /save FILE");
    refuse(&chat, "/reset all", "usage: /reset");
    refuse(&chat, "/regen", "there is no turn yet");
    refuse(&chat, "/undo", "there is no turn yet");
    refuse(&chat, "/edit", "there is no turn yet");
    type(&chat, "//etc is a folder");
    ck_assert_str_eq(turn(&chat, 0), "/etc is a folder");
    chat.terminal = false; /* lines of a file are turns */
    type(&chat, "/undo");
    ck_assert_str_eq(turn(&chat, 2), "/undo");
    chat_close(&chat);
}
END_TEST

/* Policies: none, and one that has let go of all but the last 40 tokens many times over. */
static const char *const policies[][3] = {{"--context", "all"},
                                          {"--context", "sinks=30,window=60"}};

START_TEST(regen_gives_another_reply_and_feeds_one_token)
{
    struct chat chat;
    open_chat(&chat, policies[_i]);
    for (int i = 0; i < 12; i++)
        type(&chat, "hello there");
    ptrdiff_t n = arrlen(chat.conversation.turns);
    size_t before = (size_t)arrlast(chat.conversation.starts);
    int32_t reply[8];
    ck_assert_uint_eq(chat.conversation.ids.n, before + 8);
    memcpy(reply, chat.conversation.ids.ids + before, sizeof reply);
    for (int i = 0; i < 3; i++) {
        type(&chat, "/regen");
        ck_assert_int_eq(chat.last.prompt_tokens, 1);
        ck_assert_int_eq(arrlen(chat.conversation.turns), n);
        ck_assert_int_eq(arrlast(chat.conversation.starts), (int64_t)before);
    }
    ck_assert(memcmp(reply, chat.conversation.ids.ids + before, sizeof reply) != 0);
    chat_close(&chat);
}
END_TEST

/* A turn that is taken back has never been: what comes then is the same, and costs as much. */
START_TEST(undo_is_as_if_the_turn_had_not_been)
{
    const char *const options[] = {
        policies[_i][0], policies[_i][1], "--temperature", "0", "--repeat-penalty", "1.3", NULL};
    struct chat with, without;
    open_chat(&with, options);
    open_chat(&without, options);
    for (int i = 0; i < 9; i++) {
        type(&with, "hello");
        type(&without, "hello");
    }
    type(&with, "a mistake");
    type(&with, "/undo");
    check_same_ids(&with, &without);
    type(&with, "go on");
    type(&without, "go on");
    /* The turn that was taken back had the last token of the reply before fed. */
    ck_assert_int_eq(with.last.prompt_tokens + 1, without.last.prompt_tokens);
    check_same_ids(&with, &without);
    for (int i = 0; i < 10; i++)
        type(&with, "/undo");
    ck_assert_int_eq(conversation_n_turns(&with.conversation), 0);
    ck_assert_uint_eq(with.conversation.ids.n, 0);
    chat_close(&with);
    chat_close(&without);
}
END_TEST

START_TEST(edit_replaces_the_last_turn)
{
    struct chat chat;
    open_chat(&chat, NULL);
    type(&chat, "one");
    type(&chat, "three");
    type(&chat, "/edit two words");
    ck_assert_str_eq(turn(&chat, 2), "two words");
    ck_assert_int_eq(arrlen(chat.conversation.turns), 4);
    unsetenv("VISUAL");
    unsetenv("EDITOR");
    refuse(&chat, "/edit", "neither VISUAL nor EDITOR");
    setenv("EDITOR", "false", 1);
    refuse(&chat, "/edit", "false: failed; the turn stays as it is");
    setenv("EDITOR", "truncate -s 0", 1);
    refuse(&chat, "/edit", "is empty");
    setenv("EDITOR", "kill -INT $PPID; kill -INT $PPID; sed -i s/two/three/", 1); /* Ctrl-C there */
    type(&chat, "/edit");
    ck_assert_str_eq(turn(&chat, 2), "three words");
    ck_assert_int_eq(arrlen(chat.conversation.turns), 4);
    chat_close(&chat);
}
END_TEST

START_TEST(a_system_message_begins_again)
{
    const char *const options[] = {"--context", "sinks=4,window=124", NULL};
    char line[600];
    struct chat chat;
    open_chat(&chat, options);
    type(&chat, "/system");
    ck_assert_ptr_nonnull(strstr(said(), "no system message"));
    type(&chat, "hello");
    type(&chat, "/system Be kind.");
    ck_assert_int_eq(arrlen(chat.conversation.turns), 1);
    ck_assert_int_ge(chat.conversation.lead, (int64_t)strlen("Be kind.") / 4);
    ck_assert_int_eq(chat.conversation.session.context.sinks, chat.conversation.lead);
    type(&chat, "hello");
    type(&chat, "/system");
    ck_assert_ptr_nonnull(strstr(said(), "Be kind."));
    size_t n = chat.conversation.ids.n;
    memcpy(line, "/system ", 8);
    memset(line + 8, 'z', sizeof line - 9);
    line[sizeof line - 1] = '\0';
    refuse(&chat, line, "tokens that are to stay, more than half of the 128");
    ck_assert_uint_eq(chat.conversation.ids.n, n);
    type(&chat, "/reset");
    ck_assert_int_eq(arrlen(chat.conversation.turns), 1);
    ck_assert_str_eq(turn(&chat, 0), "Be kind.");
    chat_close(&chat);
}
END_TEST

START_TEST(set_takes_what_the_command_line_takes)
{
    struct chat chat;
    open_chat(&chat, NULL);
    type(&chat, "hello");
    refuse(&chat, "/set top-p 2", "top-p is 2, allowed: more than 0, at most 1 (off)");
    refuse(&chat, "/set top-k many", "--top-k: \"many\" found");
    refuse(&chat, "/set colour red", "\"colour\": no such option, expected one of tokens, temp");
    refuse(&chat, "/set temperature", "temperature needs a value");
    refuse(&chat, "/set no-lookup 1", "no-lookup: \"1\", expected on or off");
    refuse(&chat, "/set template chatml", "no such option");
    type(&chat, "/set");
    ck_assert_ptr_nonnull(strstr(said(), "top-p           0.95 "));
    type(&chat, "/set no-lookup");
    ck_assert(chat.options.no_lookup);
    type(&chat, "/set no-lookup off");
    ck_assert(!chat.options.no_lookup);
    type(&chat, "/set top-p 0.5");
    type(&chat, "/set n 3");
    type(&chat, "/set stop \xe2\x82\xac x");
    type(&chat, "/set");
    const char *shown = said();
    ck_assert_ptr_nonnull(strstr(shown, "top-p           0.5 "));
    ck_assert_ptr_nonnull(strstr(shown, "\"\xe2\x82\xac x\""));
    type(&chat, "/set stop");
    ck_assert_int_eq(chat.options.stops.n, 0);
    type(&chat, "/regen");
    ck_assert_int_eq(chat.last.new_tokens, 3);
    int32_t replies[2][3];
    for (int i = 0; i < 2; i++) {
        type(&chat, "/set seed 77");
        type(&chat, "/regen");
        memcpy(replies[i], chat.conversation.ids.ids + arrlast(chat.conversation.starts),
               sizeof replies[i]);
    }
    ck_assert_mem_eq(replies[0], replies[1], sizeof replies[0]);
    chat_close(&chat);
}
END_TEST

/* A stop text is neither said nor remembered. */
START_TEST(a_stop_text_leaves_nothing_behind)
{
    struct chat chat;
    char line[64], stop[3] = "";
    open_chat(&chat, (const char *const[]){"--temperature", "0", NULL});
    type(&chat, "hello");
    struct text whole = chat.conversation.turns[1].content;
    ck_assert_uint_gt(whole.length, 4);
    memcpy(stop, whole.bytes + whole.length - 2, 2);
    const char *found = memmem(whole.bytes, whole.length, stop, 2);
    size_t length = (size_t)(found - whole.bytes);
    int64_t start = chat.conversation.starts[1];
    snprintf(line, sizeof line, "/set stop %s", stop);
    type(&chat, line);
    type(&chat, "/regen");
    ck_assert_uint_eq(chat.conversation.turns[1].content.length, length);
    size_t spelled = 0;
    for (size_t i = (size_t)start; i < chat.conversation.ids.n; i++)
        spelled +=
            tokenizer_piece(chat.engine.tokenizer, chat.conversation.ids.ids[i], false).length;
    ck_assert_uint_le(spelled, length + 1); /* a space in front is not said */
    ck_assert_int_le(chat.conversation.session.position, (int64_t)chat.conversation.ids.n);
    type(&chat, "go on");
    chat_close(&chat);
}
END_TEST

START_TEST(a_file_goes_in_front_of_the_next_turn)
{
    char line[300];
    struct chat chat;
    open_chat(&chat, NULL);
    refuse(&chat, "/read /nonexistent/f", "/nonexistent/f: cannot open");
    snprintf(line, sizeof line, "/read %s", scratch_write("bad", "ab\xff", 3));
    refuse(&chat, line, "byte 2 is 0xff");
    snprintf(line, sizeof line, "/read %s", scratch_write("good", "some text", 9));
    type(&chat, line);
    ck_assert_ptr_nonnull(strstr(said(), ": 9 bytes, "));
    ck_assert_int_eq(arrlen(chat.conversation.turns), 0);
    type(&chat, "what is it?");
    ck_assert_str_eq(turn(&chat, 0), "some text\n\nwhat is it?");
    type(&chat, line);
    type(&chat, line);
    type(&chat, "");
    ck_assert_str_eq(turn(&chat, 2), "some text\n\nsome text");
    type(&chat, ""); /* nothing is left */
    type(&chat, line);
    type(&chat, "/reset");
    type(&chat, "alone");
    ck_assert_str_eq(turn(&chat, 0), "alone");
    chat_close(&chat);
}
END_TEST

START_TEST(names_of_files_are_as_tab_writes_them)
{
    struct chat chat;
    char line[300];
    open_chat(&chat, NULL);
    setenv("HOME", scratch_path(""), 1);
    type(&chat, "hello");
    snprintf(line, sizeof line, "/export %s", scratch_path("two\\ words\\\\.md"));
    type(&chat, line);
    ck_assert_int_eq(access(scratch_path("two words\\.md"), F_OK), 0);
    type(&chat, "/export ~/at home.md");
    ck_assert_int_eq(access(scratch_path("at home.md"), F_OK), 0);
    snprintf(line, sizeof line, "/system %s", "~/ and \\ stay");
    type(&chat, line);
    ck_assert_str_eq(turn(&chat, 0), "~/ and \\ stay");
    chat_close(&chat);
}
END_TEST

START_TEST(a_loaded_conversation_goes_on_as_if_it_had_never_stopped)
{
    char save[300], load[300], other[300];
    struct chat whole, loaded;
    open_chat(&whole, policies[_i]);
    open_chat(&loaded, policies[_i]);
    for (int i = 0; i < 10; i++)
        type(&whole, "hello there");
    snprintf(save, sizeof save, "/save %s", scratch_path("s"));
    snprintf(load, sizeof load, "/load %s", scratch_path("s"));
    type(&whole, save);
    type(&whole, save); /* a saved session may be written over */
    type(&loaded, "something else");
    type(&loaded, load);
    ck_assert_str_eq(loaded.keep.path, scratch_path("s"));
    check_same_ids(&loaded, &whole);
    type(&whole, "/regen");
    type(&loaded, "/regen");
    ck_assert_int_eq(loaded.last.prompt_tokens, 1);
    type(&whole, "and now?");
    type(&loaded, "and now?");
    check_same_ids(&loaded, &whole);
    size_t n = loaded.conversation.ids.n;
    refuse(&loaded, "/load /nonexistent/s", "the conversation stays as it is: /nonexistent/s");
    snprintf(other, sizeof other, "/load %s", scratch_write("x", "LONGHAND", 8));
    refuse(&loaded, other, "the conversation stays as it is: ");
    ck_assert_uint_eq(loaded.conversation.ids.n, n);
    type(&whole, "still there?");
    type(&loaded, "still there?");
    check_same_ids(&loaded, &whole);
    snprintf(other, sizeof other, "/save %s", scratch_path("x"));
    refuse(&loaded, other, "exists and is no saved session");
    chat_close(&whole);
    chat_close(&loaded);
}
END_TEST

START_TEST(stats_and_context_say_how_things_are)
{
    const char *const options[] = {"--context", "sinks=4,window=116", "--system", "Hi.", NULL};
    struct chat chat;
    open_chat(&chat, options);
    type(&chat, "/stats");
    ck_assert_ptr_null(strstr(said(), "last"));
    for (int i = 0; i < 8; i++)
        type(&chat, "hello there");
    type(&chat, "/stats");
    const char *text = said();
    ck_assert_ptr_nonnull(strstr(text, "8 turns"));
    ck_assert_ptr_nonnull(strstr(text, "last reply     8 tokens"));
    type(&chat, "/context");
    text = said();
    ck_assert_ptr_nonnull(strstr(text, "training length  128 tokens; past it: the window keeps"));
    ck_assert_ptr_nonnull(strstr(text, "the system message with them"));
    ck_assert_ptr_null(strstr(text, "of which 0 have left"));
    chat_close(&chat);
}
END_TEST

Suite *chat_commands_suite(void)
{
    Suite *suite = suite_create("chat_commands");
    TCase *tcase = tcase_create("chat_commands");
    tcase_add_checked_fixture(tcase, begin_test, scratch_remove);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, help_names_every_command);
    tcase_add_test(tcase, what_is_no_command_is_said_and_no_turn);
    tcase_add_loop_test(tcase, regen_gives_another_reply_and_feeds_one_token, 0, 2);
    tcase_add_loop_test(tcase, undo_is_as_if_the_turn_had_not_been, 0, 2);
    tcase_add_test(tcase, edit_replaces_the_last_turn);
    tcase_add_test(tcase, a_system_message_begins_again);
    tcase_add_test(tcase, set_takes_what_the_command_line_takes);
    tcase_add_test(tcase, a_stop_text_leaves_nothing_behind);
    tcase_add_test(tcase, a_file_goes_in_front_of_the_next_turn);
    tcase_add_test(tcase, names_of_files_are_as_tab_writes_them);
    tcase_add_loop_test(tcase, a_loaded_conversation_goes_on_as_if_it_had_never_stopped, 0, 2);
    tcase_add_test(tcase, stats_and_context_say_how_things_are);
    suite_add_tcase(suite, tcase);
    return suite;
}
