/* session: one timeline of tokens: cache, scratch and position. The one mutable thing.
 *
 * The prompt in batches and generation in ones go through the same path and give the same logits
 * within rounding (on the scalar tier: the same bits). */
#ifndef LONGHAND_MODEL_SESSION_H
#define LONGHAND_MODEL_SESSION_H

#include <stdint.h>

#include "base/error.h"
#include "kernels/matmul.h"
#include "model/cache.h"
#include "model/model.h"

/* Tokens that one pass through the layers takes at most: weights are unpacked once for all of them.
 */
enum { SESSION_BATCH = 512 };

/* Activations of up to `tokens` tokens and scratch of `threads` threads; allocated as batches need
 * them. */
struct activations {
    int tokens;
    int threads;
    size_t bytes;
    float *x;      /* (tokens, dim) the residual stream */
    float *h;      /* (tokens, dim) normed x */
    float *qkv;    /* (tokens, (n_heads + 2 * n_kv_heads) * head_dim) */
    float *heads;  /* (tokens, n_heads * head_dim) attention's output */
    float *gate;   /* (tokens, hidden_dim) */
    float *up;     /* (tokens, hidden_dim) */
    float *y;      /* (tokens, dim) what a sublayer adds to x */
    float *cos;    /* (n_positions, tokens, head_dim / 2) */
    float *sin;    /* the same shape */
    float *thread; /* (threads, attention_scratch) */
};

struct session {
    const struct model *model;
    struct cache cache;
    int64_t position; /* tokens fed so far = position of the next one */
    struct activations activations;
    struct workspace workspace;
    float *logits; /* (vocab_size) of the last token fed */
};

/* `kv` is the cache's element format. The model must outlive the session. */
int session_open(struct session *session, const struct model *model, enum format kv,
                 struct error *err);
void session_close(struct session *session); /* accepts a zeroed struct */

/* Feeds ids[n], n > 0. Afterwards session->logits holds the last token's logits, and `logits`,
 * unless NULL, those of all n tokens (n, vocab_size). On failure (an id outside the vocabulary, a
 * position past what the scheme has, no memory) nothing has changed. */
int session_feed(struct session *session, const int32_t *ids, int64_t n, float *logits,
                 struct error *err);

/* Goes back to the first n tokens (n <= position). */
void session_truncate(struct session *session, int64_t n);

/* Bytes held beyond the model's mapping. */
size_t session_bytes(const struct session *session);

#endif
