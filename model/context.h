/* context: which of the earlier keys a query sees, and where it takes itself and them to be.
 *
 * A policy cuts the keys of a query into at most three *segments* (segmented attention): the keys
 * of a segment are stored in one form, each at a place of its own, and the query takes one place
 * for all of them, so that their distances are exact and nothing stored is ever rotated again. All
 * segments share one softmax.
 *
 *   policy                     keys                          place of a key    place of the query i
 *   all                        0 .. i                        j                 i
 *   window=W                   i-W+1 .. i                    j                 i
 *   sinks=S,window=W           0 .. S-1                      j                 min(i, S+W-1)
 *                              i-W+1 .. i                    j                 i
 *   lm-infinite,global=G,window=W[,cap=C]
 *                              0 .. G-1, W or more back      0                 C (= W)
 *                              less than W back              j                 i
 *   rerope,window=W            W or more back                0                 W
 *                              less than W back              j                 i
 *   leaky-rerope,window=W,factor=A
 *                              W or more back                j / A             (i + W) / A
 *                              less than W back              j                 i
 *   self-extend,group=G,window=W
 *                              W or more back                floor(j / G)      floor(i/G) + W - W/G
 *                              less than W back              j                 i
 *   dual-chunk,chunk=S,cap=C   the query's chunk of S        j mod S           i mod S
 *                              the chunk before              j mod S           min(i mod S + S, C)
 *                              all earlier ones              j mod S           C
 *
 * Sources: Xiao et al. 2023 (arXiv:2309.17453, sinks), Han et al. 2023 (2308.16137, LM-Infinite),
 * Su 2023 (ReRoPE), Jin et al. 2024 (2401.01325, self-extend), An et al. 2024 (2402.17463, dual
 * chunk). */
#ifndef LONGHAND_MODEL_CONTEXT_H
#define LONGHAND_MODEL_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/config.h"

enum context_kind {
    CONTEXT_ALL,
    CONTEXT_WINDOW, /* with or without sinks */
    CONTEXT_LM_INFINITE,
    CONTEXT_REROPE, /* leaky when factor > 1 */
    CONTEXT_SELF_EXTEND,
    CONTEXT_DUAL_CHUNK,
    CONTEXT_COUNT
};

/* Zeroed: all. */
struct context {
    enum context_kind kind;
    int64_t window;     /* W */
    int64_t sinks;      /* S of sinks, G of lm-infinite */
    int64_t group;      /* G of self-extend */
    int64_t chunk;      /* S of dual-chunk */
    int64_t cap;        /* C of lm-infinite and dual-chunk */
    double factor;      /* A of leaky-rerope; 0: not leaky */
    int64_t log_length; /* queries grow by max(1, ln(i + 1) / ln(log_length)); 0: not */
};

enum { SEGMENTS_MAX = 3, KEY_FORMS_MAX = 2, CONTEXT_TEXT_BYTES = 160 };

/* Keys [begin, end) in stored form `form`, and the place of the query that goes with them. Places
 * of text that does not start at 0 are counted from its start. */
struct segment {
    int64_t begin;
    int64_t end;
    int form;
    double place;
};

/* Reads the notation above; "log-length=L" may follow any policy. What is left out gets its default
 * from train_length (0: unknown, and then it may not be left out). Does not judge whether a model
 * can do it. */
int context_parse(struct context *context, const char *text, int train_length, struct error *err);
/* The notation of a policy, with every number. */
void context_text(const struct context *context, char *text, size_t size);
/* The i-th name of the notation ("all", "window", ...) with a typical example; NULL past the end.
 */
const char *context_example(int i);

int context_n_segments(const struct context *context);
int context_n_forms(const struct context *context);

/* The segments of the query at i in a layer, oldest keys first; always context_n_segments of them,
 * disjoint, each possibly empty (begin >= end). */
void context_segments(const struct context *context, const struct layer_config *layer, int64_t i,
                      struct segment segments[SEGMENTS_MAX]);

/* Where form `form` puts the key at position j. */
double context_key_place(const struct context *context, int form, int64_t j);

/* Keys from j on advance by *step places a key for *n keys (n >= 1), which is at most `most`. */
void context_run(const struct context *context, int form, int64_t j, int64_t most, double *step,
                 int64_t *n);

/* Queries at `next` and later see, in form `form`, nothing of positions [*sinks, *first): they may
 * go. */
void context_kept(const struct context *context, const struct layer_config *layer, int form,
                  int64_t next, int64_t *sinks, int64_t *first);
/* The same of what serves all forms: values, and keys that no scheme rotates. */
void context_kept_any(const struct context *context, const struct layer_config *layer, int64_t next,
                      int64_t *sinks, int64_t *first);

/* What a query at i is multiplied by beyond the scale of its scheme. */
double context_query_factor(const struct context *context, const struct layer_config *layer,
                            int64_t i);

/* The largest distance that a query of a text of n tokens may have to a key, rounded up. */
int64_t context_max_distance(const struct context *context, const struct layer_config *layer,
                             int64_t n);

#endif
