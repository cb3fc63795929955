/* engine: what every command that runs a model opens: checkpoint, model, tokenizer. */
#ifndef LONGHAND_COMMANDS_ENGINE_H
#define LONGHAND_COMMANDS_ENGINE_H

#include "base/error.h"
#include "commands/options.h"
#include "longhand.h"
#include "tokenizer/chat.h"

struct engine {
    struct checkpoint checkpoint;
    struct model model;
    struct tokenizer *tokenizer;
    int train_length;       /* as --train-length or else the file says; 0: not known */
    struct context context; /* what --context means for this model */
    bool misused;           /* an option turned out wrong once the model was known */
};

/* Opens the checkpoint that --model names, or the one that ships: models/ beside the executable, or
 * ../share/longhand/ of it. */
int engine_open_checkpoint(struct engine *engine, const struct options *options, struct error *err);
/* The checkpoint must be open. */
int engine_open_tokenizer(struct engine *engine, const struct options *options, struct error *err);
/* The model, its train_length and context. The checkpoint must be open. */
int engine_open_model(struct engine *engine, const struct options *options, struct error *err);
/* Checkpoint, model and tokenizer. A vocabulary larger than the embedding is an error. */
int engine_open(struct engine *engine, const struct options *options, struct error *err);
void engine_close(struct engine *engine); /* accepts a zeroed or half-open struct */

/* A session as the options want it; the model must be open. */
int engine_open_session(const struct engine *engine, const struct options *options,
                        struct session *session, struct error *err);

/* The form of a conversation: that of --template, a family's name or a file, or the checkpoint's
 * own; *template, zeroed before, stays so where there is none. */
int engine_open_template(struct engine *engine, const struct options *options,
                         struct chat_template *template, struct error *err);

/* What a command returns: `result`, or EXIT_USAGE where the engine found misuse. */
int engine_exit_code(const struct engine *engine, int result);

/* The text that -p, -f or standard input give; free it. An empty -f is an error, and so is what is
 * not UTF-8; an empty -p is not. On a terminal standard input is not waited for: no text is an
 * error. On failure *text is NULL. */
int engine_read_text(const struct options *options, char **text, size_t *length, struct error *err);

/* Fails where text[length] is not UTF-8, naming it `name`, the byte and its offset. */
int engine_check_text(const char *name, const char *text, size_t length, struct error *err);

#endif
