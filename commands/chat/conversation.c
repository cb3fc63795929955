/* conversation: see conversation.h. */
#include "commands/chat/conversation.h"

#include <string.h>

#include "commands/array.h"
#include "commands/chat/chat_context.h"
#include "commands/notices.h"

/* --- turns ---------------------------------------------------------------------------------- */

void conversation_add(struct conversation *c, enum chat_role role, const char *text, size_t length,
                      int64_t start)
{
    char *copy = NULL;
    memcpy(arraddnptr(copy, length + 1), text, length); /* one more, so that it is never NULL */
    copy[length] = '\0';
    struct chat_turn turn = {role, {copy, length}};
    arrput(c->turns, turn);
    arrput(c->starts, start);
}

static void drop_last(struct conversation *c)
{
    char *copy = (char *)(uintptr_t)arrpop(c->turns).content.bytes;
    (void)arrpop(c->starts);
    arrfree(copy);
}

const struct text *conversation_system(const struct conversation *c)
{
    return arrlen(c->turns) > 0 && c->turns[0].role == CHAT_SYSTEM ? &c->turns[0].content : NULL;
}

const struct text *conversation_last_user(const struct conversation *c)
{
    for (ptrdiff_t i = arrlen(c->turns); i-- > 0;)
        if (c->turns[i].role == CHAT_USER)
            return &c->turns[i].content;
    return NULL;
}

int conversation_n_turns(const struct conversation *c)
{
    return (int)(arrlen(c->turns) + 1 - (conversation_system(c) != NULL)) / 2;
}

int conversation_turns_left(const struct conversation *c)
{
    int64_t sinks;
    int64_t first;
    int n = 0;
    if (notices_left(c->engine, c->session.position, &sinks, &first) == 0)
        return 0;
    for (ptrdiff_t i = 1; i < arrlen(c->turns); i++)
        n += c->turns[i].role == CHAT_ASSISTANT && i + 1 < arrlen(c->turns) &&
             c->starts[i + 1] <= first;
    return n;
}

/* --- turns as tokens ------------------------------------------------------------------------ */

static int encode(const struct conversation *c, struct text text, bool first,
                  struct token_list *ids, struct error *err)
{
    struct encode_options options = {.add_special = first};
    return tokenizer_encode(c->engine->tokenizer, text.bytes, text.length, options, ids, err);
}

static const struct text paragraph = {"\n\n", 2};

/* Without a template: turns are paragraphs. */
static int render_plain(const struct conversation *c, const struct chat_turn *turns, size_t n,
                        struct token_list *ids, struct error *err)
{
    for (size_t i = 0; i < n; i++)
        if (encode(c, turns[i].content, i == 0, ids, err) || encode(c, paragraph, false, ids, err))
            return -1;
    return 0;
}

static int render_plain_next(const struct conversation *c, struct token_list *ids,
                             struct error *err)
{
    struct text end = paragraph;
    if (c->ids.n > 0) {
        struct text last = tokenizer_piece(c->engine->tokenizer, c->ids.ids[c->ids.n - 1], false);
        end.length -= last.length > 0 && last.bytes[last.length - 1] == '\n';
    }
    return encode(c, end, false, ids, err) || encode(c, arrlast(c->turns).content, false, ids, err)
               ? -1
               : encode(c, paragraph, false, ids, err);
}

static int render(const struct conversation *c, const struct chat_turn *turns, size_t n,
                  struct token_list *ids, struct error *err)
{
    return c->template->family ? chat_render(c->template, c->engine->tokenizer, turns, n, ids, err)
                               : render_plain(c, turns, n, ids, err);
}

static int render_next(const struct conversation *c, struct token_list *ids, struct error *err)
{
    return c->template->family ? chat_render_next(c->template, c->engine->tokenizer, c->turns,
                                                  arrlenu(c->turns), ids, err)
                               : render_plain_next(c, ids, err);
}

/* How many tokens come before what the user says first. */
static int count_lead(const struct conversation *c, const struct text *system, int64_t *lead,
                      struct error *err)
{
    struct token_list texts[2] = {{0}};
    int result = 0;
    for (int i = 0; i < 2 && result == 0; i++) {
        struct chat_turn turns[2] = {{CHAT_SYSTEM, system ? *system : (struct text){"", 0}},
                                     {CHAT_USER, {i ? "b" : "a", 1}}};
        result = render(c, turns + !system, system ? 2 : 1, &texts[i], err);
    }
    *lead = 0;
    while (result == 0 && *lead < (int64_t)texts[0].n && *lead < (int64_t)texts[1].n &&
           texts[0].ids[*lead] == texts[1].ids[*lead])
        ++*lead;
    token_list_free(&texts[0]);
    token_list_free(&texts[1]);
    return result;
}

/* --- opening -------------------------------------------------------------------------------- */

int conversation_open(struct conversation *c, const struct engine *engine,
                      const struct options *options, const struct chat_template *template,
                      const struct context *asked, struct error *err)
{
    int vocab_size = engine->model.config.vocab_size;
    *c = (struct conversation){
        .engine = engine, .options = options, .template = template, .asked = asked};
    if (sampler_open(&c->sampler, &options->sampler, vocab_size, err) == 0 &&
        lookup_open(&c->lookup, vocab_size, err) == 0)
        return 0;
    conversation_close(c);
    return -1;
}

static void drop_all(struct conversation *c)
{
    while (arrlen(c->turns) > 0)
        drop_last(c);
    c->ids.n = 0;
}

void conversation_close(struct conversation *c)
{
    drop_all(c);
    arrfree(c->turns);
    arrfree(c->starts);
    token_list_free(&c->ids);
    lookup_close(&c->lookup);
    sampler_close(&c->sampler);
    session_close(&c->session);
    *c = (struct conversation){0};
}

int conversation_begin(struct conversation *c, const struct text *system,
                       const struct context *policy, struct error *err)
{
    struct session session;
    struct session_options wanted = {.kv = c->options->kv_type,
                                     .max_bytes = c->options->max_memory};
    int64_t lead;
    if (count_lead(c, system, &lead, err) ||
        (!policy && chat_context(c->engine, c->options, c->asked, lead, &wanted.context, err)))
        return -1;
    if (policy)
        wanted.context = *policy;
    if (session_open(&session, &c->engine->model, &wanted, err))
        return -1;
    struct chat_turn *old = c->turns; /* which may have `system` */
    c->turns = NULL;
    arrsetlen(c->starts, 0);
    if (system)
        conversation_add(c, CHAT_SYSTEM, system->bytes, system->length, 0);
    for (ptrdiff_t i = 0; i < arrlen(old); i++) {
        char *copy = (char *)(uintptr_t)old[i].content.bytes;
        arrfree(copy);
    }
    arrfree(old);
    session_close(&c->session);
    c->session = session;
    c->lead = lead;
    c->chosen = !policy && !c->asked && session.context.kind != CONTEXT_ALL;
    c->ids.n = 0;
    sampler_look_back(&c->sampler, NULL, 0);
    return 0;
}

/* --- going back ----------------------------------------------------------------------------- */

/* The text is the first n tokens, of which the session keeps `fed` at most: where it cannot go back
 * to there, none. */
static int go_back(struct conversation *c, int64_t n, int64_t fed, struct error *err)
{
    struct error ignored;
    if (c->session.position > fed && session_truncate(&c->session, fed, &ignored) &&
        session_truncate(&c->session, 0, err))
        return -1;
    c->ids.n = (size_t)n;
    sampler_look_back(&c->sampler, c->ids.ids, c->session.position);
    return 0;
}

/* The text is `whole`, and places of turns are those in it. False where the session cannot go back
 * to where they part; nothing has changed then. */
static bool replace_all(struct conversation *c, struct token_list *whole)
{
    struct error ignored;
    struct token_list old = c->ids;
    size_t both = old.n < whole->n ? old.n : whole->n;
    size_t same = 0, tail = 0;
    while (same < both && old.ids[same] == whole->ids[same])
        same++;
    while (same + tail < both && old.ids[old.n - 1 - tail] == whole->ids[whole->n - 1 - tail])
        tail++;
    if (c->session.position > (int64_t)same &&
        session_truncate(&c->session, (int64_t)same, &ignored))
        return false;
    int64_t behind = (int64_t)(old.n - tail), behind_now = (int64_t)(whole->n - tail);
    for (ptrdiff_t i = 0; i < arrlen(c->starts); i++)
        if (c->starts[i] >= behind)
            c->starts[i] += behind_now - behind;
        else if (c->starts[i] > behind_now)
            c->starts[i] = behind_now;
    c->ids = *whole;
    *whole = old;
    sampler_look_back(&c->sampler, c->ids.ids, c->session.position);
    return true;
}

/* Whether a turn behind the last one changes what the template makes of those before it. */
static bool next_rewrites(const struct conversation *c)
{
    return c->template->family && chat_rewrites(c->template, c->turns, arrlenu(c->turns) + 1);
}

int conversation_take_reply(struct conversation *c, struct error *err)
{
    int64_t start = arrlast(c->starts);
    bool rewritten = next_rewrites(c); /* perhaps, by a turn that has been taken back */
    drop_last(c);
    if (rewritten) {
        struct token_list whole = {0};
        bool replaced =
            render(c, c->turns, arrlenu(c->turns), &whole, err) == 0 && replace_all(c, &whole);
        token_list_free(&whole);
        if (replaced)
            return 0;
    }
    return go_back(c, start, start - 1, err);
}

int conversation_take_turn(struct conversation *c, struct error *err)
{
    if (arrlast(c->turns).role == CHAT_ASSISTANT)
        drop_last(c);
    int64_t start = arrlast(c->starts);
    drop_last(c);
    return go_back(c, start, start, err);
}

void conversation_shorten(struct conversation *c, int64_t n)
{
    struct error ignored;
    if (c->session.position <= n || session_truncate(&c->session, n, &ignored) == 0)
        c->ids.n = (size_t)n;
}

/* --- going on ------------------------------------------------------------------------------- */

/* Adds the tokens of the last turn. */
static int add_tokens(struct conversation *c, bool rewrites, struct error *err)
{
    struct token_list whole = {0};
    size_t before = c->ids.n;
    int result;
    if (before == 0)
        result = render(c, c->turns, arrlenu(c->turns), &c->ids, err);
    else
        result = render_next(c, &c->ids, err);
    if (result == 0 && before > 0 && rewrites) {
        result = render(c, c->turns, arrlenu(c->turns), &whole, err);
        if (result == 0)
            replace_all(c, &whole);
    }
    if (result)
        c->ids.n = before;
    token_list_free(&whole);
    return result;
}

int conversation_ask(struct conversation *c, const char *text, size_t length, struct error *err)
{
    bool rewrites = next_rewrites(c);
    conversation_add(c, CHAT_USER, text, length, (int64_t)c->ids.n);
    if (add_tokens(c, rewrites, err) == 0) {
        session_hold(&c->session);
        return 0;
    }
    drop_last(c);
    return -1;
}

int conversation_prepare(struct conversation *c, struct error *err)
{
    int64_t n = (int64_t)c->ids.n;
    return c->session.position < n ? 0 : go_back(c, n, n - 1, err);
}
