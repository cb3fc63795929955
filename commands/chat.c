/* chat: talks with a model, a line a turn. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/array.h"
#include "commands/commands.h"
#include "commands/engine.h"
#include "commands/interrupt.h"
#include "commands/keep.h"
#include "commands/notices.h"
#include "commands/output.h"
#include "commands/stream.h"
#include "tokenizer/chat.h"

struct chat {
    const struct options *options;
    struct engine engine;
    struct session session;
    struct sampler sampler;
    struct lookup lookup; /* knows all that was fed, also what has been taken back */
    struct output output;
    struct notices notices;
    struct chat_template template; /* .family NULL: none, and plain text is continued */
    struct chat_turn *turns;       /* stb_ds array; so is every content */
    struct token_list fed;         /* what the session holds, id by id */
    struct keep keep;              /* all that on disk */
    bool terminal;                 /* a person types: prompts and notes */
    /* of the reply that is being written */
    struct stream stream;
    bool failed;
    struct error *err;
};

/* Copies text[length]. */
static void add_turn(struct chat *chat, enum chat_role role, const char *text, size_t length)
{
    char *copy = NULL;
    memcpy(arraddnptr(copy, length + 1), text, length); /* one more, so that it is never NULL */
    copy[length] = '\0';
    struct chat_turn turn = {role, {copy, length}};
    arrput(chat->turns, turn);
}

static void drop_turns(struct chat *chat)
{
    while (arrlen(chat->turns) > 0) {
        char *copy = (char *)(uintptr_t)arrpop(chat->turns).content.bytes;
        arrfree(copy);
    }
}

/* A turn that got no reply would stand in the way of the next one. */
static void drop_unanswered(struct chat *chat)
{
    if (arrlen(chat->turns) > 0 && arrlast(chat->turns).role == CHAT_USER) {
        char *copy = (char *)(uintptr_t)arrpop(chat->turns).content.bytes;
        arrfree(copy);
    }
}

/* From the beginning again, with the system message if there is one. */
static void reset(struct chat *chat)
{
    drop_turns(chat);
    const char *system = chat->options->system;
    if (system)
        add_turn(chat, CHAT_SYSTEM, system, strlen(system));
}

/* The conversation without a template: its turns as paragraphs. */
static int render_plain(const struct chat *chat, struct token_list *ids, struct error *err)
{
    struct encode_options encode = {.add_special = true};
    for (ptrdiff_t i = 0; i < arrlen(chat->turns); i++) {
        struct text text = chat->turns[i].content;
        if (tokenizer_encode(chat->engine.tokenizer, text.bytes, text.length, encode, ids, err) ||
            tokenizer_encode(chat->engine.tokenizer, "\n\n", 2, (struct encode_options){0}, ids,
                             err))
            return -1;
        encode.add_special = false;
    }
    return 0;
}

static bool on_progress(void *context, int64_t done, int64_t total)
{
    struct chat *chat = context;
    output_progress(&chat->output, "prompt tokens", done, total);
    return !interrupt_seen();
}

static bool on_token(void *context, int32_t id)
{
    struct chat *chat = context;
    if (tokenizer_is_end(chat->engine.tokenizer, id))
        return false;
    notices_watch(&chat->notices, (int64_t)chat->fed.n + 1, arrlen(chat->stream.text) > 0);
    chat->failed = stream_token(&chat->stream, id, chat->err) != 0 ||
                   token_list_add(&chat->fed, id, chat->err) != 0;
    /* Without a template a reply is a paragraph. */
    bool ended = !chat->template.family && arrlen(chat->stream.text) > 0 &&
                 arrlast(chat->stream.text) == '\n';
    return !chat->failed && !ended && !chat->stream.stopped && !interrupt_seen();
}

/* Takes back what the session holds beyond the prefix that it shares with the conversation, so that
 * only what is new is computed; one token at least remains to be fed, for its logits. Where the
 * context policy has let go of what would be needed, all of it is read again. */
static int rewind_session(struct chat *chat, const struct token_list *ids, size_t *kept,
                          struct error *err)
{
    size_t held =
        (size_t)chat->session.position < chat->fed.n ? (size_t)chat->session.position : chat->fed.n;
    size_t same = 0;
    while (same < held && same + 1 < ids->n && chat->fed.ids[same] == ids->ids[same])
        same++;
    if (session_truncate(&chat->session, (int64_t)same, err)) {
        output_note(&chat->output, "%s; reading the conversation again", err->text);
        same = 0;
        if (session_truncate(&chat->session, 0, err))
            return -1;
    }
    *kept = chat->fed.n = same;
    return 0;
}

static int write_reply(struct chat *chat, const struct generate *run, struct error *err)
{
    if (!chat->options->json) {
        bool on_new_line = arrlen(chat->stream.text) > 0 && arrlast(chat->stream.text) == '\n';
        return on_new_line ? 0 : output_write("\n", 1, err);
    }
    cJSON *object = cJSON_CreateObject();
    arrput(chat->stream.text, '\0');
    cJSON_AddStringToObject(object, "reply", chat->stream.text);
    (void)arrpop(chat->stream.text);
    cJSON_AddNumberToObject(object, "prompt_tokens", (double)run->prompt_tokens);
    cJSON_AddNumberToObject(object, "new_tokens", (double)run->new_tokens);
    cJSON_AddNumberToObject(object, "guessed_tokens", (double)run->guessed_tokens);
    cJSON_AddNumberToObject(object, "accepted_tokens", (double)run->accepted_tokens);
    cJSON_AddNumberToObject(object, "position", (double)chat->session.position);
    notices_json(&chat->notices, object);
    return output_json(object, err);
}

static int generate_reply(struct chat *chat, const struct token_list *ids, struct error *err)
{
    size_t same;
    if (rewind_session(chat, ids, &same, err) ||
        notices_plan(&chat->notices, (int64_t)(ids->n - same), chat->options->n_tokens, err))
        return -1;
    notices_watch(&chat->notices, (int64_t)ids->n, false);
    struct generate run = {
        .session = &chat->session,
        .sampler = &chat->sampler,
        .lookup = chat->options->no_lookup ? NULL : &chat->lookup,
        .max_tokens = chat->options->n_tokens > 0 ? chat->options->n_tokens : -1,
        .progress = on_progress,
        .emit = on_token,
        .context = chat,
    };
    for (size_t i = same; i < ids->n; i++)
        if (token_list_add(&chat->fed, ids->ids[i], err))
            return -1;
    if (generate(&run, ids->ids + same, (int64_t)(ids->n - same), err) || chat->failed ||
        stream_end(&chat->stream, err) || write_reply(chat, &run, err))
        return -1;
    if (chat->options->verbose)
        output_note(&chat->output,
                    "prompt %lld tokens in %.2f s; new %lld tokens in %.2f s, %lld of %lld guesses "
                    "right; %lld tokens so far",
                    (long long)run.prompt_tokens, run.prompt_seconds, (long long)run.new_tokens,
                    run.new_seconds, (long long)run.accepted_tokens, (long long)run.guessed_tokens,
                    (long long)chat->session.position);
    return 0;
}

static int reply(struct chat *chat, struct error *err)
{
    struct token_list ids = {0};
    int result = chat->template.family ? chat_render(&chat->template, chat->engine.tokenizer,
                                                     chat->turns, arrlenu(chat->turns), &ids, err)
                                       : render_plain(chat, &ids, err);
    interrupt_clear();
    if (result == 0)
        result = stream_open(&chat->stream, chat->engine.tokenizer, chat->options, false, err);
    if (result == 0)
        result = generate_reply(chat, &ids, err);
    if (result == 0) {
        size_t length = arrlenu(chat->stream.text);
        while (!chat->template.family && length > 0 && chat->stream.text[length - 1] == '\n')
            length--;
        add_turn(chat, CHAT_ASSISTANT, length > 0 ? chat->stream.text : "", length);
    }
    stream_close(&chat->stream);
    token_list_free(&ids);
    return result;
}

enum line { LINE_TEXT, LINE_INTERRUPTED, LINE_END };

/* The next line without its end; *line grows as getline's. */
static enum line read_line(struct chat *chat, char **line, size_t *capacity, size_t *length)
{
    if (chat->terminal) {
        fputs("> ", stderr);
        fflush(stderr);
    }
    interrupt_clear();
    errno = 0;
    if (interrupt_end_seen())
        return LINE_END;
    ssize_t n = getline(line, capacity, stdin);
    if (n < 0) {
        bool interrupted = errno == EINTR && interrupt_seen() && !interrupt_end_seen();
        clearerr(stdin);
        return interrupted ? LINE_INTERRUPTED : LINE_END;
    }
    *length = (size_t)n;
    while (*length > 0 && ((*line)[*length - 1] == '\n' || (*line)[*length - 1] == '\r'))
        (*line)[--*length] = '\0';
    return LINE_TEXT;
}

static void add_kept_turn(void *chat, enum chat_role role, const char *text, size_t length)
{
    add_turn(chat, role, text, length);
}

/* Goes on with the conversation that is on disk, or begins one. */
static int begin(struct chat *chat, struct error *err)
{
    chat->keep = (struct keep){.path = chat->options->session,
                               .checkpoint = &chat->engine.checkpoint,
                               .session = &chat->session,
                               .sampler = &chat->sampler,
                               .lookup = chat->options->no_lookup ? NULL : &chat->lookup,
                               .fed = &chat->fed,
                               .turns = &chat->turns};
    if (chat->keep.path)
        interrupt_watch_end();
    int restored = keep_restore(&chat->keep, add_kept_turn, chat, err);
    if (restored < 0)
        return -1;
    if (restored == 0)
        reset(chat);
    else if (chat->options->system)
        return error_set(err, "--system: the conversation in %s has begun", chat->keep.path);
    else
        output_note(&chat->output, "%s: %lld turns, %lld tokens", chat->keep.path,
                    (long long)arrlen(chat->turns), (long long)chat->session.position);
    return 0;
}

/* A disk that is full ends no conversation. */
static void save(struct chat *chat, const char *path)
{
    struct error err;
    if (path ? keep_save(&chat->keep, path, &err) : keep_save_turn(&chat->keep, &err))
        output_note(&chat->output, "%s", err.text);
    else if (path)
        output_note(&chat->output, "saved; go on with --session %s", path);
}

/* A line that begins with a slash, where a person types. Returns 1 for /quit. */
static int slash_command(struct chat *chat, const char *line)
{
    if (strcmp(line, "/quit") == 0)
        return 1;
    if (strcmp(line, "/reset") == 0) {
        reset(chat);
        chat->keep.changed = true;
    } else if (strncmp(line, "/save ", 6) == 0) {
        save(chat, line + 6);
    } else {
        fprintf(stderr,
                "%s/help   this text\n/reset  begin again\n/save FILE  write the conversation\n"
                "/quit   end (also Ctrl-D)\nCtrl-C  ends a reply; twice, the chat\n",
                strcmp(line, "/help") == 0 ? "" : "unknown command\n");
    }
    return 0;
}

static int converse(struct chat *chat, struct error *err)
{
    if (!chat->template.family)
        output_note(&chat->output, "%s has no chat template: it continues your lines as plain text",
                    chat->engine.checkpoint.path);
    if (begin(chat, err))
        return -1;
    char *line = NULL;
    size_t capacity = 0;
    size_t length = 0;
    int result = 0;
    bool interrupted = false; /* the line before was */
    while (result == 0) {
        enum line kind = read_line(chat, &line, &capacity, &length);
        if (kind == LINE_END || (kind == LINE_INTERRUPTED && interrupted)) {
            if (chat->terminal)
                fputc('\n', stderr);
            result = kind == LINE_END ? EXIT_OK : EXIT_INTERRUPTED;
            break;
        }
        interrupted = kind == LINE_INTERRUPTED;
        if (interrupted) {
            fputs("\n(Ctrl-C again, or Ctrl-D, ends the chat)\n", stderr);
            continue;
        }
        if (length == 0)
            continue;
        if (chat->terminal && line[0] == '/') {
            result = slash_command(chat, line);
            if (result == 1) {
                result = EXIT_OK;
                break;
            }
            continue;
        }
        result = engine_check_text("your line", line, length, err);
        if (result &&
            chat->terminal) { /* a slip of the keyboard is no reason to lose the conversation */
            output_note(&chat->output, "%s", err->text);
            result = 0;
            continue;
        }
        if (result == 0)
            add_turn(chat, CHAT_USER, line, length);
        if (result == 0)
            result = reply(chat, err);
        if (result == 0)
            save(chat, NULL);
    }
    free(line);
    drop_unanswered(chat);
    struct error unsaved;
    if (keep_save_last(&chat->keep, &unsaved) && result != -1) {
        *err = unsaved;
        result = -1;
    }
    return result == EXIT_OK && interrupt_end_seen() ? EXIT_INTERRUPTED : result;
}

static int open_sampling(struct chat *chat, struct error *err)
{
    int vocab_size = chat->engine.model.config.vocab_size;
    return sampler_open(&chat->sampler, &chat->options->sampler, vocab_size, err) ||
                   (!chat->options->no_lookup && lookup_open(&chat->lookup, vocab_size, err))
               ? -1
               : 0;
}

int command_chat(const struct options *options, struct error *err)
{
    struct chat chat = {.options = options, .err = err, .terminal = isatty(STDIN_FILENO) == 1};
    output_open(&chat.output, options);
    chat.notices = (struct notices){.engine = &chat.engine,
                                    .session = &chat.session,
                                    .options = options,
                                    .output = &chat.output};
    interrupt_watch();
    int result = engine_open(&chat.engine, options, err) ||
                         engine_open_template(&chat.engine, options, &chat.template, err) ||
                         engine_open_session(&chat.engine, options, &chat.session, err) ||
                         open_sampling(&chat, err)
                     ? -1
                     : converse(&chat, err);
    drop_turns(&chat);
    chat_template_free(&chat.template);
    arrfree(chat.turns);
    token_list_free(&chat.fed);
    lookup_close(&chat.lookup);
    sampler_close(&chat.sampler);
    session_close(&chat.session);
    result = engine_exit_code(&chat.engine, result);
    engine_close(&chat.engine);
    return result;
}
