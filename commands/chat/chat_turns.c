/* chat_turns: the commands that change the turns: /system, /reset, /regen, /undo, /edit. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands/array.h"
#include "commands/chat/chat_commands.h"
#include "commands/chat/reply.h"

static int begin(struct chat *chat, const struct text *system, struct error *err)
{
    if (conversation_begin(&chat->conversation, system, NULL, err))
        return -1;
    arrsetlen(chat->attached, 0);
    chat->keep.changed = true;
    chat_changed(chat);
    return 0;
}

int slash_system(struct chat *chat, const char *argument, struct error *err)
{
    struct text text = {argument, strlen(argument)};
    const struct text *now = conversation_system(&chat->conversation);
    if (!*argument) {
        if (now)
            chat_say(chat, "%.*s", (int)now->length, now->bytes);
        else
            chat_say(chat, "no system message%s",
                     chat->template.default_system ? ", but the template has one of its own" : "");
        return 0;
    }
    if (engine_check_text("the system message", text.bytes, text.length, err) ||
        begin(chat, &text, err))
        return -1;
    chat_say(chat, "a new conversation under this system message");
    return 0;
}

int slash_reset(struct chat *chat, const char *argument, struct error *err)
{
    (void)argument;
    return begin(chat, conversation_system(&chat->conversation), err);
}

static int check_turns(const struct chat *chat, struct error *err)
{
    return conversation_n_turns(&chat->conversation) > 0 ? 0
                                                         : error_set(err, "there is no turn yet");
}

int slash_regen(struct chat *chat, const char *argument, struct error *err)
{
    (void)argument;
    if (check_turns(chat, err))
        return -1;
    if (chat->options.sampler.temperature <= 0)
        chat_say(chat, "(temperature is 0: the likeliest reply does not change)");
    return conversation_take_reply(&chat->conversation, err) ? -1 : reply_again(chat, err);
}

int slash_undo(struct chat *chat, const char *argument, struct error *err)
{
    (void)argument;
    if (check_turns(chat, err) || conversation_take_turn(&chat->conversation, err))
        return -1;
    const struct text *last = conversation_last_user(&chat->conversation);
    chat_say(chat, last ? "the last turn is now: %s" : "no turn is left%s",
             last ? text_printable(*last).chars : "");
    chat->keep.changed = true;
    return 0;
}

/* --- /edit ---------------------------------------------------------------------------------- */

/* Runs the editor, as a shell would, on a file: what is typed there, Ctrl-C too, is not for us. */
static int run_editor(const char *editor, const char *path, struct error *err)
{
    static char shell[] = "sh", option[] = "-c";
    char command[512];
    int length = snprintf(command, sizeof command, "%s \"$1\"", editor);
    char *arguments[] = {shell, option, command, shell, (char *)(uintptr_t)path, NULL};
    struct sigaction ignore = {.sa_handler = SIG_IGN}, interrupt, quit;
    posix_spawnattr_t attributes;
    sigset_t usual;
    pid_t child;
    int status = 0;
    if (length < 0 || (size_t)length >= sizeof command)
        return error_set(err, "$EDITOR has %d characters, allowed: %zu", length, sizeof command);
    sigemptyset(&usual);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGQUIT);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    sigaction(SIGINT, &ignore, &interrupt);
    sigaction(SIGQUIT, &ignore, &quit);
    int failed = posix_spawn(&child, "/bin/sh", NULL, &attributes, arguments, environ);
    while (!failed && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGQUIT, &quit, NULL);
    posix_spawnattr_destroy(&attributes);
    if (failed)
        return error_set(err, "%s: cannot be run: %s", editor, strerror(failed));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(err, "%s: failed; the turn stays as it is", editor);
    return 0;
}

static int write_whole(const char *path, int file, const struct text *text, struct error *err)
{
    FILE *f = fdopen(file, "w");
    bool written = f && fwrite(text->bytes, 1, text->length, f) == text->length;
    if (!f)
        close(file);
    else if (fclose(f) != 0)
        written = false;
    return written ? 0 : error_set(err, "%s: cannot write: %s", path, strerror(errno));
}

/* The last turn as a person leaves it in the editor; the caller frees it. */
static int edit_text(const struct text *old, char **text, size_t *length, struct error *err)
{
    const char *editor = getenv("VISUAL");
    const char *folder = getenv("TMPDIR");
    char path[256];
    editor = editor && *editor ? editor : getenv("EDITOR");
    if (!editor || !*editor)
        return error_set(err, "neither VISUAL nor EDITOR names an editor: type /edit TEXT");
    int n = snprintf(path, sizeof path, "%s/longhand.XXXXXX", folder && *folder ? folder : "/tmp");
    int file = n > 0 && (size_t)n < sizeof path ? mkstemp(path) : -1;
    if (file < 0)
        return error_set(err, "%s: cannot create: %s", path, strerror(errno));
    struct options source = {.file = path};
    int result = write_whole(path, file, old, err) || run_editor(editor, path, err) ||
                         engine_read_text(&source, text, length, err)
                     ? -1
                     : 0;
    unlink(path);
    if (result)
        *text = NULL;
    while (result == 0 && *length > 0 && (*text)[*length - 1] == '\n')
        --*length;
    return result;
}

int slash_edit(struct chat *chat, const char *argument, struct error *err)
{
    struct conversation *c = &chat->conversation;
    char *text = NULL;
    size_t length = strlen(argument);
    if (check_turns(chat, err))
        return -1;
    int result = *argument ? engine_check_text("the turn", argument, length, err)
                           : edit_text(conversation_last_user(c), &text, &length, err);
    if (result == 0 && length == 0)
        result = error_set(err, "the turn is empty; it stays as it is");
    if (result == 0)
        result = conversation_take_turn(c, err);
    if (result == 0) {
        chat->keep.changed = true;
        result = reply_to(chat, text ? text : argument, length, err);
    }
    free(text);
    return result;
}
