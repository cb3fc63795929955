/* chat_commands: see chat_commands.h. */
#include "commands/chat/chat_commands.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/array.h"

const struct chat_command chat_commands[] = {
    {"/help", "", "this list", slash_help},
    {"/system", "[TEXT]", "show the system message; with TEXT, begin again under that one",
     slash_system},
    {"/regen", "", "another reply to the last turn", slash_regen},
    {"/undo", "", "take back the last turn and its reply", slash_undo},
    {"/edit", "[TEXT]", "the last turn again, as TEXT or as changed in $VISUAL or $EDITOR",
     slash_edit},
    {"/read", "FILE", "put a file's text in front of the next turn", slash_read},
    {"/save", "FILE", "write the conversation; chat --session FILE goes on with it", slash_save},
    {"/load", "FILE", "go on with a saved conversation, as chat --session FILE does", slash_load},
    {"/export", "FILE", "write what was said as Markdown, or JSON where FILE ends in .json",
     slash_export},
    {"/stats", "", "tokens, speed and memory", slash_stats},
    {"/context", "", "what the model sees, and what has left", slash_context},
    {"/set", "[NAME [VALUE]]", "options of sampling, as on the command line; alone, show them",
     slash_set},
    {"/reset", "", "begin again, under the same system message", slash_reset},
    {"/quit", "", "end (also Ctrl-D)", slash_quit},
    {NULL, NULL, NULL, NULL},
};

void chat_say(struct chat *chat, const char *format, ...)
{
    va_list args;
    output_clear(&chat->output);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static const char spaces[] = " \t\n";

const struct chat_command *chat_find_command(const char *line)
{
    size_t length = strcspn(line, spaces);
    const struct chat_command *command = chat_commands;
    while (command->name &&
           (strlen(command->name) != length || memcmp(command->name, line, length) != 0))
        command++;
    return command->name ? command : NULL;
}

/* An argument as a command wants it: of a file's name ~/ is the home, and a backslash, which Tab
 * puts in front of a space for instance, takes the next character as it is. */
static char *copy_argument(const char *argument, size_t length, bool is_file)
{
    const char *home = is_file && strncmp(argument, "~/", 2) == 0 ? getenv("HOME") : NULL;
    char *copy = NULL;
    if (asprintf(&copy, "%s%.*s", home ? home : "", (int)length - (home != NULL),
                 argument + (home != NULL)) < 0)
        return NULL;
    char *to = copy + (home ? strlen(home) : 0);
    const char *from = to;
    while (is_file && *from) {
        from += from[0] == '\\' && from[1];
        *to++ = *from++;
    }
    if (is_file)
        *to = '\0';
    return copy;
}

int chat_command(struct chat *chat, const char *line, struct error *err)
{
    size_t length = strcspn(line, spaces);
    const char *argument = line + length + strspn(line + length, spaces);
    const struct chat_command *command = chat_find_command(line);
    if (!command)
        return error_set(err,
                         "unknown command \"%s\" (/help lists them; a turn that begins with a "
                         "slash is typed with two)",
                         text_printable((struct text){line, length}).chars);
    bool needed = command->argument[0] && command->argument[0] != '[';
    if ((needed && !*argument) || (!command->argument[0] && *argument))
        return error_set(err, "usage: %s %s", command->name, command->argument);
    size_t end = strlen(argument);
    while (end > 0 && strchr(spaces, argument[end - 1]))
        end--;
    char *copy = copy_argument(argument, end, strcmp(command->argument, "FILE") == 0);
    int result = copy ? command->run(chat, copy, err) : error_memory(err, "a command", end);
    free(copy);
    return result;
}

int slash_help(struct chat *chat, const char *argument, struct error *err)
{
    (void)argument;
    (void)err;
    for (const struct chat_command *command = chat_commands; command->name; command++) {
        char usage[64];
        snprintf(usage, sizeof usage, "%s %s", command->name, command->argument);
        chat_say(chat, "%-21s %s", usage, command->help);
    }
    chat_say(chat, "%-21s %s", "//TEXT", "a turn that begins with a slash");
    chat_say(chat, "%-21s %s", "Ctrl-J, Alt-Enter",
             "a new line; also Enter behind \\, or within \"\"\"");
    chat_say(chat, "%-21s %s", "Ctrl-C", "ends a reply, takes a line away; twice, ends the chat");
    return 0;
}

int slash_quit(struct chat *chat, const char *argument, struct error *err)
{
    (void)argument;
    (void)err;
    chat->quit = true;
    return 0;
}

/* A sampler with the new options goes on with the random numbers of the old one, unless it is the
 * seed that is set. */
static int change_sampler(struct chat *chat, const struct sampler_options *options, bool seeded,
                          struct error *err)
{
    struct conversation *c = &chat->conversation;
    struct sampler sampler;
    if (sampler_open(&sampler, options, c->sampler.vocab_size, err))
        return -1;
    if (!seeded)
        memcpy(sampler.rng, c->sampler.rng, sizeof sampler.rng);
    sampler_look_back(&sampler, c->ids.ids, c->session.position);
    sampler_close(&c->sampler);
    c->sampler = sampler;
    return 0;
}

enum { SETTABLE = OPTIONS_LENGTH | OPTIONS_SAMPLING };

int slash_set(struct chat *chat, const char *argument, struct error *err)
{
    if (!*argument) {
        output_clear(&chat->output);
        options_show(&chat->options, SETTABLE, stderr);
        return 0;
    }
    size_t length = strcspn(argument, " \t");
    const char *value = argument + length + strspn(argument + length, " \t");
    struct options changed = chat->options;
    char *name = strndup(argument, length);
    char *copy = *value ? strdup(value) : NULL;
    int result = !name || (*value && !copy) ? error_memory(err, "an option", strlen(argument)) : 0;
    if (result == 0)
        result = options_set(&changed, SETTABLE, name, copy, err);
    if (result == 0)
        result = change_sampler(chat, &changed.sampler, strcmp(name, "seed") == 0, err);
    if (result == 0)
        chat->options = changed;
    free(name);
    if (copy)
        arrput(chat->texts, copy); /* an option may point to it */
    return result;
}
