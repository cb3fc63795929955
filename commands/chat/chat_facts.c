/* chat_facts: the commands that say how things are: /stats, /context. */
#include "commands/chat/chat_commands.h"

enum { FACT_BYTES = 400 };

int slash_stats(struct chat *chat, const char *argument, struct error *err)
{
    const struct conversation *c = &chat->conversation;
    const struct generate *last = &chat->last;
    (void)argument;
    (void)err;
    chat_say(chat, "conversation   %d turns, %lld tokens", conversation_n_turns(c),
             (long long)c->ids.n);
    if (last->session) {
        chat_say(chat, "last prompt    %lld tokens, %.1f tokens/s", (long long)last->prompt_tokens,
                 output_speed(last->prompt_tokens, last->prompt_seconds));
        chat_say(chat, "last reply     %lld tokens, %.1f tokens/s; %lld of %lld guesses right",
                 (long long)last->new_tokens, output_speed(last->new_tokens, last->new_seconds),
                 (long long)last->accepted_tokens, (long long)last->guessed_tokens);
    }
    chat_say(chat, "memory         %s, %s of it the cache",
             output_size((double)session_bytes(&c->session)).text,
             output_size((double)cache_bytes(&c->session.cache)).text);
    return 0;
}

int slash_context(struct chat *chat, const char *argument, struct error *err)
{
    const struct conversation *c = &chat->conversation;
    const struct session *session = &c->session;
    int train_length = chat->engine.train_length;
    char text[FACT_BYTES];
    int64_t sinks;
    int64_t first;
    (void)argument;
    (void)err;
    context_text(&session->context, text, sizeof text);
    chat_say(chat, "policy           %s%s", text,
             c->chosen ? " (chat's choice for this model; --context all keeps all)" : "");
    if (session->context.sinks > 0)
        chat_say(chat,
                 "sinks            the first %lld tokens stay; %lld come before your first word%s",
                 (long long)session->context.sinks, (long long)c->lead,
                 conversation_system(c) ? ", the system message with them" : "");
    if (train_length > 0) {
        notices_past_text(&chat->engine, text, sizeof text);
        chat_say(chat, "training length  %d tokens; past it: %s", train_length, text);
    } else {
        chat_say(chat, "training length  not known (see --train-length)");
    }
    int64_t left = notices_left(&chat->engine, session->position, &sinks, &first);
    chat_say(chat, "tokens           %lld, of which %lld have left", (long long)session->position,
             (long long)left);
    chat_say(chat, "turns            %d, of which %d have left", conversation_n_turns(c),
             conversation_turns_left(c));
    chat_say(chat, "cache            %s now, %.0f bytes a token (%s)",
             output_size((double)cache_bytes(&session->cache)).text,
             cache_token_bytes(&session->cache), format_info[session->cache.format].name);
    return 0;
}
