/* test_merge: joins against the definition of BPE, written out as it is read: look at all pairs,
 * join the best, the leftmost of equals, and start again. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/tokenizer/toy.h"

enum { N_WORDS = 60, WORD_BYTES = 8, TEXT_BYTES = 80 };

/* Symbols of a text as offsets: symbol i is text[starts[i], starts[i + 1]). */
struct symbols {
    const char *text;
    size_t starts[TEXT_BYTES + 2];
    size_t n;
};

static void join_symbols(struct symbols *symbols, size_t left)
{
    memmove(&symbols->starts[left + 1], &symbols->starts[left + 2],
            (symbols->n - left - 1) * sizeof symbols->starts[0]);
    symbols->n--;
}

/* words[i] is token first + i; its rank is worth[i], the lower the better, or -1 for no such word.
 */
static int find_word(char words[][WORD_BYTES + 1], const char *bytes, size_t length)
{
    for (int i = 0; i < N_WORDS; i++) {
        if (strlen(words[i]) == length && memcmp(words[i], bytes, length) == 0)
            return i;
    }
    return -1;
}

/* The next pair to join; by_split: the pair must be the two parts that the word was made of. */
static int best_pair(const struct symbols *symbols, char words[][WORD_BYTES + 1],
                     const size_t *splits, const int *ranks, size_t *best)
{
    int found = -1;
    for (size_t i = 0; i + 1 < symbols->n; i++) {
        size_t start = symbols->starts[i], end = symbols->starts[i + 2];
        int word = find_word(words, symbols->text + start, end - start);
        if (word < 0 || (splits && splits[word] != symbols->starts[i + 1] - start))
            continue;
        if (found < 0 || ranks[word] < ranks[found]) {
            found = word;
            *best = i;
        }
    }
    return found;
}

static void describe(const struct symbols *symbols, char words[][WORD_BYTES + 1], int first,
                     const int32_t *letters, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < symbols->n; i++) {
        const char *start = symbols->text + symbols->starts[i];
        size_t length = symbols->starts[i + 1] - symbols->starts[i];
        int word = find_word(words, start, length);
        int id = word >= 0 ? first + word : letters[(unsigned char)*start];
        used += (size_t)snprintf(out + used, 8, i > 0 ? " %d" : "%d", id);
    }
}

static void random_text(uint64_t *seed, char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        text[i] = "aab"[toy_random(seed) % 3];
    text[length] = '\0';
}

/* Words of two to WORD_BYTES letters, each made of two that are there already. */
static void make_words(uint64_t *seed, char words[][WORD_BYTES + 1], size_t *splits)
{
    for (int i = 0; i < N_WORDS; i++) {
        const char *parts[2];
        do {
            for (int p = 0; p < 2; p++) {
                uint64_t pick = toy_random(seed) % (unsigned)(i + 2);
                parts[p] = pick < 2 ? (pick == 0 ? "a" : "b") : words[pick - 2];
            }
            snprintf(words[i], WORD_BYTES + 1, "%s%s", parts[0], parts[1]);
        } while (strlen(parts[0]) + strlen(parts[1]) > WORD_BYTES ||
                 find_word(words, words[i], strlen(words[i])) != i);
        splits[i] = strlen(parts[0]);
    }
}

static void compare(const struct tokenizer *tokenizer, uint64_t *seed, char words[][WORD_BYTES + 1],
                    const size_t *splits, const int *ranks, int first, const int32_t *letters,
                    bool spm)
{
    char text[TEXT_BYTES + 1], expected[8 * TEXT_BYTES], whole[8 * TEXT_BYTES + 8];
    for (int round = 0; round < 300; round++) {
        random_text(seed, text, 1 + toy_random(seed) % TEXT_BYTES);
        struct symbols symbols = {.text = text, .n = strlen(text)};
        for (size_t i = 0; i <= symbols.n; i++)
            symbols.starts[i] = i;
        for (size_t best = 0; best_pair(&symbols, words, spm ? NULL : splits, ranks, &best) >= 0;)
            join_symbols(&symbols, best);
        describe(&symbols, words, first, letters, expected);
        snprintf(whole, sizeof whole, spm ? "%d %s" : "%.0d%s", spm ? letters[' '] : 0, expected);
        toy_expect(tokenizer, text, strlen(text), (struct encode_options){0}, whole);
    }
}

START_TEST(spm_joins_as_defined)
{
    static char words[N_WORDS][WORD_BYTES + 1];
    static struct toy_token tokens[259 + 3 + N_WORDS];
    size_t splits[N_WORDS];
    int ranks[N_WORDS];
    int32_t letters[256] = {0};
    uint64_t seed = 77 + (uint64_t)_i;
    size_t n = toy_add_spm(tokens);
    static const char *const singles[] = {"a", "b", "\xE2\x96\x81"};
    for (int i = 0; i < 3; i++) {
        letters[(unsigned char)"ab "[i]] = (int32_t)n;
        tokens[n++] = (struct toy_token){singles[i], NORMAL, -100};
    }
    int first = (int)n;
    memset(words, 0, sizeof words);
    make_words(&seed, words, splits);
    for (int i = 0; i < N_WORDS; i++) {
        ranks[i] = (int)(toy_random(&seed) % 20); /* ties */
        tokens[n++] = (struct toy_token){words[i], NORMAL, 5.0f - (float)ranks[i]};
    }
    struct toy toy;
    struct gguf_image image;
    scratch_make();
    toy_image(&image, "llama", tokens, n);
    toy_open(&toy, &image);
    compare(toy.tokenizer, &seed, words, splits, ranks, first, letters, true);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(bpe_joins_as_defined)
{
    static char words[N_WORDS][WORD_BYTES + 1], merges[N_WORDS][WORD_BYTES + 2];
    static struct toy_token tokens[256 + N_WORDS];
    const char *listed[N_WORDS];
    size_t splits[N_WORDS];
    int ranks[N_WORDS];
    int32_t letters[256];
    uint64_t seed = 99 + (uint64_t)_i;
    size_t n = toy_add_bytes(tokens);
    for (int i = 0; i < 256; i++)
        letters[i] = i;
    memset(words, 0, sizeof words);
    make_words(&seed, words, splits);
    for (int i = 0; i < N_WORDS; i++) {
        tokens[n++] = (struct toy_token){words[i], NORMAL, 0};
        ranks[i] = i;
    }
    for (int i = N_WORDS - 1; i > 0; i--) {
        int other = (int)(toy_random(&seed) % (unsigned)(i + 1)), rank = ranks[i];
        ranks[i] = ranks[other];
        ranks[other] = rank;
    }
    for (int i = 0; i < N_WORDS; i++) {
        snprintf(merges[ranks[i]], sizeof merges[0], "%.*s %s", (int)splits[i], words[i],
                 words[i] + splits[i]);
        listed[ranks[i]] = merges[ranks[i]];
    }
    struct toy toy;
    struct gguf_image image;
    scratch_make();
    toy_image(&image, "gpt2", tokens, n);
    gguf_image_text(&image, "tokenizer.ggml.pre", "gpt-2");
    gguf_image_texts(&image, "tokenizer.ggml.merges", listed, N_WORDS);
    toy_open(&toy, &image);
    compare(toy.tokenizer, &seed, words, splits, ranks, 256, letters, false);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

Suite *merge_suite(void)
{
    Suite *suite = suite_create("merge");
    TCase *tcase = tcase_create("merge");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, spm_joins_as_defined, 0, 8);
    tcase_add_loop_test(tcase, bpe_joins_as_defined, 0, 8);
    suite_add_tcase(suite, tcase);
    return suite;
}
