/* stream: tokens -> text on standard output: whole UTF-8 characters, and nothing from a stop text
 * on. */
#ifndef LONGHAND_COMMANDS_STREAM_H
#define LONGHAND_COMMANDS_STREAM_H

#include <stdbool.h>

#include "base/error.h"
#include "commands/options.h"
#include "tokenizer/tokenizer.h"

struct stream {
    struct detokenizer detokenizer;
    const struct options *options; /* stops */
    char *held;                    /* bytes not written yet: they may begin a stop text */
    size_t n_held;
    size_t capacity;
    size_t longest_stop;
    char *text;   /* all that was let go so far (stb_ds array) */
    bool stopped; /* a stop text came */
    bool silent;  /* nothing is written; as with --json */
    bool trimmed; /* the caller wants no white space before the text */
};

/* `continues`: the text goes on from another one, so a leading space counts. */
int stream_open(struct stream *stream, const struct tokenizer *tokenizer,
                const struct options *options, bool continues, struct error *err);
void stream_close(struct stream *stream);

/* Writes what token `id` completes. Sets stream->stopped when a stop text is complete. */
int stream_token(struct stream *stream, int32_t id, struct error *err);
/* Writes what was held back. */
int stream_end(struct stream *stream, struct error *err);

#endif
