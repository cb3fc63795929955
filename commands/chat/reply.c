/* reply: see reply.h. */
#include "commands/chat/reply.h"

#include <stdlib.h>

#include "commands/array.h"
#include "commands/interrupt.h"

static bool on_progress(void *context, int64_t done, int64_t total)
{
    struct chat *chat = context;
    output_progress(&chat->output, "prompt tokens", done, total);
    return !interrupt_seen();
}

static bool on_token(void *context, int32_t id)
{
    struct chat *chat = context;
    struct token_list *ids = &chat->conversation.ids;
    if (tokenizer_is_end(chat->engine.tokenizer, id))
        return false;
    notices_watch(&chat->notices, (int64_t)ids->n + 1, arrlen(chat->stream.text) > 0);
    chat->failed =
        stream_token(&chat->stream, id, chat->err) != 0 || token_list_add(ids, id, chat->err) != 0;
    /* Without a template a reply is a paragraph. */
    bool ended = !chat->template.family && arrlen(chat->stream.text) > 0 &&
                 arrlast(chat->stream.text) == '\n';
    return !chat->failed && !ended && !chat->stream.stopped && !interrupt_seen();
}

static int write_reply(struct chat *chat, struct error *err)
{
    const struct generate *run = &chat->last;
    if (!chat->options.json) {
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
    cJSON_AddNumberToObject(object, "position", (double)chat->conversation.session.position);
    cJSON_AddNumberToObject(object, "turns_left", conversation_turns_left(&chat->conversation));
    notices_json(&chat->notices, object);
    return output_json(object, err);
}

/* Says which turns have left since the last time. */
static void note_turns_left(struct chat *chat)
{
    int left = conversation_turns_left(&chat->conversation);
    if (left == chat->turns_left + 1)
        output_note(&chat->output, "[turn %d has left what the model sees]", left);
    else if (left > chat->turns_left)
        output_note(&chat->output, "[turns %d to %d have left what the model sees]",
                    chat->turns_left + 1, left);
    chat->turns_left = left;
}

static void note_reply(struct chat *chat, bool was_past)
{
    const struct generate *run = &chat->last;
    if (!was_past && chat->notices.past_training && chat->conversation.chosen)
        output_note(&chat->output, "[that is chat's choice for this model; --context all keeps "
                                   "all in sight]");
    note_turns_left(chat);
    if (chat->options.verbose)
        output_note(&chat->output,
                    "prompt %lld tokens in %.2f s; new %lld tokens in %.2f s, %lld of %lld guesses "
                    "right; %lld tokens so far, cache %s%s",
                    (long long)run->prompt_tokens, run->prompt_seconds, (long long)run->new_tokens,
                    run->new_seconds, (long long)run->accepted_tokens,
                    (long long)run->guessed_tokens, (long long)chat->conversation.session.position,
                    output_size((double)cache_bytes(&chat->conversation.session.cache)).text,
                    chat->notices.past_training ? ", past the training length" : "");
}

/* Of the tokens from `start` on, how many spell what came before the stop text. */
static int64_t before_stop(const struct chat *chat, int64_t start)
{
    const struct token_list *ids = &chat->conversation.ids;
    struct detokenizer decoder = {.tokenizer = chat->engine.tokenizer};
    char *scratch = malloc(detokenizer_bound(decoder.tokenizer));
    size_t length = 0;
    size_t n = scratch ? (size_t)start : ids->n;
    while (n < ids->n && (length += detokenizer_feed(&decoder, ids->ids[n], scratch)) <=
                             arrlenu(chat->stream.text))
        n++;
    free(scratch);
    return (int64_t)n;
}

/* All tokens that the session has not been fed are the prompt. */
static int generate_reply(struct chat *chat, struct error *err)
{
    struct conversation *c = &chat->conversation;
    int64_t start = (int64_t)c->ids.n;
    bool was_past = chat->notices.past_training;
    if (conversation_prepare(c, err))
        return -1;
    int64_t fed = c->session.position;
    int64_t read = start - fed;
    if (notices_plan(&chat->notices, read, chat->options.n_tokens, err))
        return -1;
    if (fed == 0 && conversation_n_turns(c) > 1)
        output_note(&chat->output, "reading the conversation again");
    notices_watch(&chat->notices, start, false);
    chat->failed = false;
    chat->err = err;
    chat->last = (struct generate){
        .session = &c->session,
        .sampler = &c->sampler,
        .lookup = chat->options.no_lookup ? NULL : &c->lookup,
        .max_tokens = chat->options.n_tokens > 0 ? chat->options.n_tokens : -1,
        .progress = on_progress,
        .emit = on_token,
        .context = chat,
    };
    /* The reply joins the list that has the prompt, which has been read by then. */
    if (generate(&chat->last, c->ids.ids + fed, read, err) || chat->failed ||
        stream_end(&chat->stream, err) || write_reply(chat, err))
        return -1;
    if (chat->stream.stopped)
        conversation_shorten(c, before_stop(chat, start));
    size_t length = arrlenu(chat->stream.text);
    while (!chat->template.family && length > 0 && chat->stream.text[length - 1] == '\n')
        length--;
    conversation_add(c, CHAT_ASSISTANT, length > 0 ? chat->stream.text : "", length, start);
    if (chat->last.prompt_tokens < read)
        output_note(&chat->output,
                    "[interrupted: %lld of %lld tokens read; the rest comes with the next turn, "
                    "/undo takes this one back]",
                    (long long)chat->last.prompt_tokens, (long long)read);
    note_reply(chat, was_past);
    return 0;
}

int reply_again(struct chat *chat, struct error *err)
{
    struct error ignored;
    int result = stream_open(&chat->stream, chat->engine.tokenizer, &chat->options, false, err);
    if (result == 0)
        result = generate_reply(chat, err);
    stream_close(&chat->stream);
    if (result) {
        conversation_take_turn(&chat->conversation, &ignored);
        return chat->terminal ? error_prefix(err, "the turn is taken back") : -1;
    }
    /* A disk that is full ends no conversation. */
    struct error unsaved;
    if (keep_save_turn(&chat->keep, &chat->conversation, &unsaved))
        output_note(&chat->output, "%s", unsaved.text);
    return 0;
}

int reply_to(struct chat *chat, const char *text, size_t length, struct error *err)
{
    return conversation_ask(&chat->conversation, text, length, err) ? -1 : reply_again(chat, err);
}
