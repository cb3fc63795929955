/* chat: talks with a model, a line a turn: the loop. */
#include "commands/chat/chat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/array.h"
#include "commands/chat/chat_commands.h"
#include "commands/chat/editor.h"
#include "commands/chat/reply.h"
#include "commands/chat/transcript.h"
#include "commands/commands.h"
#include "commands/interrupt.h"

/* --- opening -------------------------------------------------------------------------------- */

void chat_changed(struct chat *chat)
{
    chat->engine.context = chat->conversation.session.context;
    chat->notices = (struct notices){.engine = &chat->engine,
                                     .session = &chat->conversation.session,
                                     .options = &chat->options,
                                     .output = &chat->output};
    chat->last = (struct generate){0};
    chat->turns_left = conversation_turns_left(&chat->conversation);
}

static int restore(struct chat *chat, struct error *err)
{
    const char *path = chat->keep.path;
    if (keep_restore(path, &chat->conversation, err) || keep_check(path, err))
        return -1;
    if (chat->options.system)
        return error_set(err, "--system: the conversation in %s has begun", path);
    chat_changed(chat);
    output_note(&chat->output, "%s: %d turns, %lld tokens", path,
                conversation_n_turns(&chat->conversation),
                (long long)chat->conversation.session.position);
    return 0;
}

static int begin(struct chat *chat, struct error *err)
{
    const char *system = chat->options.system;
    struct text text = {system, system ? strlen(system) : 0};
    if (chat->keep.path && (access(chat->keep.path, F_OK) == 0 || errno != ENOENT))
        return restore(chat, err);
    if ((chat->keep.path && keep_check(chat->keep.path, err)) ||
        conversation_begin(&chat->conversation, system ? &text : NULL, NULL, err))
        return -1;
    chat_changed(chat);
    return 0;
}

int chat_open(struct chat *chat, const struct options *options, struct error *err)
{
    chat->options = *options;
    output_open(&chat->output, options);
    if (options->session && !(chat->keep.path = strdup(options->session)))
        return error_memory(err, "a file name", strlen(options->session));
    if (engine_open(&chat->engine, options, err) ||
        engine_open_template(&chat->engine, options, &chat->template, err))
        return -1;
    chat->asked = chat->engine.context;
    if (conversation_open(&chat->conversation, &chat->engine, &chat->options, &chat->template,
                          options->context ? &chat->asked : NULL, err))
        return -1;
    if (!chat->template.family)
        output_note(&chat->output, "%s has no chat template: it continues your lines as plain text",
                    chat->engine.checkpoint.path);
    if (chat->keep.path)
        interrupt_watch_end();
    return begin(chat, err);
}

void chat_close(struct chat *chat)
{
    conversation_close(&chat->conversation);
    chat_template_free(&chat->template);
    engine_close(&chat->engine);
    free(chat->keep.path);
    arrfree(chat->attached);
    while (arrlen(chat->texts) > 0)
        free(arrpop(chat->texts));
    arrfree(chat->texts);
}

/* --- the loop ------------------------------------------------------------------------------- */

/* A line as a turn, behind what /read has read. */
static int take_turn(struct chat *chat, const char *line, size_t length, struct error *err)
{
    if (engine_check_text("your line", line, length, err))
        return -1;
    size_t attached = arrlenu(chat->attached);
    if (attached == 0)
        return reply_to(chat, line, length, err);
    if (length > 0) {
        memcpy(arraddnptr(chat->attached, 2), "\n\n", 2);
        memcpy(arraddnptr(chat->attached, length), line, length);
    }
    int result = reply_to(chat, chat->attached, arrlenu(chat->attached), err);
    arrsetlen(chat->attached, result ? attached : 0);
    return result;
}

int chat_line(struct chat *chat, const char *line, size_t length, struct error *err)
{
    if (length == 0 && arrlen(chat->attached) == 0)
        return 0;
    bool slash = chat->terminal && line[0] == '/';
    bool doubled = slash && line[1] == '/';
    /* Of several lines, most begin with a slash as paths do. */
    if (slash && !doubled && (!memchr(line, '\n', length) || chat_find_command(line)))
        return chat_command(chat, line, err);
    return take_turn(chat, line + doubled, length - doubled, err);
}

/* Whether the chat goes on after what went wrong: where a person sees it and can do something about
 * it, and not where there is nothing to write to. */
static bool survives(struct chat *chat, const struct error *err)
{
    if (!chat->terminal || output_broken())
        return false;
    chat_say(chat, "%s", err->text);
    return true;
}

/* The names of the commands, as the editor wants them (stb_ds array). */
static const char **command_names(void)
{
    const char **names = NULL;
    for (const struct chat_command *command = chat_commands; command->name; command++)
        arrput(names, command->name);
    arrput(names, NULL);
    return names;
}

/* Whether a person who ends the chat stays once more, since it cannot be saved. */
static bool stays(struct chat *chat, bool *stayed)
{
    struct error unsaved;
    if (*stayed || !chat->terminal || interrupt_end_seen() ||
        keep_save_last(&chat->keep, &chat->conversation, &unsaved) == 0)
        return false;
    chat_say(chat, "%s", unsaved.text);
    chat_say(chat,
             "(/save FILE writes the conversation elsewhere; Ctrl-D or /quit again loses it)");
    chat->quit = false;
    return *stayed = true;
}

static int converse(struct chat *chat, struct error *err)
{
    struct editor editor;
    const char **names = command_names();
    const char *line;
    size_t length;
    int result = EXIT_OK;
    bool interrupted = false; /* the line before was */
    bool stayed = false;
    editor_open(&editor, names, &chat->output);
    while (result == EXIT_OK && (!chat->quit || stays(chat, &stayed))) {
        enum editor_result kind = editor_read(&editor, &line, &length);
        chat->quit = kind == EDITOR_END;
        if (chat->quit)
            continue;
        if (kind == EDITOR_INTERRUPTED && interrupted && length == 0)
            result = EXIT_INTERRUPTED;
        interrupted = kind == EDITOR_INTERRUPTED;
        if (interrupted && result == EXIT_OK && chat->terminal)
            fputs("(Ctrl-C again, or Ctrl-D, ends the chat)\n", stderr);
        else if (!interrupted && chat_line(chat, line, length, err) && !survives(chat, err))
            result = -1;
    }
    editor_close(&editor);
    arrfree(names);
    struct error unsaved;
    if (keep_save_last(&chat->keep, &chat->conversation, &unsaved) && result != -1) {
        *err = unsaved;
        result = -1;
    }
    return result == EXIT_OK && interrupt_end_seen() ? EXIT_INTERRUPTED : result;
}

/* --export: what was said, without a model. */
static int export(const struct options *options, struct error *err)
{
    if (!options->session) {
        error_set(err, "--export: of which conversation? (--session FILE)");
        return EXIT_USAGE;
    }
    return transcript_rescue(options->session, options->export, err);
}

int command_chat(const struct options *options, struct error *err)
{
    if (options->export)
        return export(options, err);
    struct chat chat = {.terminal = isatty(STDIN_FILENO) == 1};
    interrupt_watch();
    int result = chat_open(&chat, options, err) ? -1 : converse(&chat, err);
    result = engine_exit_code(&chat.engine, result);
    chat_close(&chat);
    return result;
}
