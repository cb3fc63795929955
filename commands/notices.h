/* notices: what is said once while a text grows: that it passes the training length and what is
 * done about it, that tokens begin to leave the cache, that rotations switch; and beforehand, how
 * much memory its cache will take. The same as JSON. */
#ifndef LONGHAND_COMMANDS_NOTICES_H
#define LONGHAND_COMMANDS_NOTICES_H

#include "commands/engine.h"
#include "commands/output.h"

struct notices {
    const struct engine *engine;
    const struct session *session;
    const struct options *options;
    struct output *output;
    double planned_bytes; /* what notices_plan found */
    bool past_training;   /* said */
    bool leaving;         /* said */
    bool switched;        /* said */
};

/* Before n tokens of a prompt are read and `more` (0: not known) generated: says how much memory
 * the cache will take (of a short prompt with --verbose only), and warns where the machine has less
 * to give. More than --max-memory allows is an error. */
int notices_plan(struct notices *notices, int64_t n, int64_t more, struct error *err);

/* Before the text grows to n tokens. `mid_line`: something stands on the terminal's last line. */
void notices_watch(struct notices *notices, int64_t n, bool mid_line);

/* Adds what holds for the text so far to an object. */
void notices_json(const struct notices *notices, cJSON *object);

/* What is done about a text of any length: "rope goes on to places it was not trained on ...". The
 * training length must be known. */
void notices_past_text(const struct engine *engine, char *text, size_t size);

/* How many of the n tokens so far no later token will see; what stays is the first *sinks, and
 * those from *first on. */
int64_t notices_left(const struct engine *engine, int64_t n, int64_t *sinks, int64_t *first);

#endif
