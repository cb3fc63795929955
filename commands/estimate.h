/* estimate: how long a text will take, from how long its beginning took.
 *
 * Reading a batch of tokens costs the products of each with the weights and its attention to the
 * keys that the context policy lets it see, which is what grows with a text. Both are counted; how
 * long they take is fitted to the batches that were read so far. Writing goes token by token, and
 * each of them waits for all weights: what that takes is tried before. */
#ifndef LONGHAND_COMMANDS_ESTIMATE_H
#define LONGHAND_COMMANDS_ESTIMATE_H

#include "commands/output.h"
#include "model/session.h"

enum { ESTIMATE_BATCHES = 64 };

/* Zeroed but for the session, it knows nothing. */
struct estimate {
    struct session *session;
    struct estimate_batch {
        double products, attention; /* multiply-adds */
        double seconds;
    } batches[ESTIMATE_BATCHES]; /* ring of the last ones */
    int n_batches;               /* ever */
    bool warm;                   /* the first batch, which takes longer, has been left out */
    double weight;               /* of a multiply-add of attention beside one of weights */
    double pace;                 /* seconds of a multiply-add of weights */
    double alone;                /* seconds of a token that is fed alone; 0: not tried */
    int64_t total, more;         /* tokens to be read, and written after them */
    double started, last;        /* when reading began, and a batch ended */
    int64_t last_done;           /* tokens */
    double said;                 /* seconds in all, as the note has it; 0: not yet */
};

/* Before an empty session reads a prompt of `total` tokens and writes `more` (0: not known) behind
 * it: tries, of long prompts, what a token alone takes. The session is empty afterwards. What
 * earlier prompts of the session took is not forgotten. */
void estimate_begin(struct estimate *estimate, int64_t total, int64_t more);

/* After each batch, with the tokens that are read: draws how long the rest will take and, once that
 * is known well enough, says in a note how long all of it will, of long prompts. */
void estimate_progress(struct estimate *estimate, struct output *output, int64_t done);

/* Takes note that tokens [from, to) of the session took so long. */
void estimate_observe(struct estimate *estimate, int64_t from, int64_t to, double seconds);
/* Seconds that reading tokens [from, to) takes, after a batch has been observed; and writing n
 * after the first `at`, as far as that has been tried. */
double estimate_reading(const struct estimate *estimate, int64_t from, int64_t to);
double estimate_writing(const struct estimate *estimate, int64_t at, int64_t n);

#endif
