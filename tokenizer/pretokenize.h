/* pretokenize: splits text into the pieces that byte-level BPE works on, by the rules that a
 * checkpoint names (tokenizer.ggml.pre). */
#ifndef LONGHAND_TOKENIZER_PRETOKENIZE_H
#define LONGHAND_TOKENIZER_PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

enum { PRETOKENIZER_STEPS = 6 };

/* Const once opened. */
struct pretokenizer {
    const struct pretokenizer_rule *rule; /* its row in the table */
    void *codes[PRETOKENIZER_STEPS];      /* compiled patterns */
    int n_codes;
};

/* What one encoding needs besides; zero it, and free it at the end. */
struct pretokenizer_scratch {
    void *match;
    void *context;
};

/* An unknown name is an error that lists the known ones. */
int pretokenizer_open(struct pretokenizer *pretokenizer, struct text name, struct error *err);
void pretokenizer_close(struct pretokenizer *pretokenizer);
void pretokenizer_scratch_free(struct pretokenizer_scratch *scratch);

/* Whether models of this kind want a BOS in front when their file does not say. */
bool pretokenizer_adds_bos(const struct pretokenizer *pretokenizer);
/* Whether a piece that is a token becomes that token, merges or no. */
bool pretokenizer_ignores_merges(const struct pretokenizer *pretokenizer);

/* Calls piece() for every piece of text[length], which must be well-formed UTF-8, in order;
 * together they are the text. Stops with -1 when piece() does. */
int pretokenizer_split(const struct pretokenizer *pretokenizer,
                       struct pretokenizer_scratch *scratch, const char *text, size_t length,
                       int (*piece)(void *context, const char *bytes, size_t n), void *context,
                       struct error *err);

#endif
