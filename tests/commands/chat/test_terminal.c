/* test_terminal: chat in a terminal: keys, signals, and what is left of both. */
#include <check.h>
#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/suites.h"
#include "tests/support.h"
#include "tests/terminal.h"
#include "tests/tokenizer/toy.h"

#define UP "\033[A"
#define DOWN "\033[B"
#define LEFT "\033[D"
#define HOME "\033[H"
#define CTRL_C "\003"
#define CTRL_D "\004"
#define CTRL_R "\022"
#define CTRL_Z "\032"
#define ERASE "\177"
#define PASTE "\033[200~"
#define PASTE_END "\033[201~"
#define PASTE_ON "\033[?2004h"
#define PASTE_OFF "\033[?2004l"

/* --- a model that says one thing ------------------------------------------------------------- */

static const char party[] = "🎉你界"; /* and again; a byte, and none comes twice, is a token */
enum { N_PARTY = sizeof party - 1, DIM = 16, N_TOKENS = 259, FIRST_BYTE = 3 };

static void add_zeros(struct gguf_image *image, const char *name, uint64_t rows)
{
    uint64_t shape[] = {DIM, rows};
    gguf_image_tensor(image, name, GGML_F32, 2, shape, NULL, DIM * rows * sizeof(float));
}

/* Whatever comes before a byte of the party, the next one follows; before anything else, the first.
 * Layers add nothing: the embedding says where in the party a token is. */
static const char *write_model(void)
{
    struct gguf_image image;
    struct toy_token tokens[N_TOKENS];
    float embedding[N_TOKENS][DIM] = {{0}}, output[N_TOKENS][DIM] = {{0}}, ones[DIM];
    const uint64_t matrix[] = {DIM, N_TOKENS}, vector[] = {DIM};
    toy_add_spm(tokens);
    toy_image(&image, "llama", tokens, N_TOKENS);
    for (int i = 0; i < DIM; i++)
        ones[i] = 1;
    for (int i = 0; i < N_TOKENS; i++)
        embedding[i][N_PARTY] = 1;
    for (int i = 0; i < N_PARTY; i++) {
        int token = FIRST_BYTE + (unsigned char)party[i];
        embedding[token][N_PARTY] = 0;
        embedding[token][i] = 1;
        output[token][i == 0 ? N_PARTY : i - 1] = 9;
        if (i == 0)
            output[token][N_PARTY - 1] = 9;
    }
    gguf_image_u32(&image, "llama.block_count", 1);
    gguf_image_u32(&image, "llama.embedding_length", DIM);
    gguf_image_u32(&image, "llama.feed_forward_length", DIM);
    gguf_image_u32(&image, "llama.attention.head_count", 1);
    gguf_image_u32(&image, "llama.context_length", 1 << 20);
    gguf_image_f32(&image, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    gguf_image_tensor(&image, "token_embd.weight", GGML_F32, 2, matrix, embedding,
                      sizeof embedding);
    gguf_image_tensor(&image, "output.weight", GGML_F32, 2, matrix, output, sizeof output);
    gguf_image_tensor(&image, "output_norm.weight", GGML_F32, 1, vector, ones, sizeof ones);
    gguf_image_tensor(&image, "blk.0.attn_norm.weight", GGML_F32, 1, vector, ones, sizeof ones);
    gguf_image_tensor(&image, "blk.0.ffn_norm.weight", GGML_F32, 1, vector, ones, sizeof ones);
    static const char *const zeros[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                        "ffn_gate", "ffn_up", "ffn_down"};
    for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.0.%s.weight", zeros[i]);
        add_zeros(&image, name, DIM);
    }
    return gguf_image_write(&image, "party.gguf");
}

/* --- chats ----------------------------------------------------------------------------------- */

static char model[256];
static char state[256]; /* XDG_STATE_HOME=... */

static void begin_test(void)
{
    scratch_make();
    snprintf(model, sizeof model, "%s", write_model());
    snprintf(state, sizeof state, "XDG_STATE_HOME=%s", scratch_path("state"));
}

static void begin_chat(struct terminal *terminal, const char *setting, const char *const *more)
{
    const char *arguments[24] = {"chat", "-m", model, "-t", "1", "--temperature", "0"};
    const char *settings[] = {state, "NO_COLOR=1", "LC_ALL=C.UTF-8", setting, NULL};
    for (int i = 0; more[i]; i++)
        arguments[7 + i] = more[i];
    terminal_open(terminal, NULL, arguments, settings);
}

static const char *const short_replies[] = {"-n", "10", NULL};
static const char *const endless_replies[] = {NULL};

static void expect_prompt(struct terminal *terminal)
{
    terminal_expect(terminal, PASTE_ON);
    terminal_expect(terminal, "> ");
}

static void open_chat(struct terminal *terminal)
{
    begin_chat(terminal, NULL, short_replies);
    expect_prompt(terminal);
}

/* A turn, from a prompt to the next one. */
static void say(struct terminal *terminal, const char *keys)
{
    terminal_send(terminal, keys);
    terminal_send(terminal, "\r");
    terminal_expect(terminal, party);
    expect_prompt(terminal);
}

/* From the prompt to a good end. */
static void quit_chat(struct terminal *terminal)
{
    terminal_send(terminal, CTRL_D);
    ck_assert_int_eq(terminal_wait(terminal), 0);
    terminal_close(terminal);
}

/* The turns, the user's and the model's in turn, as /export writes them; cJSON_Delete. */
static cJSON *export(struct terminal *terminal)
{
    static char text[1 << 20];
    const char *path = scratch_path("export.json");
    char line[300];
    unlink(path);
    snprintf(line, sizeof line, "/export %s\r", path);
    terminal_send(terminal, line);
    terminal_expect(terminal, "wrote ");
    expect_prompt(terminal);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    cJSON *object = cJSON_Parse(text);
    ck_assert_ptr_nonnull(object);
    return object;
}

static const char *content(const cJSON *exported, int turn)
{
    const cJSON *turns = cJSON_GetObjectItem(exported, "turns");
    const cJSON *item = cJSON_GetArrayItem(turns, turn);
    ck_assert_msg(item != NULL, "%d turns, no turn %d", cJSON_GetArraySize(turns), turn);
    return cJSON_GetStringValue(cJSON_GetObjectItem(item, "content"));
}

/* The i-th of all turns is this. */
static void expect_turn(struct terminal *terminal, int i, const char *text)
{
    cJSON *exported = export(terminal);
    ck_assert_str_eq(content(exported, i), text);
    cJSON_Delete(exported);
}

/* --- keys ------------------------------------------------------------------------------------ */

/* What is typed, and the turn that comes of it. */
static const struct {
    const char *keys;
    const char *turn;
} typed[] = {
    {"helo" LEFT "l", "hello"},
    {"xhello" HOME "\033[3~", "hello"}, /* Delete */
    {"wörld 你好🎉" LEFT LEFT ERASE "們", "wörld 們好🎉"},
    {"one two" HOME "\033[1;5Cx", "onex two"}, /* Ctrl-Right */
    {"one\\\rtwo", "one\ntwo"},
    {"one\ntwo\033\rthree", "one\ntwo\nthree"}, /* Ctrl-J, Alt-Enter */
    {"\"\"\"\rone\r\rtwo\\\r\"\"\"", "one\n\ntwo\\"},
    {"\"\"\"one\"\"\"", "one"},
    {"first\nsecond" UP UP DOWN "!", "first\nsecon!d"}, /* above there is nothing */
    {PASTE "one\rtwo\n\rthree\r\n" PASTE_END "four", "one\ntwo\n\nthree\nfour"},
    {PASTE "/usr/bin\rand more" PASTE_END, "/usr/bin\nand more"}, /* no command */
    {"a" PASTE "b\tc" PASTE_END "d", "ab\tcd"},
    {PASTE "1\r2\r3\r4\r5\r6\r7\r8\r9\r10\r11" PASTE_END "\t" ERASE "2", /* Tab shows the text */
     "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n12"},
    {"\tindented", "\tindented"},
    {"br\xff\xc3(oken", "br\uFFFD\uFFFD(oken"},
};
enum { N_TYPED = sizeof typed / sizeof typed[0] };

START_TEST(keys_make_a_turn)
{
    struct terminal terminal;
    open_chat(&terminal);
    say(&terminal, typed[_i].keys);
    cJSON *exported = export(&terminal);
    ck_assert_str_eq(content(exported, 0), typed[_i].turn);
    cJSON_Delete(exported);
    quit_chat(&terminal);
}
END_TEST

START_TEST(turns_of_before_come_back)
{
    struct terminal terminal;
    open_chat(&terminal);
    say(&terminal, "first");
    say(&terminal, "of two\nlines \\n");
    quit_chat(&terminal);
    open_chat(&terminal);
    say(&terminal, "third");
    say(&terminal, UP UP "!");
    say(&terminal, "draft" UP UP UP DOWN DOWN DOWN "ed");
    say(&terminal, "fir" CTRL_R "?");
    cJSON *exported = export(&terminal);
    ck_assert_str_eq(content(exported, 2), "of two\nlines \\n!");
    ck_assert_str_eq(content(exported, 4), "drafted");
    ck_assert_str_eq(content(exported, 6), "first?");
    cJSON_Delete(exported);
    quit_chat(&terminal);
    struct stat status;
    ck_assert_int_eq(stat(scratch_path("state/longhand/history"), &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
}
END_TEST

/* A paste of n lines with a word behind it; free it. */
static char *make_lines(int n, const char *before, const char *end, const char *after)
{
    struct bytes text = {0};
    bytes_add(&text, before, strlen(before));
    for (int i = 1; i <= n; i++) {
        char line[64];
        int length = snprintf(line, sizeof line, "line %d of them%s", i, i < n ? end : "");
        bytes_add(&text, line, (size_t)length);
    }
    bytes_add(&text, after, strlen(after) + 1);
    return (char *)text.data;
}

START_TEST(a_paste_of_a_thousand_lines_is_one_turn)
{
    struct terminal terminal;
    char *paste = make_lines(1000, "see: " PASTE, "\r", PASTE_END);
    char *turn = make_lines(1000, "see: ", "\n", " ok?");
    open_chat(&terminal);
    terminal_send(&terminal, paste);
    terminal_expect(&terminal, "[text 1: 1000 lines]");
    say(&terminal, ERASE); /* the label goes as one */
    say(&terminal, UP " and");
    terminal_send(&terminal, paste);
    say(&terminal, " ok?");
    say(&terminal, UP);
    cJSON *exported = export(&terminal);
    ck_assert_str_eq(content(exported, 0), "see: ");
    ck_assert_str_eq(content(exported, 2), "see:  and");
    ck_assert_str_eq(content(exported, 4), turn);
    ck_assert_str_eq(content(exported, 6), turn);
    cJSON_Delete(exported);
    quit_chat(&terminal);
    free(paste);
    free(turn);
}
END_TEST

START_TEST(a_window_may_change_while_a_line_is_edited)
{
    struct terminal terminal;
    open_chat(&terminal);
    terminal_send(&terminal, "a line that is longer than the window will be wide");
    terminal_expect(&terminal, "wide");
    terminal_resize(&terminal, 20, 10);
    terminal_expect(&terminal, "> a line that is lo"); /* drawn anew */
    terminal_resize(&terminal, 100, 30);
    terminal_expect(&terminal, "> a line that is longer than the window will be wide");
    say(&terminal, " 你好");
    cJSON *exported = export(&terminal);
    ck_assert_str_eq(content(exported, 0),
                     "a line that is longer than the window will be wide 你好");
    cJSON_Delete(exported);
    quit_chat(&terminal);
}
END_TEST

START_TEST(tab_completes)
{
    struct terminal terminal;
    open_chat(&terminal);
    terminal_send(&terminal, "/h\t\r");
    terminal_expect(&terminal, "Ctrl-C");
    expect_prompt(&terminal);
    terminal_send(&terminal, "/s\t");
    terminal_expect(&terminal, "/system  /save  /stats  /set");
    terminal_send(&terminal, "ta\t\r");
    terminal_expect(&terminal, "conversation   0 turns");
    expect_prompt(&terminal);
    char line[300];
    scratch_write("attachment.txt", "text", 4);
    snprintf(line, sizeof line, "/read %s\t\r", scratch_path("attach"));
    terminal_send(&terminal, line);
    terminal_expect(&terminal, "attachment.txt: 4 bytes");
    expect_prompt(&terminal);
    quit_chat(&terminal);
}
END_TEST

/* --- Ctrl-C and Ctrl-D ------------------------------------------------------------------------ */

START_TEST(ctrl_c_takes_a_line_away_and_twice_ends)
{
    struct terminal terminal;
    open_chat(&terminal);
    terminal_send(&terminal, "not\nthis");
    terminal_expect(&terminal, "this");
    terminal_send(&terminal, CTRL_C);
    terminal_expect(&terminal, "(Ctrl-C again");
    expect_prompt(&terminal);
    terminal_send(&terminal, "nor this");
    terminal_expect(&terminal, "this"); /* Ctrl-C makes the system forget what is not read */
    terminal_send(&terminal, CTRL_C);
    expect_prompt(&terminal);
    say(&terminal, "this");
    terminal_send(&terminal, CTRL_C);
    expect_prompt(&terminal);
    expect_turn(&terminal, 0, "this");
    terminal_send(&terminal, CTRL_C);
    expect_prompt(&terminal);
    terminal_send(&terminal, CTRL_C);
    ck_assert_int_eq(terminal_wait(&terminal), 130);
    terminal_close(&terminal);
}
END_TEST

START_TEST(ctrl_d_ends_on_an_empty_line_only)
{
    struct terminal terminal;
    open_chat(&terminal);
    say(&terminal, "text" CTRL_D "s");
    expect_turn(&terminal, 0, "texts");
    quit_chat(&terminal);
}
END_TEST

/* Whole characters, from the first on; one that was cut off shows as such. */
static void check_party(const char *text)
{
    static const char cut[] = "\uFFFD";
    size_t n = strlen(text);
    if (n >= sizeof cut - 1 && strcmp(text + n - (sizeof cut - 1), cut) == 0)
        n -= sizeof cut - 1;
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(text[i] == party[i % N_PARTY], "byte %zu of %s", i, text);
    ck_assert(n % N_PARTY == 0 || n % N_PARTY == 4 || n % N_PARTY == 7);
}

START_TEST(ctrl_c_ends_a_reply_and_keeps_it)
{
    struct terminal terminal;
    begin_chat(&terminal, NULL, endless_replies);
    expect_prompt(&terminal);
    for (int i = 0; i < 2; i++) {
        terminal_send(&terminal, "go on\r");
        for (int k = 0; k < 20; k++)
            terminal_expect(&terminal, party);
        terminal_send(&terminal, CTRL_C);
        expect_prompt(&terminal);
    }
    cJSON *exported = export(&terminal);
    for (int i = 1; i < 4; i += 2) {
        ck_assert_uint_ge(strlen(content(exported, i)), (size_t)(20 * N_PARTY));
        check_party(content(exported, i));
    }
    cJSON_Delete(exported);
    quit_chat(&terminal);
}
END_TEST

START_TEST(ctrl_c_ends_the_reading_of_a_prompt)
{
    struct terminal terminal;
    char *lines = make_lines(20000, PASTE, "\r", PASTE_END "\r");
    open_chat(&terminal);
    terminal_send(&terminal, lines);
    terminal_expect(&terminal, "prompt tokens: ");
    terminal_send(&terminal, CTRL_C);
    terminal_expect(&terminal, "[interrupted: ");
    expect_prompt(&terminal);
    terminal_send(&terminal, "/undo\r");
    expect_prompt(&terminal);
    say(&terminal, "short");
    expect_turn(&terminal, 0, "short");
    quit_chat(&terminal);
    free(lines);
}
END_TEST

/* --- every kind of end ------------------------------------------------------------------------ */

/* Without a session signals end the process as ever; with one it is saved first. */
static const struct {
    int signal;
    int without;
    int with;
} ends[] = {
    {SIGTERM, 128 + SIGTERM, 130}, {SIGHUP, 128 + SIGHUP, 130}, {SIGQUIT, 128 + SIGQUIT, -1}};
enum { N_ENDS = sizeof ends / sizeof ends[0] };

START_TEST(signals_leave_the_terminal_as_it_was)
{
    struct terminal terminal;
    const char *const session[] = {"-n", "10", "--session", scratch_path("s"), NULL};
    open_chat(&terminal);
    terminal_send(&terminal, "a line\nand another" UP);
    terminal_expect(&terminal, "another");
    kill(terminal.child, ends[_i].signal);
    ck_assert_int_eq(terminal_wait(&terminal), ends[_i].without);
    terminal_close(&terminal);
    begin_chat(&terminal, NULL, endless_replies);
    expect_prompt(&terminal);
    terminal_send(&terminal, "go on\r");
    terminal_expect(&terminal, party);
    kill(terminal.child, ends[_i].signal);
    ck_assert_int_eq(terminal_wait(&terminal), ends[_i].without);
    terminal_close(&terminal);
    if (ends[_i].with < 0)
        return;
    begin_chat(&terminal, NULL, session);
    expect_prompt(&terminal);
    say(&terminal, "remember");
    terminal_send(&terminal, "and this not");
    terminal_expect(&terminal, "this not");
    kill(terminal.child, ends[_i].signal);
    ck_assert_int_eq(terminal_wait(&terminal), ends[_i].with);
    terminal_close(&terminal);
    begin_chat(&terminal, NULL, session);
    terminal_expect(&terminal, "s: 1 turns");
    expect_prompt(&terminal);
    quit_chat(&terminal);
}
END_TEST

START_TEST(a_killed_chat_goes_on)
{
    struct terminal terminal;
    const char *const session[] = {"-n", "10", "--session", scratch_path("s"), NULL};
    begin_chat(&terminal, NULL, session);
    expect_prompt(&terminal);
    say(&terminal, "one");
    say(&terminal, "two");
    kill(terminal.child, SIGKILL);
    terminal_close(&terminal);
    begin_chat(&terminal, NULL, session);
    terminal_expect(&terminal, " turns, ");
    expect_prompt(&terminal);
    cJSON *exported = export(&terminal);
    ck_assert_str_eq(content(exported, 0), "one");
    check_party(content(exported, 1));
    cJSON_Delete(exported);
    terminal_send(&terminal, UP UP UP); /* what was typed is there in any case */
    terminal_expect(&terminal, "one");
    terminal_send(&terminal, CTRL_C);
    expect_prompt(&terminal);
    quit_chat(&terminal);
}
END_TEST

START_TEST(a_window_that_closes_ends_the_chat)
{
    struct terminal terminal;
    const char *const session[] = {"-n", "10", "--session", scratch_path("s"), NULL};
    int status;
    begin_chat(&terminal, NULL, session);
    expect_prompt(&terminal);
    say(&terminal, "one");
    close(terminal.master);
    ck_assert_int_eq(waitpid(terminal.child, &status, 0), terminal.child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 130);
    terminal.master = -1;
    terminal.child = 0;
    terminal_close(&terminal);
    begin_chat(&terminal, NULL, session);
    terminal_expect(&terminal, "s: 1 turn");
    expect_prompt(&terminal);
    quit_chat(&terminal);
}
END_TEST

/* A chat whose session's folder goes away: its end is refused once. */
static void end_without_folder(struct terminal *terminal, const char *const *session,
                               const char *folder)
{
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    begin_chat(terminal, NULL, session);
    expect_prompt(terminal);
    ck_assert_int_eq(rmdir(folder), 0);
    say(terminal, "one");
    terminal_send(terminal, CTRL_D);
    terminal_expect(terminal, "again loses it");
    expect_prompt(terminal);
}

START_TEST(an_error_leaves_the_terminal_as_it_was)
{
    struct terminal terminal;
    const char *const session[] = {"-n", "10", "--session", scratch_path("none/s"), NULL};
    char folder[256];
    snprintf(folder, sizeof folder, "%s", scratch_path("none"));
    begin_chat(&terminal, NULL, session); /* known before anything is said */
    ck_assert_int_eq(terminal_wait(&terminal), 1);
    terminal_close(&terminal);
    end_without_folder(&terminal, session, folder);
    terminal_send(&terminal, CTRL_D);
    terminal_expect(&terminal, "longhand: ");
    ck_assert_int_eq(terminal_wait(&terminal), 1);
    terminal_close(&terminal);
}
END_TEST

START_TEST(what_cannot_be_saved_is_not_lost_at_once)
{
    struct terminal terminal;
    const char *const session[] = {"-n", "10", "--session", scratch_path("none/s"), NULL};
    char folder[256];
    snprintf(folder, sizeof folder, "%s", scratch_path("none"));
    end_without_folder(&terminal, session, folder);
    ck_assert_int_eq(mkdir(folder, 0700), 0); /* the disk has room again */
    terminal_send(&terminal, CTRL_D);
    ck_assert_int_eq(terminal_wait(&terminal), 0);
    ck_assert_int_eq(access(session[3], R_OK), 0);
    terminal_close(&terminal);
}
END_TEST

/* A chat under a shell, which job control takes; the script runs it as "$@". */
static void open_under_shell(struct terminal *terminal, const char *script)
{
    const char *program = getenv("LONGHAND_PROGRAM");
    const char *arguments[] = {"-c",
                               script,
                               "sh",
                               program ? program : "./longhand",
                               "chat",
                               "-m",
                               model,
                               "-t",
                               "1",
                               "--temperature",
                               "0",
                               "-n",
                               "10",
                               "--session",
                               scratch_path("s"),
                               NULL};
    const char *settings[] = {state, "NO_COLOR=1", "LC_ALL=C.UTF-8", NULL};
    terminal_open(terminal, "sh", arguments, settings);
    expect_prompt(terminal);
}

START_TEST(a_stopped_chat_can_be_ended)
{
    struct terminal terminal;
    open_under_shell(&terminal, "set -m; \"$@\"; echo \"stopped: $?\"; kill %1; kill -CONT %1; "
                                "while kill -0 %1 2>/dev/null; do sleep 0.1; done; exit 7");
    say(&terminal, "one");
    terminal_send(&terminal, CTRL_Z);
    terminal_expect(&terminal, "stopped: ");
    ck_assert_int_eq(terminal_wait(&terminal), 7);
    terminal_close(&terminal);
}
END_TEST

START_TEST(ctrl_z_stops_and_fg_goes_on)
{
    struct terminal terminal;
    open_under_shell(&terminal, "set -m; \"$@\"; echo \"stopped: $?\"; read answer; "
                                "fg >/dev/null; exit $?");
    terminal_send(&terminal, "begun ");
    terminal_expect(&terminal, "begun ");
    terminal_send(&terminal, CTRL_Z);
    terminal_expect(&terminal, "stopped: ");
    terminal_check_modes(&terminal);
    terminal_send(&terminal, "\r");
    expect_prompt(&terminal);
    terminal_expect(&terminal, "begun ");
    say(&terminal, "and ended");
    expect_turn(&terminal, 0, "begun and ended");
    quit_chat(&terminal);
}
END_TEST

/* --- commands --------------------------------------------------------------------------------- */

/* Every command in turn, and what it answers; %s stands for the scratch folder. */
static const struct {
    const char *line;
    const char *answer;
} commands[] = {
    {"/help", "/quit"},
    {"/system", "no system message"},
    {"/system be\nbrief", "a new conversation"},
    {"/system", "be\r\nbrief"},
    {"first", party},
    {"/regen", party},
    {"/edit second", party},
    {"/edit", party}, /* as $EDITOR leaves it */
    {"/save %s/talk", "saved"},
    {"/undo", "no turn is left"},
    {"/load %s/talk", "1 turn"},
    {"/export %s/talk.md", "wrote "},
    {"/export %s/talk.json", "wrote "},
    {"/read %s/talk.md", "in front of your next turn"},
    {"and?", party},
    {"/stats", "conversation   2 turns"},
    {"/context", "policy "},
    {"/set", "temperature"},
    {"/set temperature 0.5", ""},
    {"/set heat 1", "heat"},
    {"/nonsense", "unknown command"},
    {"//slash", party},
    {"/reset", ""},
    {"/stats", "conversation   0 turns"},
};

/* The line as it is typed. */
static void type_command(struct terminal *terminal, const char *line, const char *folder)
{
    const char *percent = strchr(line, '%');
    char before[300];
    snprintf(before, sizeof before, "%.*s", percent ? (int)(percent - line) : 299, line);
    terminal_send(terminal, before);
    if (percent) {
        terminal_send(terminal, folder);
        terminal_send(terminal, percent + 2);
    }
    terminal_send(terminal, "\r");
    terminal_expect(terminal, PASTE_OFF);
}

START_TEST(every_command_answers)
{
    struct terminal terminal;
    char folder[256];
    char *text = NULL;
    size_t size = 0;
    snprintf(folder, sizeof folder, "%s", scratch_path(""));
    folder[strlen(folder) - 1] = '\0';
    begin_chat(&terminal, "EDITOR=sed -i s/second/third/", short_replies);
    expect_prompt(&terminal);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        type_command(&terminal, commands[i].line, folder);
        terminal_expect(&terminal, commands[i].answer);
        expect_prompt(&terminal);
    }
    terminal_send(&terminal, "/quit\r");
    ck_assert_int_eq(terminal_wait(&terminal), 0);
    terminal_close(&terminal);
    FILE *file = fopen(scratch_path("talk.json"), "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_gt(getdelim(&text, &size, '\0', file), 0);
    ck_assert_ptr_nonnull(strstr(text, "\"third\""));
    free(text);
    fclose(file);
}
END_TEST

/* --- terminals -------------------------------------------------------------------------------- */

static bool holds(const struct terminal *terminal, const char *text)
{
    return memmem(terminal->output.data, terminal->output.size, text, strlen(text)) != NULL;
}

START_TEST(colour_is_for_those_who_want_it)
{
    struct terminal terminal;
    begin_chat(&terminal, "NO_COLOR=", short_replies);
    terminal_expect(&terminal, "\033[1m>\033[0m ");
    quit_chat(&terminal);
    begin_chat(&terminal, NULL, short_replies);
    expect_prompt(&terminal);
    say(&terminal, "hello");
    ck_assert(!holds(&terminal, "\033[1m") && !holds(&terminal, "\033[0m"));
    quit_chat(&terminal);
}
END_TEST

START_TEST(a_dumb_terminal_gets_plain_text)
{
    struct terminal terminal;
    begin_chat(&terminal, "TERM=dumb", short_replies);
    terminal_expect(&terminal, "> ");
    terminal_send(&terminal, "hello\r");
    terminal_expect(&terminal, party);
    terminal_expect(&terminal, "> ");
    terminal_send(&terminal, "/quit\r");
    ck_assert_int_eq(terminal_wait(&terminal), 0);
    ck_assert(!holds(&terminal, "\033"));
    terminal_close(&terminal);
}
END_TEST

START_TEST(text_is_utf8_in_any_locale)
{
    struct terminal terminal;
    begin_chat(&terminal, "LC_ALL=C", short_replies);
    expect_prompt(&terminal);
    say(&terminal, "wörld 你" LEFT ERASE);
    expect_turn(&terminal, 0, "wörld你");
    quit_chat(&terminal);
}
END_TEST

Suite *terminal_suite(void)
{
    Suite *suite = suite_create("terminal");
    TCase *tcase = tcase_create("terminal");
    tcase_add_checked_fixture(tcase, begin_test, scratch_remove);
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, keys_make_a_turn, 0, N_TYPED);
    tcase_add_test(tcase, turns_of_before_come_back);
    tcase_add_test(tcase, a_paste_of_a_thousand_lines_is_one_turn);
    tcase_add_test(tcase, a_window_may_change_while_a_line_is_edited);
    tcase_add_test(tcase, tab_completes);
    tcase_add_test(tcase, ctrl_c_takes_a_line_away_and_twice_ends);
    tcase_add_test(tcase, ctrl_d_ends_on_an_empty_line_only);
    tcase_add_test(tcase, ctrl_c_ends_a_reply_and_keeps_it);
    tcase_add_test(tcase, ctrl_c_ends_the_reading_of_a_prompt);
    tcase_add_loop_test(tcase, signals_leave_the_terminal_as_it_was, 0, N_ENDS);
    tcase_add_test(tcase, a_killed_chat_goes_on);
    tcase_add_test(tcase, a_window_that_closes_ends_the_chat);
    tcase_add_test(tcase, an_error_leaves_the_terminal_as_it_was);
    tcase_add_test(tcase, what_cannot_be_saved_is_not_lost_at_once);
    tcase_add_test(tcase, a_stopped_chat_can_be_ended);
    tcase_add_test(tcase, ctrl_z_stops_and_fg_goes_on);
    tcase_add_test(tcase, every_command_answers);
    tcase_add_test(tcase, colour_is_for_those_who_want_it);
    tcase_add_test(tcase, a_dumb_terminal_gets_plain_text);
    tcase_add_test(tcase, text_is_utf8_in_any_locale);
    suite_add_tcase(suite, tcase);
    return suite;
}
