/* summarize: what the files of the command share.
 *
 * A document is read whole, in one timeline, and then the model is asked; or in passages that fit
 * what it was trained on, each with a request of its own, and what it says of all of them is the
 * next document, until one passage is left. Every byte of the document is accounted for: read,
 * skipped, or read and out of sight by the time the answer was written. */
#ifndef LONGHAND_COMMANDS_SUMMARIZE_SUMMARIZE_H
#define LONGHAND_COMMANDS_SUMMARIZE_SUMMARIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "commands/engine.h"
#include "commands/estimate.h"
#include "commands/notices.h"
#include "commands/output.h"

/* ---- A text in its tokens -------------------------------------------------------------------- */

/* Bytes [begin, end) of a document. */
struct passage {
    size_t begin, end;
};

struct document {
    struct text text; /* belongs to the caller */
    struct token_list ids;
    size_t
        *ends; /* (ids.n) where in the text each token ends, never falling; the last: its length */
};

int document_open(struct document *document, const struct tokenizer *tokenizer, struct text text,
                  struct error *err);
void document_close(struct document *document); /* accepts a zeroed struct */
/* Tokens that end in a passage: those of passages that make up the text add up to all. */
size_t document_tokens(const struct document *document, struct passage passage);

/* Where each of n tokens ends in the text[length] that they spell, a stretch of theirs. */
void document_spell(const struct tokenizer *tokenizer, const int32_t *ids, size_t n,
                    struct text text, size_t *ends);

/* A passage without the white space around it. */
struct text passage_text(const struct document *document, struct passage passage);

/* ---- Passages -------------------------------------------------------------------------------- */

enum { PASSAGE_LEAST = 16 }; /* tokens */

/* Cuts the document into passages of `most` (>= PASSAGE_LEAST) tokens or less, each as long as
 * sentences allow; where they do not, lines, words or at last characters end it. A passage begins
 * with the whole sentences that end the one before, as far as they have `overlap` tokens
 * (<= most / 2) or less. Returns an array of stb_ds; NULL for a text of no bytes. */
struct passage *passages_cut(const struct document *document, size_t most, size_t overlap);

/* ---- Coverage -------------------------------------------------------------------------------- */

/* Arrays of stb_ds, in order, disjoint: read and skipped make up the document. */
struct coverage {
    struct passage *read;
    struct passage *skipped;
    struct passage *unseen; /* of what was read, what the answer could not see any more */
    size_t twice;           /* bytes that were read in two passages */
};

/* Adds a passage, which begins where or behind where the last one began. */
void coverage_add(struct coverage *coverage, struct passage passage);
/* Adds bytes of a passage that its answer could not see, in the same order. */
void coverage_hide(struct coverage *coverage, struct passage passage);
/* Finds what of text[length] was skipped, once all is added. */
void coverage_finish(struct coverage *coverage, size_t length);
void coverage_free(struct coverage *coverage);
size_t coverage_bytes(const struct passage *passages);

/* ---- The request ----------------------------------------------------------------------------- */

/* How the model is asked. */
struct wording {
    const char *name;
    bool chat;                     /* the words are a user's turn */
    struct text before, after;     /* of the text */
    const char *stop;              /* ends the answer; NULL: the model does */
    struct chat_template template; /* where chat */
    char *memory;                  /* what before and after point into */
};

/* As --wording, --prompt and --question say, or the model's file. EXIT_USAGE where they do not fit,
 * or -1. */
int wording_choose(struct wording *wording, struct engine *engine, const struct options *options,
                   struct error *err);
void wording_free(struct wording *wording); /* accepts a zeroed struct */
/* Appends the tokens of the request about `text`. */
int wording_render(const struct wording *wording, const struct engine *engine, struct text text,
                   struct token_list *ids, struct error *err);

/* ---- ROUGE ----------------------------------------------------------------------------------- */

struct rouge {
    double precision, recall, f1;
};

/* Lin 2004: ROUGE-1, ROUGE-2 and ROUGE-L of a text against one reference. Words are runs of letters
 * and digits, in lower case as far as they are ASCII, and nothing is stemmed: on ASCII texts the
 * scores are those of rouge-score 0.1.2 (use_stemmer=False). Without words all are 0. */
int rouge_score(struct text candidate, struct text reference, struct rouge scores[3],
                struct error *err);

/* ---- The work -------------------------------------------------------------------------------- */

enum strategy { STRATEGY_WHOLE, STRATEGY_CHUNKS };

struct summarizer {
    struct options options; /* stops of the wording among them */
    struct engine engine;
    struct session session;
    struct output output;
    struct notices notices;
    struct estimate estimate;
    struct wording wording;
    struct token_list empty; /* the request about no text: what it shares with others is no text */
    char *text;              /* of the document */
    char *reference;         /* of --reference, or NULL */
    size_t reference_length;
    struct document document;
    struct coverage coverage;
    enum strategy strategy;
    size_t limit;           /* tokens of a request and its answer, where there are several */
    size_t most;            /* ... and of its text */
    int64_t part_tokens;    /* of the summary of a passage at most */
    int64_t summary_tokens; /* of the last one at most */
    /* what came of it */
    char *summary;          /* array of stb_ds, no NUL at its end */
    const char *end;        /* why it ends, as generate says; "not shorter": nothing was gained */
    bool streamed;          /* the summary stands on standard output already */
    struct passage *chunks; /* array of stb_ds: passages of the document, and ... */
    char **answers;         /* ... what was said of each; NULL: it was not read */
    int levels;             /* of summaries */
    int n_requests;
    int n_parts; /* summaries of passages, and ... */
    int n_cut;   /* ... those that -n ended */
    int64_t prompt_tokens, new_tokens;
    double read_seconds, write_seconds;
    double started, seconds;
    struct {
        double at, write_seconds;
        int64_t prompt_tokens, new_tokens;
    } warm;        /* after the first request, which takes memory as well */
    size_t memory; /* bytes at most, beyond the weights */
};

/* One request. */
struct request {
    struct text text;
    int64_t most;    /* tokens of the answer */
    uint64_t number; /* draws are made by the seed and this */
    bool last;       /* its answer is the result */
    /* filled */
    char *answer;           /* array of stb_ds, without white space around it; no NUL */
    const char *end;        /* as generate says */
    bool read;              /* the text was read to its end */
    struct passage seen[2]; /* bytes of the text: read, and those of them that the answer could not
                               see any more */
};

/* Reads the text in a timeline of its own and takes the answer; that of the last one is streamed to
 * standard output. */
int summarizer_ask(struct summarizer *s, struct request *request, struct error *err);

/* Reads the document in one timeline, or in passages. Fills what came of it, also when
 * interrupted. */
int summarize_whole(struct summarizer *s, struct error *err);
int summarize_chunks(struct summarizer *s, struct error *err);

/* ---- The forecast ---------------------------------------------------------------------------- */

/* A level follows whose text is so many percent of its own, or less. */
enum { SHORTER = 75 };

/* Tokens. */
struct load {
    double read, written;
};

/* Tokens, in the mean. */
struct forecast {
    double frame;  /* of a request, beside its text */
    double filled; /* of a passage */
    double said;   /* of a summary of a passage */
    double last;   /* of the last summary */
};

/* What comes after a level of so many passages. */
struct load forecast_levels(const struct forecast *forecast, double passages);
/* How long it takes, by what was done since the first request; there is such. */
double forecast_seconds(const struct summarizer *s, double now, struct load load);

/* Says on standard error what was read and what it took, or all of it as JSON. */
int summarize_report(struct summarizer *s, struct error *err);

#endif
