/* canonical: see canonical.h. */
#include "tokenizer/chat/canonical.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

struct canonical {
    const char *at, *end; /* what is left of the template */
    char *out;
    size_t n;
};

static bool sees(const struct canonical *text, const char *part)
{
    size_t length = strlen(part);
    return (size_t)(text->end - text->at) >= length && memcmp(text->at, part, length) == 0;
}

static void put(struct canonical *text, const char *part)
{
    size_t length = strlen(part);
    memcpy(text->out + text->n, part, length);
    text->n += length;
}

static void put_character(struct canonical *text, char c)
{
    if (c == '\n')
        put(text, "\\n");
    else
        text->out[text->n++] = c;
}

static bool ends_with(const struct canonical *text, const char *part)
{
    size_t length = strlen(part);
    return text->n >= length && memcmp(text->out + text->n - length, part, length) == 0;
}

/* A string literal, joined to the one before where only a + stood between them. */
static void copy_literal(struct canonical *text)
{
    char quote = *text->at++;
    if (ends_with(text, "'+"))
        text->n -= 2;
    else
        put(text, "'");
    while (text->at < text->end && *text->at != quote) {
        if (*text->at == '\\' && text->end - text->at > 1) {
            text->at++;
            if (*text->at != '"' && *text->at != '\'')
                put(text, "\\");
        }
        put_character(text, *text->at++);
    }
    text->at += text->at < text->end;
    put(text, "'");
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* What is written in several ways, and how it stands here. */
static bool copy_alias(struct canonical *text)
{
    static const char *const aliases[][2] = {
        {".role", "['role']"}, {".content", "['content']"}, {".strip()", "|trim"}};
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        size_t length = strlen(aliases[i][0]);
        if (!sees(text, aliases[i][0]) ||
            (text->at + length < text->end && is_word(text->at[length])))
            continue;
        put(text, aliases[i][1]);
        text->at += length;
        return true;
    }
    return false;
}

/* A tag; `close` ends it. Returns how the text behind it begins: '-' without white space, '%'
 * without one line end, '}' as it is. */
static char copy_tag(struct canonical *text, char kind)
{
    const char close[] = {kind == '{' ? '}' : kind, '}', '\0'};
    put(text, kind == '{' ? "{{" : "{%");
    text->at += 2;
    text->at += text->at < text->end && (*text->at == '-' || *text->at == '+');
    while (text->at < text->end && !sees(text, close)) {
        char c = *text->at;
        if (c == '-' && text->end - text->at > 1 && text->at[1] == close[0]) {
            text->at++;
            if (!sees(text, close))
                continue;
            text->at += 2;
            put(text, close);
            return '-';
        }
        if (c == '\'' || c == '"') {
            copy_literal(text);
        } else if (isspace((unsigned char)c)) {
            text->at++;
        } else if (!copy_alias(text)) {
            text->out[text->n++] = c;
            text->at++;
        }
    }
    text->at += text->at < text->end ? 2 : 0;
    put(text, close);
    return close[0];
}

/* Returns as copy_tag does. */
static char skip_comment(struct canonical *text)
{
    char last = '\0';
    while (text->at < text->end && !sees(text, "#}"))
        last = *text->at++;
    text->at += text->at < text->end ? 2 : 0;
    return last == '-' ? '-' : '%';
}

/* The text up to the next tag, as the white space control of both tags leaves it (trim_blocks and
 * lstrip_blocks are on). */
static void copy_text(struct canonical *text, char before)
{
    const char *from = text->at;
    while (text->at < text->end && !sees(text, "{{") && !sees(text, "{%") && !sees(text, "{#"))
        text->at++;
    const char *to = text->at;
    bool tag = to < text->end;
    char control = tag && text->end - to > 2 ? to[2] : '\0';
    if (before == '-') {
        while (from < to && isspace((unsigned char)*from))
            from++;
    } else if (before == '%' && from < to && *from == '\n') {
        from++;
    }
    if (tag && control == '-') {
        while (to > from && isspace((unsigned char)to[-1]))
            to--;
    } else if (tag && control != '+' && to[1] != '{') {
        const char *line = to;
        while (line > from && (line[-1] == ' ' || line[-1] == '\t'))
            line--;
        if (line == from ? before != '}' : line[-1] == '\n')
            to = line;
    } else if (!tag && to > from && to[-1] == '\n') {
        to--; /* a last line end is dropped */
    }
    while (from < to)
        put_character(text, *from++);
}

int canonical_make(char **canonical, struct text template, struct error *err)
{
    size_t room;
    if (!size_mul(template.length, 2, &room) || !size_add(room, 8, &room))
        return error_memory(err, "the chat template", SIZE_MAX);
    struct canonical text = {
        .at = template.bytes, .end = template.bytes, .out = size_alloc(room, 1)};
    if (!text.out)
        return error_memory(err, "the chat template", room);
    if (template.length > 0)
        text.end += template.length;
    char before = '%';
    while (text.at < text.end) {
        copy_text(&text, before);
        if (text.at < text.end)
            before = sees(&text, "{#") ? skip_comment(&text) : copy_tag(&text, text.at[1]);
    }
    text.out[text.n] = '\0';
    *canonical = text.out;
    return 0;
}
