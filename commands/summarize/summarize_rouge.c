/* summarize_rouge: how much a summary has in common with a reference. See summarize.h. */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "commands/array.h"
#include "commands/hash.h"
#include "commands/summarize/summarize.h"
#include "tokenizer/utf8.h"

/* What a character is to words. */
enum kind { SEPARATOR, LETTER, WORD };

/* Bytes of the character at text[0], and what it is: ASCII is as rouge-score has it; of what is
 * beyond, the blocks of punctuation part words, and each of the characters that are written without
 * spaces is one (kana and Han). */
static size_t read_character(struct text text, enum kind *kind)
{
    const unsigned char *b = (const unsigned char *)text.bytes;
    int length = utf8_length(text.bytes, text.length);
    if (length <= 1) {
        *kind = b[0] < 0x80 && isalnum(b[0]) ? LETTER : SEPARATOR;
        return 1;
    }
    bool punctuation = b[0] == 0xC2 || (b[0] == 0xE2 && b[1] < 0xB0) ||
                       (b[0] == 0xE3 && b[1] == 0x80) || (b[0] == 0xEF && b[1] >= 0xB8);
    bool alone = b[0] >= 0xE3 && b[0] <= 0xE9;
    *kind = punctuation ? SEPARATOR : alone ? WORD : LETTER;
    return (size_t)length;
}

static void end_word(uint64_t **words, char **word)
{
    if (arrlen(*word) > 0)
        arrput(*words, hash_bytes(HASH_START, *word, arrlenu(*word)));
    arrsetlen(*word, 0);
}

/* The words of a text as their hashes; an array of stb_ds. */
static uint64_t *split(struct text text)
{
    uint64_t *words = NULL;
    char *word = NULL;
    while (text.length > 0) {
        enum kind kind;
        size_t n = read_character(text, &kind);
        if (kind != LETTER)
            end_word(&words, &word);
        for (size_t i = 0; i < n && kind != SEPARATOR; i++)
            arrput(word, (char)tolower((unsigned char)text.bytes[i]));
        if (kind == WORD)
            end_word(&words, &word);
        text = (struct text){text.bytes + n, text.length - n};
    }
    end_word(&words, &word);
    arrfree(word);
    return words;
}

static struct rouge rate(double common, double candidate, double reference)
{
    struct rouge rouge = {0};
    if (!(common > 0))
        return rouge;
    rouge.precision = common / candidate;
    rouge.recall = common / reference;
    rouge.f1 = 2 * rouge.precision * rouge.recall / (rouge.precision + rouge.recall);
    return rouge;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The hashes of all runs of n words, sorted; an array of stb_ds. */
static uint64_t *grams(const uint64_t *words, ptrdiff_t n)
{
    uint64_t *found = NULL;
    for (ptrdiff_t i = 0; i + n <= arrlen(words); i++)
        arrput(found, hash_bytes(HASH_START, words + i, (size_t)n * sizeof *words));
    if (found)
        qsort(found, arrlenu(found), sizeof *found, compare);
    return found;
}

/* Each counts as often as it stands in both. */
static struct rouge rouge_n(const uint64_t *candidate, const uint64_t *reference, ptrdiff_t n)
{
    uint64_t *a = grams(candidate, n);
    uint64_t *b = grams(reference, n);
    double common = 0;
    for (ptrdiff_t i = 0, j = 0; i < arrlen(a) && j < arrlen(b);) {
        if (a[i] == b[j]) {
            common++;
            i++;
            j++;
        } else if (a[i] < b[j]) {
            i++;
        } else {
            j++;
        }
    }
    struct rouge rouge = rate(common, (double)arrlen(a), (double)arrlen(b));
    arrfree(a);
    arrfree(b);
    return rouge;
}

/* By the longest common subsequence, a row of its table at a time. */
static int rouge_l(const uint64_t *candidate, const uint64_t *reference, struct rouge *rouge,
                   struct error *err)
{
    size_t n = arrlenu(reference);
    size_t *row = calloc(n + 1, sizeof *row);
    if (!row)
        return error_memory(err, "ROUGE-L", (n + 1) * sizeof *row);
    for (ptrdiff_t i = 0; i < arrlen(candidate); i++) {
        size_t diagonal = 0;
        for (size_t j = 0; j < n; j++) {
            size_t above = row[j + 1];
            if (candidate[i] == reference[j])
                row[j + 1] = diagonal + 1;
            else if (row[j] > above)
                row[j + 1] = row[j];
            diagonal = above;
        }
    }
    *rouge = rate((double)row[n], (double)arrlen(candidate), (double)n);
    free(row);
    return 0;
}

int rouge_score(struct text candidate, struct text reference, struct rouge scores[3],
                struct error *err)
{
    uint64_t *a = split(candidate);
    uint64_t *b = split(reference);
    scores[0] = rouge_n(a, b, 1);
    scores[1] = rouge_n(a, b, 2);
    int result = rouge_l(a, b, &scores[2], err);
    arrfree(a);
    arrfree(b);
    return result;
}
