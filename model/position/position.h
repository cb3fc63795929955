/* position: where a token is. All that attention and the embedding know of position schemes.
 *
 * A query and a key have *places*, real numbers that the session's context policy derives from
 * their positions in the text; a distance is the query's place minus the key's. Every scheme is a
 * sum of at most three mechanisms,
 *     rotation           of q and k by their places,
 *     distance bias      b[head][distance] added to the score,
 *     relative vectors   products of the query, the key or the weights with vectors by distance,
 * or an absolute embedding added at the input. A scheme is one row of the table in position.c and
 * one file of this folder; a hook that it does not have is NULL. */
#ifndef LONGHAND_MODEL_POSITION_POSITION_H
#define LONGHAND_MODEL_POSITION_POSITION_H

#include <stdint.h>

#include "base/error.h"
#include "kernels/kernels.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/position/rope_scaling.h"

struct position; /* a scheme with its parameters, below */

/* What a scheme is opened from: layer `layer` of a model. */
struct position_source {
    const struct config *config;
    const struct checkpoint *checkpoint;
    int layer;
    const struct rope_override *override; /* of the file's scaling, or NULL */
};

/* The vectors by distance that a scheme may have. */
enum position_vectors {
    VECTORS_QUERY, /* score += q' . r[distance], q' being (q + relative_bias) * scale */
    VECTORS_KEY,   /* score += scale * k . r[distance] */
    VECTORS_VALUE, /* result += weight * r[distance] */
    VECTORS_COUNT
};

/* What a place means to a scheme, and so which context policies it allows. */
enum position_nature {
    POSITION_PLACELESS, /* no places at all: nothing can be moved */
    POSITION_ABSOLUTE,  /* the place itself matters, not only distances: it must stay true */
    POSITION_WHOLE,     /* distances in whole numbers */
    POSITION_REAL,      /* any distance */
};

struct position_scheme {
    const char *name; /* "rope", for keys and info */
    enum position_nature nature;
    bool layered; /* every layer has parameters of its own */
    /* Reads and checks what it needs; scheme, config, layer, limit, scale, last_distance are set to
     * their defaults before. Whatever it leaves behind, position_close frees. */
    int (*open)(struct position *position, const struct position_source *source, struct error *err);
    /* One line for info, without the name: "base 10000, 64 of 64 dimensions, halves". */
    void (*describe)(const struct position *position, char *text, size_t size);
    /* x[dim] += the embedding of place `at` (0 <= at < position->limit). */
    void (*embed)(const struct position *position, int64_t at, float *x);
    /* cos[rotated / 2], sin[rotated / 2] of the rotation by `place`, in double. `length` is how
     * long the text is; only schemes whose rotation follows it care. */
    void (*angles)(const struct position *position, double place, int64_t length, double *cos,
                   double *sin);
    /* factor[rotated / 2]: what the query's pairs are multiplied by for keys that are `distance`
     * places back (xPos); keys get the factors of the negative distance. */
    void (*decay)(const struct position *position, double distance, float *factor);
    /* The bias of `head` at a distance >= 0. */
    double (*bias)(const struct position *position, int head, double distance);
    /* The same for a row, where a table of distances would not do: scores[j] += bias at distance
     * `distance - step * j` of the query at `place`. */
    void (*add_bias)(const struct position *position, int head, double place, double distance,
                     double step, int n, float *scores);
    /* Of a head whose bias is -(slope * distance), the product rounded to float; add_bias is there,
     * too. */
    float (*slope)(const struct position *position, int head);
    /* r (position->vector_heads[which], head_dim): the relative vectors at a distance. */
    void (*vectors)(const struct position *position, enum position_vectors which, int64_t distance,
                    float *r);
    /* Content decides (CoPE): scores[j] of the n keys just before those seen so far (the newest
     * first call ends at the query itself) += what `row` (row_length), made by content_row for this
     * query and head, gives them. *state starts at 0 for every query. */
    void (*add_content)(const struct position *position, const float *row, double *state, int n,
                        float *scores);
    void (*content_row)(const struct position *position, const float *q, float *row);
};

/* POSITION_PAIRS_MAX: of the rotation; head_dim is at most 4096. */
enum { POSITION_TENSORS_MAX = 8, POSITION_NAME_BYTES = 96, POSITION_PAIRS_MAX = 2048 };

/* Const once open. */
struct position {
    const struct position_scheme *scheme;
    const struct config *config;
    const struct layer_config *layer;
    int64_t limit; /* places there are: INT64_MAX unless a table ends */
    float scale;   /* of the dot products: 1/sqrt(head_dim) unless the scheme says else */
    int64_t
        last_distance; /* all distances from here on are encoded the same; INT64_MAX: none are */
    int vector_heads[VECTORS_COUNT]; /* 0: no such vectors; 1: all heads share them; n_kv_heads;
                                        n_heads */
    const float *content_bias;  /* (n_heads, head_dim) added to q for products with keys, or NULL */
    const float *relative_bias; /* (n_heads, head_dim) added to q for VECTORS_QUERY, or NULL */
    int rotated;                /* dimensions of a head that are rotated; 0: none */
    enum rope_pairs pairs;      /* of the rotation */
    float rotation_scale;       /* what the query's rotated dimensions are multiplied by: YaRN's and
                                   LongRoPE's m squared, on one side, so that stored keys are pure
                                   rotations */
    bool follows_length;   /* the rotation of every key changes with every token (dynamic NTK) */
    int64_t switch_length; /* the rotation changes once, past this length (LongRoPE); 0: not */
    int row_length;        /* of content_row */
    void *parameters;      /* the scheme's own, released with free() */
    float *tensors[POSITION_TENSORS_MAX]; /* the same, as position_read gave them */
};

/* Opens the scheme that layer source->layer names. Config and checkpoint must outlive it. */
int position_open(struct position *position, const struct position_source *source,
                  struct error *err);
void position_close(struct position *position); /* accepts a zeroed struct */

/* "rope, base 10000, ..." for info. */
void position_describe(const struct position *position, char *text, size_t size);

/* The name of a scheme, as keys have it. */
const char *position_name(enum position_kind kind);

/* Turns the heads of one token, x (n_heads, head_dim), by the angles given. */
void position_rotate(const struct position *position, const struct kernels *kernels, float *x,
                     int n_heads, const float *cos, const float *sin);

/* cos, sin (rotated / 2): what position_rotate needs for `place` in a text of `length` tokens; a
 * query's carry the scheme's factor. */
void position_turns(const struct position *position, double place, int64_t length, bool query,
                    float *cos, float *sin);

/* Multiplies every pair t of the heads of one token by factor[t]. */
void position_multiply(const struct position *position, float *x, int n_heads, const float *factor);

/* --- for attention ---------------------------------------------------------------------------- */

/* position->rotation_scale, or, where that follows the length of the text (dynamic YaRN), what it
 * is for a text of `length` tokens. */
float rope_rotation_scale(const struct position *position, int64_t length);

/* --- for the files of this folder ------------------------------------------------------------- */

/* Tensor "blk.<layer>.<name>", or, where that is absent, "<name>"; `full` gets the name it has.
 * NULL when there is neither. */
const struct tensor *position_find(const struct position_source *source, const char *name,
                                   char full[POSITION_NAME_BYTES]);

/* The numbers of that tensor: exactly rows * cols
 * of them (GGUF shape (cols, rows), or (cols) when rows is 1), of any format, as floats in *out,
 * which the caller frees. An absent OPTIONAL tensor gives NULL. */
int position_read(const struct position_source *source, const char *name, enum presence presence,
                  int64_t rows, int64_t cols, float **out, struct error *err);

/* The rows of that tensor, whose row length must be `cols`; -1 when it is absent or has another
 * shape (err says so). */
int64_t position_rows(const struct position_source *source, const char *name, int64_t cols,
                      struct error *err);

/* Fails where one of x[n] (NULL: none), numbers of tensor `name`, is not finite. */
int position_check(const struct position_source *source, const char *name, const float *x,
                   int64_t n, struct error *err);

/* What rotary schemes have in common: sets position->rotated and ->pairs from the keys, and *base.
 */
int rope_read_shape(struct position *position, const struct position_source *source, double *base,
                    struct error *err);

/* cosines[pairs], sines[pairs] of place * frequency[pairs]; `frequency` may be `cosines`. */
void rope_turn(const double *frequency, int pairs, double place, double *cosines, double *sines);

/* "base 10000, 64 of 64 dimensions, halves"; returns what snprintf does. */
int rope_describe_shape(const struct position *position, double base, char *text, size_t size);

extern const struct position_scheme position_none, position_sinusoidal, position_learned,
    position_rope, position_xpos, position_alibi, position_t5, position_shaw,
    position_transformer_xl, position_disentangled, position_kerple, position_sandwich,
    position_fire, position_cope;

#endif
