/* passkey: what the files of the command share.
 *
 * A key is hidden in a text of nothing, and the model is asked for it. A prompt is
 *
 *     head  filler ... filler  needle  filler ... filler  tail
 *
 * in as many tokens as asked for. The filler is counted in words, each with the white space before
 * it, and repeats as often as it must. The needle stands after the end of a sentence of it. What
 * follows the needle begins in the midst of a sentence, or of a word, where the length demands it,
 * and ends with a whole one. */
#ifndef LONGHAND_COMMANDS_PASSKEY_H
#define LONGHAND_COMMANDS_PASSKEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "commands/engine.h"
#include "commands/options.h"
#include "commands/output.h"

enum { PASSKEY_MAX_LENGTHS = 64, PASSKEY_MAX_DEPTHS = 101, KEY_BYTES = 24, ANSWER_TOKENS = 16 };

/* What is asked for. */
struct passkey_plan {
    int64_t lengths[PASSKEY_MAX_LENGTHS]; /* tokens of a prompt, rising */
    int n_lengths;
    double depths[PASSKEY_MAX_DEPTHS]; /* percent of the filler before the needle, rising */
    int n_depths;
    int n_keys; /* of a cell */
    uint64_t seed;
};

/* Fails on wrong usage only. */
int passkey_plan_make(struct passkey_plan *plan, const struct options *options, struct error *err);

/* The words around the key. */
struct wording {
    const char *name;
    struct text head, needle, tail; /* the needle holds {key} */
    struct text filler;
    size_t *ends; /* (n_words) where words end in the filler */
    size_t n_words;
    size_t last_sentence; /* words up to the end of the last sentence */
    int first_key, last_key;
    char *prompt_file; /* what the texts point into */
    char *filler_file;
};

/* The one of llama.cpp, or --wording, or what --prompt holds; its filler is that of -f where given.
 */
int wording_open(struct wording *wording, const struct options *options, struct error *err);
void wording_close(struct wording *wording); /* accepts a zeroed struct */

/* A prompt in text and tokens; free with prompt_free. Valid when zeroed. */
struct prompt {
    char *text;
    size_t n_bytes, capacity;
    struct token_list ids;
    int64_t n_words; /* of filler: where the next search begins */
};

/* A prompt of `length` tokens, or, where no end of a word of the filler fills it up, of a few less.
 * A length that what stands around the filler does not fit is an error. */
int prompt_make(struct prompt *prompt, const struct wording *wording,
                const struct tokenizer *tokenizer, const char *key, int64_t length, double depth,
                struct error *err);
void prompt_free(struct prompt *prompt);

/* Puts prompts to a model, and keeps in the cache what the next one begins with. */
struct asker {
    const struct engine *engine;
    const struct options *options;
    struct session session;
    struct token_list fed; /* what the session holds */
    char *piece;           /* (detokenizer_bound) */
};

struct answer {
    char text[256]; /* as far as it was needed to judge it */
    bool right;
};

int asker_open(struct asker *asker, const struct engine *engine, const struct options *options,
               struct error *err);
void asker_close(struct asker *asker); /* accepts a zeroed struct */
/* Feeds the prompt and takes the likeliest tokens until they decide; Ctrl-C ends that before. */
int asker_ask(struct asker *asker, const struct token_list *ids, const char *key,
              struct answer *answer, struct error *err);

/* What was measured of a length and a depth. */
struct cell {
    int64_t length;
    double depth;
    int64_t n_tokens; /* of the longest prompt */
    int n_keys;
    int n_right;
    double seconds;
    bool done;
};

/* The CSV file that cells are appended to, and are taken from when they are there. Zeroed: none. */
struct passkey_record {
    const char *path;
    int file;
    char *before; /* what was there at the start */
    bool open;
};

int passkey_record_open(struct passkey_record *record, const char *path, struct error *err);
int passkey_record_close(struct passkey_record *record, struct error *err);
/* `what` are the first columns of the cell's line: all that its result depends on. */
bool passkey_record_find(const struct passkey_record *record, const char *what, struct cell *cell);
int passkey_record_add(const struct passkey_record *record, const char *what,
                       const struct cell *cell, struct error *err);

#endif
