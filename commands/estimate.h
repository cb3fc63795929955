/* estimate: how long a text will take, from how long its beginning took.
 *
 * Feeding a batch of tokens costs the products of each with the weights and its attention to the
 * keys that the context policy lets it see, which is what grows with a text. Both are counted; how
 * long they take is fitted to the batches that were read so far. Writing goes token by token, each
 * of which waits for all weights: that is tried in the midst of reading, now and then, and fitted
 * likewise. */
#ifndef LONGHAND_COMMANDS_ESTIMATE_H
#define LONGHAND_COMMANDS_ESTIMATE_H

#include "commands/output.h"
#include "model/session.h"

enum { ESTIMATE_BATCHES = 64 };

/* What batches of one kind take. */
struct estimate_fit {
    struct estimate_batch {
        double products, attention; /* multiply-adds */
        double seconds;
    } batches[ESTIMATE_BATCHES]; /* ring of the last ones */
    int n_batches;               /* ever */
    double weight;               /* of a multiply-add of attention beside one of weights */
    double pace;                 /* seconds of a multiply-add of weights; 0: nothing is known */
};

/* Zeroed but for the session, it knows nothing. */
struct estimate {
    struct session *session;
    struct estimate_fit reading, writing;
    bool warm;            /* the first batch, which takes longer, has been left out */
    int64_t total, more;  /* tokens to be read, and written after them */
    int64_t next_try;     /* tokens after which writing is tried next */
    double started, last; /* when reading began, and a batch ended */
    int64_t last_done;    /* tokens */
    double said;          /* seconds in all, as the note has it; 0: not yet */
};

/* Before an empty session reads a prompt of `total` tokens and writes `more` (0: not known) behind
 * it. What earlier prompts of the session took is not forgotten. */
void estimate_begin(struct estimate *estimate, int64_t total, int64_t more);

/* After each batch, with the tokens that are read: draws how long the rest will take and, once that
 * is known well enough, says in a note how long all of it will, of long prompts. In the midst of
 * these the session's logits change, and nothing else of it. */
void estimate_progress(struct estimate *estimate, struct output *output, int64_t done);

/* Takes note that tokens [from, to) of the session, fed at once, took so long. */
void estimate_observe(struct estimate *estimate, struct estimate_fit *fit, int64_t from, int64_t to,
                      double seconds);
/* Seconds that tokens [from, to) take in batches like those of a fit; 0 where it has none. */
double estimate_seconds(const struct estimate *estimate, const struct estimate_fit *fit,
                        int64_t from, int64_t to);

#endif
