/* passkey_prompt: wordings, and prompts of an exact length. See passkey.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "commands/passkey/passkey.h"

/* The texts of Mohtashami and Jaggi (2023) as these two have them: llama.cpp's examples/passkey,
 * and LongLM's (Self-Extend's) passkey_examples.jsonl with example.py. */
#define HEAD(it)                                                                                  \
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize " it \
    ". I will quiz you about the important information there."
#define NEEDLE "The pass key is {key}. Remember it. {key} is the pass key."
#define GRASS \
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
#define QUESTION "What is the pass key? The pass key is"

static const struct {
    const char *name, *head, *needle, *tail, *filler;
    int first_key, last_key;
} wordings[] = {
    {"llama.cpp", HEAD("them"), " " NEEDLE, " " QUESTION, " " GRASS, 1, 50000},
    {"longlm", HEAD("it"), "\n" NEEDLE, QUESTION " ", "\n" GRASS, 10000, 99999},
};
enum { N_WORDINGS = sizeof wordings / sizeof wordings[0] };

#define FILLER_MARK "{filler}"
#define KEY_MARK "{key}"

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static bool ends_sentence(const struct wording *wording, size_t word)
{
    char last = wording->filler.bytes[wording->ends[word % wording->n_words] - 1];
    return last == '.' || last == '!' || last == '?';
}

/* ---- Wordings -------------------------------------------------------------------------------- */

/* White space at the end belongs to the first word of the next repetition, so it goes, and the
 * first word gets a space where it has none. */
static int split_words(struct wording *wording, struct error *err)
{
    struct text filler = wording->filler;
    while (filler.length > 0 && is_space(filler.bytes[filler.length - 1]))
        filler.length--;
    size_t n = 0;
    for (size_t i = 0; i < filler.length; i++)
        n +=
            !is_space(filler.bytes[i]) && (i + 1 == filler.length || is_space(filler.bytes[i + 1]));
    if (n == 0)
        return error_set(err, "the filler has no words, expected 1 or more");
    wording->ends = size_alloc(n, sizeof *wording->ends);
    if (!wording->ends)
        return error_memory(err, "words", n * sizeof *wording->ends);
    for (size_t i = 0; i < filler.length; i++)
        if (!is_space(filler.bytes[i]) && (i + 1 == filler.length || is_space(filler.bytes[i + 1])))
            wording->ends[wording->n_words++] = i + 1;
    wording->filler = filler;
    size_t last = n;
    while (last > 0 && !ends_sentence(wording, last - 1))
        last--;
    wording->last_sentence = last > 0 ? last : n;
    return 0;
}

static struct text find(struct text text, const char *mark)
{
    const char *at = text.length > 0 ? memmem(text.bytes, text.length, mark, strlen(mark)) : NULL;
    return at ? (struct text){at, (size_t)(text.bytes + text.length - at)} : (struct text){0};
}

static struct text after(struct text text, const char *mark)
{
    return (struct text){text.bytes + strlen(mark), text.length - strlen(mark)};
}

/* head {filler} needle {filler} tail, with {key} in the needle alone. */
static int split_prompt(struct wording *wording, const char *path, struct text text,
                        struct error *err)
{
    struct text first = find(text, FILLER_MARK);
    struct text second = first.bytes ? find(after(first, FILLER_MARK), FILLER_MARK) : first;
    if (!second.bytes || find(after(second, FILLER_MARK), FILLER_MARK).bytes)
        return error_set(err, "%s: expected " FILLER_MARK " twice, before and after the needle",
                         path);
    struct text needle = after(first, FILLER_MARK);
    wording->head = (struct text){text.bytes, (size_t)(first.bytes - text.bytes)};
    wording->needle = (struct text){needle.bytes, (size_t)(second.bytes - needle.bytes)};
    wording->tail = after(second, FILLER_MARK);
    while (wording->tail.length > 0 && wording->tail.bytes[wording->tail.length - 1] == '\n')
        wording->tail.length--; /* that of the file's last line */
    if (find(wording->needle, KEY_MARK).bytes && !find(wording->head, KEY_MARK).bytes &&
        !find(wording->tail, KEY_MARK).bytes)
        return 0;
    return error_set(
        err, "%s: expected " KEY_MARK " between the two " FILLER_MARK " and only there", path);
}

static int choose_wording(struct wording *wording, const char *name, struct error *err)
{
    for (int i = 0; i < N_WORDINGS; i++)
        if (strcmp(wordings[i].name, name) == 0) {
            wording->name = name;
            wording->head = (struct text){wordings[i].head, strlen(wordings[i].head)};
            wording->needle = (struct text){wordings[i].needle, strlen(wordings[i].needle)};
            wording->tail = (struct text){wordings[i].tail, strlen(wordings[i].tail)};
            wording->filler = (struct text){wordings[i].filler, strlen(wordings[i].filler)};
            wording->first_key = wordings[i].first_key;
            wording->last_key = wordings[i].last_key;
            return 0;
        }
    return error_set(err, "--wording: \"%s\" found, expected llama.cpp or longlm", name);
}

int wording_open(struct wording *wording, const struct options *options, struct error *err)
{
    size_t length;
    if (choose_wording(wording, options->wording ? options->wording : wordings[0].name, err))
        return -1;
    if (options->key_prompt) {
        struct options read = {.file = options->key_prompt};
        if (engine_read_text(&read, &wording->prompt_file, &length, err) ||
            split_prompt(wording, read.file, (struct text){wording->prompt_file, length}, err))
            return -1;
        wording->name = options->key_prompt;
    }
    if (options->file) {
        struct options read = {.file = options->file};
        if (engine_read_text(&read, &wording->filler_file, &length, err))
            return -1;
        wording->filler = (struct text){wording->filler_file, length};
        if (split_words(wording, err))
            return error_prefix(err, "%s", options->file);
        return 0;
    }
    return split_words(wording, err);
}

void wording_close(struct wording *wording)
{
    free(wording->ends);
    free(wording->prompt_file);
    free(wording->filler_file);
    *wording = (struct wording){0};
}

/* ---- Prompts --------------------------------------------------------------------------------- */

static int add_text(struct prompt *prompt, const char *bytes, size_t n, struct error *err)
{
    size_t needed;
    if (!size_add(prompt->n_bytes, n, &needed))
        return error_memory(err, "a prompt", SIZE_MAX);
    if (needed > prompt->capacity) {
        size_t capacity = needed > SIZE_MAX / 2 ? needed : 2 * needed;
        char *grown = realloc(prompt->text, capacity);
        if (!grown)
            return error_memory(err, "a prompt", capacity);
        prompt->text = grown;
        prompt->capacity = capacity;
    }
    if (n > 0)
        memcpy(prompt->text + prompt->n_bytes, bytes, n);
    prompt->n_bytes = needed;
    return 0;
}

/* Words [first, end) of the filler without end, a stretch of one repetition at a time. */
static int add_words(struct prompt *prompt, const struct wording *wording, int64_t first,
                     int64_t end, struct error *err)
{
    int64_t n = (int64_t)wording->n_words;
    while (first < end) {
        int64_t at = first % n;
        int64_t last = end - first < n - at ? at + (end - first) : n;
        size_t begin = at > 0 ? wording->ends[at - 1] : 0;
        if (at == 0 && !is_space(wording->filler.bytes[0]) && add_text(prompt, " ", 1, err))
            return -1;
        if (add_text(prompt, wording->filler.bytes + begin, wording->ends[last - 1] - begin, err))
            return -1;
        first += last - at;
    }
    return 0;
}

static int add_needle(struct prompt *prompt, struct text needle, const char *key, struct error *err)
{
    for (struct text mark; (mark = find(needle, KEY_MARK)).bytes; needle = after(mark, KEY_MARK))
        if (add_text(prompt, needle.bytes, (size_t)(mark.bytes - needle.bytes), err) ||
            add_text(prompt, key, strlen(key), err))
            return -1;
    return add_text(prompt, needle.bytes, needle.length, err);
}

/* The number of words, 0 to n, that is nearest to the depth and ends a sentence; where none does,
 * the nearest. */
static int64_t words_before(const struct wording *wording, int64_t n, double depth)
{
    int64_t wanted = (int64_t)((double)n * depth / 100 + 0.5);
    int64_t most = (int64_t)wording->n_words < n ? (int64_t)wording->n_words : n;
    for (int64_t away = 0; away <= most; away++) {
        int64_t below = wanted - away;
        int64_t above = wanted + away;
        if (below == 0 || (below > 0 && ends_sentence(wording, (size_t)below - 1)))
            return below;
        if (above <= n && above > 0 && ends_sentence(wording, (size_t)above - 1))
            return above;
    }
    return wanted;
}

/* The end of a word of the filler. */
struct word_end {
    size_t n_bytes; /* 0: there is none */
    bool apart;     /* with a space before it */
};

static int add_word_end(struct prompt *prompt, const struct wording *wording, int64_t word,
                        struct word_end part, struct error *err)
{
    if (part.n_bytes == 0)
        return 0;
    size_t end = wording->ends[word % (int64_t)wording->n_words];
    if (part.apart && add_text(prompt, " ", 1, err))
        return -1;
    return add_text(prompt, wording->filler.bytes + end - part.n_bytes, part.n_bytes, err);
}

/* What a prompt is made of, beside its wording. */
struct recipe {
    const char *key;
    int64_t before, after; /* words of filler around the needle */
    struct word_end extra; /* of the word that would be next after the needle */
};

/* Words after the needle are counted from the end, the last sentence of the filler: one more is one
 * more in front of them. Returns which comes first. */
static int64_t first_after(const struct wording *wording, int64_t after)
{
    int64_t n = (int64_t)wording->n_words;
    return (int64_t)wording->last_sentence + (after + n) / n * n - after;
}

static int build(struct prompt *prompt, const struct wording *wording,
                 const struct tokenizer *tokenizer, const struct recipe *recipe, struct error *err)
{
    int64_t first = first_after(wording, recipe->after);
    prompt->n_bytes = 0;
    prompt->n_words = recipe->before + recipe->after;
    if (add_text(prompt, wording->head.bytes, wording->head.length, err) ||
        add_words(prompt, wording, 0, recipe->before, err) ||
        add_needle(prompt, wording->needle, recipe->key, err) ||
        add_word_end(prompt, wording, first - 1, recipe->extra, err) ||
        add_words(prompt, wording, first, first + recipe->after, err) ||
        add_text(prompt, wording->tail.bytes, wording->tail.length, err))
        return -1;
    prompt->ids.n = 0;
    if (tokenizer_adds_bos(tokenizer) &&
        token_list_add(&prompt->ids, tokenizer_bos(tokenizer), err))
        return -1;
    return tokenizer_encode(tokenizer, prompt->text, prompt->n_bytes, (struct encode_options){0},
                            &prompt->ids, err);
}

/* The bytes of a word of the filler, without the white space before it. */
static size_t word_bytes(const struct wording *wording, int64_t word)
{
    size_t at = (size_t)(word % (int64_t)wording->n_words);
    size_t begin = at > 0 ? wording->ends[at - 1] : 0;
    while (is_space(wording->filler.bytes[begin]))
        begin++;
    return wording->ends[at] - begin;
}

/* Words after the needle, and the end of one, until the prompt is as long as wanted. */
static int fill_up(struct prompt *prompt, const struct wording *wording,
                   const struct tokenizer *tokenizer, struct recipe *recipe, int64_t length,
                   struct error *err)
{
    do {
        recipe->after++;
        if (build(prompt, wording, tokenizer, recipe, err))
            return -1;
    } while ((int64_t)prompt->ids.n < length);
    if ((int64_t)prompt->ids.n == length)
        return 0;
    recipe->after--;
    int64_t word = first_after(wording, recipe->after) - 1;
    size_t most = word_bytes(wording, word);
    size_t end = wording->ends[word % (int64_t)wording->n_words];
    for (size_t i = 0; i < 2 * most; i++) { /* first apart from the needle, then joined to it */
        recipe->extra = (struct word_end){.n_bytes = i % most + 1, .apart = i < most};
        if (((unsigned char)wording->filler.bytes[end - recipe->extra.n_bytes] & 0xc0) == 0x80)
            continue; /* in the midst of a character */
        if (build(prompt, wording, tokenizer, recipe, err))
            return -1;
        if ((int64_t)prompt->ids.n == length)
            return 0;
    }
    recipe->extra = (struct word_end){0};
    return build(prompt, wording, tokenizer, recipe, err);
}

int prompt_make(struct prompt *prompt, const struct wording *wording,
                const struct tokenizer *tokenizer, const char *key, int64_t length, double depth,
                struct error *err)
{
    int64_t guess = prompt->n_words;
    struct recipe recipe = {.key = key};
    if (build(prompt, wording, tokenizer, &recipe, err))
        return -1;
    int64_t least = (int64_t)prompt->ids.n;
    if (least > length)
        return error_set(err, "a prompt of %lld tokens: the wording %s takes %lld without filler",
                         (long long)length, wording->name, (long long)least);
    /* Words are at least a token each: `fit` words fit, `over` words do not. Between them the
     * straight line through both says where to look next. */
    int64_t fit = 0, fit_tokens = least;
    int64_t over = length - least + 1, over_tokens = 2 * length;
    for (bool first = true; fit_tokens < length && over - fit > 1; first = false) {
        int64_t next = fit + (int64_t)((double)(over - fit) * (double)(length - fit_tokens) /
                                       (double)(over_tokens - fit_tokens));
        if (first && guess > fit && guess < over)
            next = guess;
        next = next <= fit ? fit + 1 : next >= over ? over - 1 : next;
        recipe.before = words_before(wording, next, depth);
        recipe.after = next - recipe.before;
        if (build(prompt, wording, tokenizer, &recipe, err))
            return -1;
        int64_t tokens = (int64_t)prompt->ids.n;
        if (tokens <= length) {
            fit = next;
            fit_tokens = tokens;
        } else {
            over = next;
            over_tokens = tokens;
        }
    }
    if (fit_tokens == length)
        return 0; /* the last one that was built */
    recipe.before = words_before(wording, fit, depth);
    recipe.after = fit - recipe.before;
    return fill_up(prompt, wording, tokenizer, &recipe, length, err);
}

void prompt_free(struct prompt *prompt)
{
    free(prompt->text);
    token_list_free(&prompt->ids);
    *prompt = (struct prompt){0};
}
