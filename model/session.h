/* session: one timeline of tokens: cache, scratch and position. The one mutable thing.
 *
 * The prompt in batches and generation in ones go through the same path and give the same logits
 * within rounding (on the scalar tier: the same bits). */
#ifndef LONGHAND_MODEL_SESSION_H
#define LONGHAND_MODEL_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/matmul.h"
#include "model/cache.h"
#include "model/context.h"
#include "model/model.h"
#include "model/position/table.h"

/* Tokens that one pass through the layers takes at most: weights are unpacked once for all of them.
 */
enum { SESSION_BATCH = 512 };

/* Activations of up to `tokens` tokens and scratch of `threads` threads; allocated as batches need
 * them. */
struct activations {
    int tokens;
    int threads;
    size_t thread_floats;
    size_t bytes;
    float *x;           /* (tokens, dim) the residual stream */
    float *h;           /* (tokens, dim) normed x */
    float *qkv;         /* (tokens, (n_heads + 2 * n_kv_heads) * head_dim) */
    float *heads;       /* (tokens, n_heads * head_dim) attention's output */
    float *gate;        /* (tokens, hidden_dim) */
    float *up;          /* (tokens, hidden_dim) */
    float *y;           /* (tokens, dim) what a sublayer adds to x */
    float *query_turns; /* (n_positions, tokens, segments, head_dim): cosines, then sines, of the
                           rotation of the query for every segment */
    float *key_turns;   /* (n_positions, tokens, forms, head_dim): of the key in every form */
    float *thread;      /* (threads, thread_floats) scratch */
};

struct session_options {
    enum format kv;         /* element format of the cache */
    struct context context; /* zeroed: all keys */
    int64_t origin;         /* place of the first token, >= 0: text whose beginning is elsewhere */
    size_t max_bytes;       /* of the cache; 0: no bound */
};

struct session {
    const struct model *model;
    struct context context;
    int64_t origin;
    struct cache cache;
    int64_t position; /* tokens fed so far = position of the next one */
    int64_t length;   /* of the text as rotations that follow it count it */
    int64_t expected; /* the least that it will be */
    int64_t held;     /* session_hold's position; INT64_MAX: none */
    struct activations activations;
    struct workspace workspace;
    struct position_table *tables; /* (n_positions) */
    float *parts;                  /* (parts_floats) what parts of attention leave for each other */
    size_t parts_floats;
    int32_t *history; /* (position) the tokens, where a switch of rotations reads them again */
    int64_t history_capacity;
    float *logits;   /* (vocab_size) of the last token fed */
    double *entropy; /* (n_layers, n_heads), the caller's: gets model/entropy.h of the last token
                        fed; or NULL */
};

/* The model must outlive the session. A context policy that the model's schemes do not allow, or a
 * format that caches do not support, is an error. */
int session_open(struct session *session, const struct model *model,
                 const struct session_options *options, struct error *err);
void session_close(struct session *session); /* accepts a zeroed struct */

/* Whether the model's schemes allow a policy; if not, `err` says why. */
int session_allows(const struct model *model, const struct context *context, struct error *err);

/* Feeds ids[n], n > 0. Afterwards session->logits holds the last token's logits, and `logits`,
 * unless NULL, those of all n tokens (n, vocab_size). On failure (an id outside the vocabulary, a
 * position past what the scheme has, no memory) nothing has changed, unless the policy has let go
 * of keys meanwhile: then session->position says how many tokens have been taken. */
int session_feed(struct session *session, const int32_t *ids, int64_t n, float *logits,
                 struct error *err);

/* Keeps the next n tokens where a switch of rotations may have to read them again; session_feed
 * does so itself. */
int session_remember(struct session *session, const int32_t *ids, int64_t n, struct error *err);

/* Says that n more tokens are coming, in pieces: a rotation that switches with the length of the
 * text (LongRoPE) then does so before the first of them, not in their midst, which would read the
 * text again. */
void session_expect(struct session *session, int64_t n);

/* Goes back to the first n tokens (n <= position). Fails where the policy has let go of keys that
 * the next token would see; nothing has changed then. */
int session_truncate(struct session *session, int64_t n, struct error *err);

/* Sees to it that session_truncate can come back to the position where the session is now, whatever
 * the policy lets go of, as long as no more than SESSION_BATCH tokens have been fed since. Replaces
 * an earlier call's. Takes no memory beyond session_cache_bytes. */
void session_hold(struct session *session);

/* Whether n tokens (n > 0) can be fed at once and all but the first of them taken back again, any
 * number of them, as if they had never come: nothing of what the policy keeps and of how keys are
 * rotated changes in their midst. */
bool session_can_return(const struct session *session, int64_t n);

/* The length of the text for the rotation of a query at `at`. */
int64_t session_length(const struct session *session, const struct position *position, int64_t at);

/* Bytes that the cache will hold at most when n tokens have been fed. */
double session_cache_bytes(const struct session *session, int64_t n);

/* Bytes held beyond the model's mapping. */
size_t session_bytes(const struct session *session);

#endif
