/* special: tokens that are found whole in a text (control tokens such as <|im_end|>, user-defined
 * ones such as runs of spaces). At each place the longest wins, and the leftmost place goes first:
 * what the Hugging Face tokenizers do. llama.cpp looks for the longest token of all first; the two
 * differ only where one special token begins inside another. */
#include "tokenizer/special.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"

static bool is_special(uint8_t kind)
{
    return kind == TOKEN_CONTROL || kind == TOKEN_UNKNOWN || kind == TOKEN_USER_DEFINED;
}

static int compare_pieces(const void *a, const void *b, void *pieces)
{
    const struct text *all = pieces;
    int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    int order = text_compare(all[left], all[right]);
    return order != 0 ? order : (left > right) - (left < right);
}

int special_init(struct special *special, const struct vocabulary *vocabulary, struct error *err)
{
    size_t n = 0;
    for (int32_t id = 0; id < vocabulary->n_tokens; id++)
        n += is_special(vocabulary->kinds[id]);
    special->ids = size_alloc(n, sizeof *special->ids);
    if (!special->ids)
        return error_memory(err, "special tokens", n * sizeof *special->ids);
    for (int32_t id = 0; id < vocabulary->n_tokens; id++) {
        struct text piece = vocabulary->pieces[id];
        if (!is_special(vocabulary->kinds[id]) || piece.length == 0)
            continue;
        special->ids[special->n++] = id;
        special->n_user_defined += vocabulary->kinds[id] == TOKEN_USER_DEFINED;
        special->first[(unsigned char)piece.bytes[0]] = true;
    }
    qsort_r(special->ids, special->n, sizeof *special->ids, compare_pieces, vocabulary->pieces);
    return 0;
}

void special_free(struct special *special)
{
    free(special->ids);
    *special = (struct special){0};
}

/* The first of ids[low, high) whose byte at `depth` is >= byte (those that end before it come
 * first). */
static size_t lower_bound(const struct special *special, const struct vocabulary *vocabulary,
                          size_t low, size_t high, size_t depth, int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct text piece = vocabulary->pieces[special->ids[middle]];
        int found = depth < piece.length ? (unsigned char)piece.bytes[depth] : -1;
        if (found < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int32_t special_match(const struct special *special, const struct vocabulary *vocabulary,
                      const char *text, size_t length, size_t markup_length)
{
    int32_t best = -1;
    if (!special->first[(unsigned char)text[0]])
        return best;
    size_t low = 0, high = special->n;
    for (size_t depth = 0; depth < length && low < high; depth++) {
        int byte = (unsigned char)text[depth];
        low = lower_bound(special, vocabulary, low, high, depth, byte);
        high = lower_bound(special, vocabulary, low, high, depth, byte + 1);
        for (size_t i = low; i < high && vocabulary->pieces[special->ids[i]].length == depth + 1;
             i++) {
            if (vocabulary->kinds[special->ids[i]] != TOKEN_USER_DEFINED && depth >= markup_length)
                continue;
            best = special->ids[i];
            break;
        }
    }
    return best;
}
