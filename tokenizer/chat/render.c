/* render: turns to tokens, as the family's row says. */
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "tokenizer/chat/families.h"
#include "tokenizer/internal.h"
#include "tokenizer/utf8.h"

struct script {
    const struct chat_template *template;
    const struct chat_family *family;
    const struct tokenizer *tokenizer;
    struct segment *segments;
    size_t n, room;
    struct text system;  /* without the family's words */
    char *system_buffer; /* where those are taken out */
    struct error *err;
};

static const char thought_end[] = "</think>";

/* ---- segments ---- */

static int add_segment(struct script *script, const char *bytes, size_t length, bool markup)
{
    if (script->n == script->room) {
        size_t room, size;
        if (!size_add(script->room, script->room / 2 + 64, &room) ||
            !size_mul(room, sizeof *script->segments, &size))
            return error_memory(script->err, "the conversation", SIZE_MAX);
        struct segment *segments = realloc(script->segments, size);
        if (!segments)
            return error_memory(script->err, "the conversation", size);
        script->segments = segments;
        script->room = room;
    }
    script->segments[script->n++] = (struct segment){.text = {bytes, length}, .markup = markup};
    return 0;
}

static int add_markup(struct script *script, const char *markup)
{
    while (*markup) {
        size_t plain = strcspn(markup, "\1\2\3");
        if (plain > 0 && add_segment(script, markup, plain, true))
            return -1;
        markup += plain;
        if (!*markup)
            break;
        char mark = *markup++;
        struct text text = {script->template->date, strlen(script->template->date)};
        if (mark != '\3')
            text = tokenizer_piece(script->tokenizer,
                                   mark == '\1' ? tokenizer_bos(script->tokenizer)
                                                : tokenizer_eos(script->tokenizer),
                                   true);
        if (add_segment(script, text.bytes, text.length, true))
            return -1;
    }
    return 0;
}

/* ---- trimming ---- */

/* What Python's str.strip takes for white space. */
static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

/* The character that starts at `bytes` if it is white space: its length, otherwise 0. */
static size_t space_length(const char *bytes, size_t left)
{
    const unsigned char *b = (const unsigned char *)bytes;
    int length = left > 0 ? utf8_length(bytes, left) : 0;
    uint32_t c = length == 1   ? b[0]
                 : length == 2 ? (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu)
                 : length == 3 ? (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu)
                               : 0;
    return length > 0 && is_space(c) ? (size_t)length : 0;
}

static struct text trim_left(struct text text, bool newlines_only)
{
    size_t n;
    while ((n = space_length(text.bytes, text.length)) > 0 &&
           (!newlines_only || text.bytes[0] == '\n')) {
        text.bytes += n;
        text.length -= n;
    }
    return text;
}

static struct text trim_right(struct text text)
{
    for (;;) {
        size_t n = 1;
        while (n < 3 && n < text.length &&
               ((unsigned char)text.bytes[text.length - n] & 0xC0) == 0x80)
            n++;
        if (text.length < n || space_length(text.bytes + text.length - n, n) != n)
            return text;
        text.length -= n;
    }
}

/* Trims the segments from `from` on as the one text that they are. */
static void trim_segments(struct script *script, size_t from, enum chat_trim trim)
{
    struct segment *segments = script->segments;
    for (size_t i = from; i < script->n && (trim == TRIM_BOTH || trim == TRIM_NEWLINES); i++) {
        segments[i].text = trim_left(segments[i].text, trim == TRIM_NEWLINES);
        if (segments[i].text.length > 0)
            break;
    }
    for (size_t i = script->n; i > from && (trim == TRIM_BOTH || trim == TRIM_RIGHT); i--) {
        segments[i - 1].text = trim_right(segments[i - 1].text);
        if (segments[i - 1].text.length > 0)
            break;
    }
}

static struct text cut_thought(struct text text, enum chat_thought thought)
{
    const size_t end = sizeof thought_end - 1;
    bool cut = false;
    const char *found;
    while (thought != THOUGHT_KEPT && text.length > 0 &&
           (found = memmem(text.bytes, text.length, thought_end, end))) {
        text.length -= (size_t)(found + end - text.bytes);
        text.bytes = found + end;
        cut = true;
    }
    return cut && thought == THOUGHT_CUT_CLEAN ? trim_left(text, true) : text;
}

/* ---- the system text ---- */

static bool contains(struct text text, const char *word)
{
    return text.length > 0 && memmem(text.bytes, text.length, word, strlen(word));
}

static void erase_word(char *bytes, size_t *length, const char *word)
{
    size_t word_length = strlen(word), to = 0;
    for (size_t at = 0; at < *length;) {
        if (*length - at >= word_length && memcmp(bytes + at, word, word_length) == 0)
            at += word_length;
        else
            bytes[to++] = bytes[at++];
    }
    *length = to;
}

/* Chooses the row, and takes its words out of the system text. */
static int prepare_system(struct script *script, struct text system)
{
    const struct chat_family *family = script->family;
    script->system = system;
    if (family->refused_word && contains(system, family->refused_word))
        return error_set(script->err, "chat: the system message has \"%s\", which is not supported",
                         family->refused_word);
    if (!family->words[0] || system.length == 0)
        return 0;
    if (family->switched && contains(system, family->words[0])) {
        for (size_t i = 0; i < n_chat_families; i++) {
            if (strcmp(chat_families[i].name, family->switched) == 0)
                script->family = &chat_families[i];
        }
    }
    script->system_buffer = size_alloc(system.length, 1);
    if (!script->system_buffer)
        return error_memory(script->err, "the system message", system.length);
    memcpy(script->system_buffer, system.bytes, system.length);
    for (size_t i = 0; i < 2 && family->words[i]; i++)
        erase_word(script->system_buffer, &system.length, family->words[i]);
    script->system = trim_right((struct text){script->system_buffer, system.length});
    return 0;
}

/* `said`: there is a system turn. */
static int add_system(struct script *script, bool said)
{
    const struct chat_family *family = script->family;
    bool is_default = !said || (family->words[0] && script->system.length == 0);
    if ((is_default && !family->default_system) ||
        (family->system == SYSTEM_IF_SAID && script->system.length == 0))
        return 0;
    if (add_markup(script, family->before[CHAT_SYSTEM]))
        return -1;
    size_t from = script->n;
    const char *own = script->template->default_system;
    if (!is_default ? add_segment(script, script->system.bytes, script->system.length, false)
        : own       ? add_segment(script, own, strlen(own), true)
                    : add_markup(script, family->default_system))
        return -1;
    if (!is_default)
        trim_segments(script, from, family->trims[CHAT_SYSTEM]);
    return add_markup(script, family->after[CHAT_SYSTEM]);
}

/* ---- turns ---- */

static int add_turn(struct script *script, const struct chat_turn *turn, bool nests)
{
    const struct chat_family *family = script->family;
    struct text content = turn->content;
    if (add_markup(script, family->before[turn->role]))
        return -1;
    size_t from = script->n;
    if (nests && add_system(script, true))
        return -1;
    if (!family->trims_whole)
        from = script->n;
    if (turn->role == CHAT_ASSISTANT)
        content = cut_thought(content, family->thought);
    if (add_segment(script, content.bytes, content.length, false))
        return -1;
    trim_segments(script, from, family->trims[turn->role]);
    return add_markup(script, family->after[turn->role]);
}

static int add_turns(struct script *script, const struct chat_turn *turns, size_t n)
{
    const struct chat_family *family = script->family;
    bool said = turns[0].role == CHAT_SYSTEM;
    bool in_first = family->system == SYSTEM_IN_FIRST, in_last = family->system == SYSTEM_IN_LAST;
    if (script->template->bos && add_markup(script, "\1"))
        return -1;
    if (!in_first && !in_last && add_system(script, said))
        return -1;
    for (size_t i = said; i < n; i++) {
        bool nests = said && ((in_first && i == 1) || (in_last && i + 1 == n));
        if (add_turn(script, &turns[i], nests))
            return -1;
    }
    return add_markup(script, family->reply);
}

static int check_turns(const struct chat_family *family, const struct chat_turn *turns, size_t n,
                       struct error *err)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    for (size_t i = 1; i < n; i++) {
        if (turns[i].role == CHAT_SYSTEM)
            return error_set(err, "chat: turn %zu is a system turn, expected only as the first",
                             i + 1);
    }
    if (n == 0 || turns[n - 1].role != CHAT_USER)
        return error_set(err, "chat: the last turn is the %s's, expected the user's",
                         n > 0 ? roles[turns[n - 1].role] : "nobody");
    bool said = turns[0].role == CHAT_SYSTEM;
    if (said && family->system == SYSTEM_REFUSED)
        return error_set(err, "chat: the template %s has no place for a system message",
                         family->name);
    for (size_t i = said; i < n && family->alternates; i++) {
        enum chat_role role = (i - said) % 2 == 0 ? CHAT_USER : CHAT_ASSISTANT;
        if (turns[i].role != role)
            return error_set(err, "chat: turn %zu is the %s's, expected the %s's (template %s)",
                             i + 1, roles[turns[i].role], roles[role], family->name);
    }
    return 0;
}

/* ---- the conversation ---- */

static int add_next(struct script *script, const struct chat_turn *turns, size_t n)
{
    const struct chat_family *family = script->family;
    const char *end = family->after[CHAT_ASSISTANT];
    bool nests = family->system == SYSTEM_IN_LAST && turns[0].role == CHAT_SYSTEM;
    return add_markup(script, end + strspn(end, " \n")) || add_turn(script, &turns[n - 1], nests)
               ? -1
               : add_markup(script, family->reply);
}

static int render(const struct chat_template *template, const struct tokenizer *tokenizer,
                  const struct chat_turn *turns, size_t n_turns,
                  int add(struct script *script, const struct chat_turn *turns, size_t n),
                  struct token_list *ids, struct error *err)
{
    if (check_turns(template->family, turns, n_turns, err) != 0)
        return -1;
    struct script script = {
        .template = template, .family = template->family, .tokenizer = tokenizer, .err = err};
    bool said = turns[0].role == CHAT_SYSTEM;
    int result = prepare_system(&script, said ? turns[0].content : (struct text){0});
    if (result == 0)
        result = add(&script, turns, n_turns);
    if (result == 0)
        result = tokenizer_encode_segments(tokenizer, script.segments, script.n, false, ids, err);
    free(script.segments);
    free(script.system_buffer);
    return result;
}

int chat_render(const struct chat_template *template, const struct tokenizer *tokenizer,
                const struct chat_turn *turns, size_t n_turns, struct token_list *ids,
                struct error *err)
{
    return render(template, tokenizer, turns, n_turns, add_turns, ids, err);
}

int chat_render_next(const struct chat_template *template, const struct tokenizer *tokenizer,
                     const struct chat_turn *turns, size_t n_turns, struct token_list *ids,
                     struct error *err)
{
    return render(template, tokenizer, turns, n_turns, add_next, ids, err);
}

bool chat_rewrites(const struct chat_template *template, const struct chat_turn *turns,
                   size_t n_turns)
{
    const struct chat_family *family = template->family;
    if (n_turns < 3)
        return false;
    return (family->system == SYSTEM_IN_LAST && turns[0].role == CHAT_SYSTEM) ||
           (family->thought != THOUGHT_KEPT && contains(turns[n_turns - 2].content, thought_end));
}
