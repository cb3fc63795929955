/* perplexity: what the files of the command share. docs/perplexity.md defines the modes.
 *
 * A plan is what the options ask for. A subject is one model with the texts in its tokens. A point
 * is one measurement: a subject at one length, as stretches of text that are fed from an empty
 * cache. The scored tokens of a stretch are cut into pieces; what is kept of a measurement is the
 * loss of every piece, from which rows of results and their error bars are made. */
#ifndef LONGHAND_COMMANDS_PERPLEXITY_H
#define LONGHAND_COMMANDS_PERPLEXITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "commands/engine.h"
#include "commands/options.h"
#include "commands/output.h"
#include "model/score.h"

enum mode { MODE_CHUNKED, MODE_SLIDING, MODE_STREAMING, MODE_POSITIONS };
extern const char *const mode_names[];

enum { MAX_LENGTHS = 64, PIECE_TOKENS = 256 };

struct plan {
    enum mode mode;
    bool like_llama_cpp;
    int64_t lengths[MAX_LENGTHS]; /* rising */
    int n_lengths;
    bool lengths_given;
    int64_t stride;    /* 0: half a length */
    int64_t tokens;    /* of a file at most; 0: all */
    int64_t bin_width; /* of places; 0: two bins an octave */
    uint64_t seed;
};

/* Fails on wrong usage only. */
int plan_make(struct plan *plan, const struct options *options, struct error *err);

/* A file's bytes. */
struct source {
    const char *name;
    char *text;
    size_t length;
};

/* A file in a model's tokens: prediction i is that of ids[i + 1] after ids[..i]. */
struct tokens {
    int32_t *ids;   /* (n + 1) BOS first where the tokenizer adds it */
    int64_t *bytes; /* (n + 1) of the file before what prediction i predicts */
    int64_t n;      /* predictions */
    int64_t whole;  /* predictions that all of the file gives */
};

struct stretch {
    int file;
    int64_t begin; /* the first prediction */
    int64_t n;     /* tokens fed = predictions */
    int64_t from;  /* the first of them that is scored */
    int64_t first_piece;
    bool done;
};

/* Consecutive scored tokens of one stretch and one bin, at most PIECE_TOKENS. */
struct piece {
    int file;
    int bin;
    int64_t n;
    int64_t bytes;
    double loss; /* their sum */
};

/* Predictions after `first` to `last` tokens of the stretch. */
struct bin {
    int64_t first;
    int64_t last;
};

/* What stretches took, and what was seen of the model's health. */
struct effort {
    double seconds;
    int64_t n_fed;
    double cache_bytes; /* the most that the cache held */
    struct score_counts counts;
    double entropy; /* of attention: sum over stretches of the mean over all heads of the last
                       token */
};

struct point {
    int64_t length;
    int64_t stride;
    struct stretch *stretches;
    int64_t n_stretches;
    struct piece *pieces;
    int64_t n_pieces;
    struct bin *bins;
    int n_bins;
    uint64_t key;
    /* Measured: */
    struct effort effort; /* of the stretches that are done */
};

struct subject {
    struct engine engine;
    struct options options; /* with this model's name in `model` */
    char name[PRINTABLE_BYTES + 4];
    char positions[2 * POSITION_NAME_BYTES]; /* its schemes, described */
    struct tokens *tokens;                   /* (n_sources) */
    int n_sources;
    uint64_t identity; /* of the model's bytes and of all that its numbers depend on */
    struct point *points;
    int n_points;
};

/* Opens the model, reads the sources in its tokens. */
int subject_open(struct subject *subject, const struct plan *plan, const struct options *options,
                 const char *model, const struct source *sources, int n_sources, struct error *err);
void subject_close(struct subject *subject); /* accepts a zeroed or half-open struct */

/* Lays a length out on the subject's texts. One that no text fills is an error. */
int point_lay(struct point *point, const struct subject *subject, const struct plan *plan,
              const struct source *sources, int64_t length, struct error *err);
void point_free(struct point *point); /* accepts a zeroed struct */

/* Measures the stretches of a point that are not done. `on_progress` gets the share of the point
 * that is done (0 to 1) and stops the measurement by returning false. */
typedef bool measure_progress(void *context, double share);
/* Gets a stretch that is done; -1 ends the measurement. */
typedef int measure_keep(void *context, const struct point *point, int64_t stretch,
                         const struct effort *effort, struct error *err);
int measure_point(struct subject *subject, struct point *point, measure_progress *on_progress,
                  measure_keep *keep, void *context, struct error *err);
/* Takes the effort of a stretch into that of the point. */
void point_add_effort(struct point *point, const struct effort *effort);
/* What is left to measure of a point, in tokens of a short text: what attention costs grows with
 * the keys that are seen. */
double point_cost(const struct point *point, const struct subject *subject);
/* Tokens a second of a short text, for estimates. */
int measure_speed(const struct subject *subject, double *speed, struct error *err);

/* A result: the mean over a bin, or over all. */
struct row {
    int64_t first; /* tokens seen before the prediction, first to last */
    int64_t last;
    bool whole; /* all bins */
    int64_t tokens;
    double loss; /* mean, in nats */
    double low;  /* the interval that holds 95 % of the resampled means; NaN: too few pieces */
    double high;
    double bits_per_byte;
};

/* Rows of a finished point: one a bin and, where there are several, one over all. Free them. */
int rows_make(const struct point *point, uint64_t seed, struct row **rows, int *n_rows,
              struct error *err);
/* Of a finished point. */
struct health {
    double entropy;    /* of attention, mean over the stretches' last tokens and all heads */
    double repetition; /* shares of the scored tokens, see struct score_counts */
    double text_repetition;
};
struct health rows_health(const struct point *point);
/* Mean loss over one file of the point; *tokens gets how many. */
double rows_file_loss(const struct point *point, int file, int64_t *tokens);

#endif
