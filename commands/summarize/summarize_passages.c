/* summarize_passages: where a text may be cut, and its passages. See summarize.h. */
#include <ctype.h>
#include <string.h>

#include "commands/array.h"
#include "commands/summarize/summarize.h"
#include "tokenizer/utf8.h"

/* ---- Borders --------------------------------------------------------------------------------- */

/* From the worst place to cut to the best. */
enum border { BORDER_NONE, BORDER_CHARACTER, BORDER_WORD, BORDER_LINE, BORDER_SENTENCE };

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool ends_with(const char *text, size_t at, const char *mark)
{
    size_t n = strlen(mark);
    return at >= n && memcmp(text + at - n, mark, n) == 0;
}

/* One of the marks, each a character between two spaces of the list, before `at`: its bytes. */
static size_t mark_before(const char *text, size_t at, const char *marks)
{
    char mark[UTF8_LONGEST + 1];
    while (*marks) {
        size_t n = strcspn(marks, " ");
        memcpy(mark, marks, n);
        mark[n] = '\0';
        if (ends_with(text, at, mark))
            return n;
        marks += n + (marks[n] == ' ');
    }
    return 0;
}

#define CLOSING "\" ' ) ] * _ ” ’ » 」 』 ）"
#define WIDE_STOPS "。 ！ ？"
#define STOPS ". ! ? … " WIDE_STOPS

/* "Mr.", "St.", "J.": a capital and up to two letters before the stop end no sentence. */
static bool is_abbreviation(const char *text, size_t stop)
{
    size_t letters = 0;
    while (letters < stop && letters < 4 && isalpha((unsigned char)text[stop - 1 - letters]))
        letters++;
    return letters > 0 && letters < 4 && isupper((unsigned char)text[stop - letters]);
}

/* Whether what stands before `at`, white space left out, ends a sentence. */
static bool ends_sentence(const char *text, size_t at, const char *stops)
{
    enum { MOST_CLOSING = 4 };
    size_t n = mark_before(text, at, CLOSING);
    for (int i = 0; n > 0 && i < MOST_CLOSING; i++) {
        at -= n;
        n = mark_before(text, at, CLOSING);
    }
    n = mark_before(text, at, stops);
    return n > 0 && !(text[at - 1] == '.' && is_abbreviation(text, at - 1));
}

/* What a cut before byte `at` of text[length] would part, 0 < at < length. White space belongs to
 * what stands before it. */
static enum border border_at(const char *text, size_t at)
{
    if (((unsigned char)text[at] & 0xC0) == 0x80)
        return BORDER_NONE;
    if (is_space(text[at]))
        return BORDER_CHARACTER;
    size_t end = at;
    int lines = 0;
    while (end > 0 && is_space(text[end - 1]))
        lines += text[--end] == '\n';
    if (end == at)
        return ends_sentence(text, end, WIDE_STOPS) ? BORDER_SENTENCE : BORDER_CHARACTER;
    if (lines > 1 || ends_sentence(text, end, STOPS))
        return BORDER_SENTENCE;
    return lines > 0 ? BORDER_LINE : BORDER_WORD;
}

/* ---- Passages -------------------------------------------------------------------------------- */

/* The index of the token that byte `at` belongs to. */
static size_t token_of(const struct document *document, size_t at)
{
    return document_tokens(document, (struct passage){0, at});
}

/* Where a passage ends that begins at `begin` and must reach beyond `least`. */
static size_t find_end(const struct document *document, size_t begin, size_t least, size_t most)
{
    size_t length = document->text.length;
    size_t last = token_of(document, begin) + most - 1;
    if (last >= document->ids.n - 1)
        return length;
    size_t hard = document->ends[last];
    size_t best = 0;
    enum border found = BORDER_NONE;
    /* A sentence may be given up to the next passage only as far as this one stays half full. */
    size_t half = document->ends[last - most / 2];
    for (size_t at = hard; at > least && at > begin; at--) {
        enum border border = border_at(document->text.bytes, at);
        if (at <= half && found > BORDER_CHARACTER)
            break;
        if (border > found) {
            best = at;
            found = border;
        }
        if (found == BORDER_SENTENCE)
            break;
    }
    if (found > BORDER_NONE)
        return best;
    /* One token spells what no cut may part. */
    for (best = hard > least ? hard : least + 1; best < length; best++)
        if (border_at(document->text.bytes, best) != BORDER_NONE)
            return best;
    return length;
}

/* Where the sentences begin that end at `end` and have `overlap` tokens or less. */
static size_t find_overlap(const struct document *document, size_t begin, size_t end,
                           size_t overlap)
{
    size_t found = end;
    for (size_t at = end - 1; at > begin; at--) {
        if (document_tokens(document, (struct passage){at, end}) > overlap)
            break;
        if (border_at(document->text.bytes, at) == BORDER_SENTENCE)
            found = at;
    }
    return found;
}

struct passage *passages_cut(const struct document *document, size_t most, size_t overlap)
{
    struct passage *passages = NULL;
    struct passage next = {0};
    while (next.end < document->text.length) {
        next.end = find_end(document, next.begin, next.end, most);
        arrput(passages, next);
        if (next.end < document->text.length)
            next.begin = find_overlap(document, next.begin, next.end, overlap);
    }
    return passages;
}
