/* options: the command line as plain values. One table says every option's name, argument, range
 * and help; each command lists the options it takes. */
#ifndef LONGHAND_COMMANDS_OPTIONS_H
#define LONGHAND_COMMANDS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "kernels/format.h"
#include "model/position/rope_scaling.h"
#include "model/sampler.h"

enum { MAX_ARGUMENTS = 3, MAX_NUMBERS = 32, MAX_LISTED = 64 };

/* "512,8192" */
struct number_list {
    int n;
    int at[MAX_NUMBERS];
};

/* The arguments of an option that may be given several times. */
struct option_list {
    const char *items[MAX_LISTED];
    int n;
};

struct options {
    const char *model;     /* NULL: the one that ships */
    const char *tokenizer; /* NULL: the model's own */
    int threads;           /* 0: as many as the machine gives */
    const char *isa;       /* NULL: the best */
    enum format kv_type;
    size_t max_memory;         /* bytes of the cache; 0: no bound */
    const char *context;       /* --context, or NULL: all keys */
    struct rope_override rope; /* train_length is --train-length, for whatever asks for it */
    const char *prompt;        /* -p, or NULL; summarize: a wording */
    const char *file;          /* -f, or NULL */
    int64_t n_tokens;          /* -n; 0: until the end of the text */
    struct sampler_options sampler;
    bool no_lookup; /* one token after the other */
    struct option_list stops;
    const char *system;               /* chat: the system message, or NULL */
    const char *template;             /* chat: a family or a file, or NULL: the model's own */
    const char *strategy;             /* summarize, or NULL: as the document's length says */
    int chunk;                        /* summarize: tokens of a request; 0: as trained */
    const char *question;             /* summarize: what is asked; NULL: for a summary */
    const char *reference;            /* summarize: a file to compare with, or NULL */
    const char *session;              /* chat: the file that keeps the conversation, or NULL */
    const char *export;               /* chat: where to write what was said in it, or NULL */
    bool decode;                      /* tokenize: ids to text */
    bool parse_special;               /* tokenize: "</s>" in the text is the control token */
    struct number_list bench_prompts; /* bench: tokens of the prompt tests */
    struct number_list bench_depths;  /* bench: tokens in the cache before any test */
    int bench_new_tokens;             /* bench: tokens of the generation tests */
    int repetitions;                  /* bench */
    int64_t at;                       /* info: what the query here sees; -1: not asked */
    struct option_list models;        /* perplexity: -m; none: the one that ships */
    struct option_list files;         /* perplexity: -f; none: standard input */
    const char *lengths;              /* perplexity: "256,512", or NULL */
    const char *mode;                 /* perplexity, or NULL: chunked */
    int64_t stride;                   /* perplexity: of windows; 0: half a length */
    int64_t score_tokens;             /* perplexity: of each file at most; 0: all; -1: not given */
    const char *bins;                 /* perplexity: of positions, or NULL: by octaves */
    const char *like;                 /* perplexity: whose definition; NULL: our own */
    uint64_t score_seed;              /* perplexity: of the error bars */
    const char *csv;                  /* perplexity: appended and gone on from; or NULL */
    const char *plot;                 /* perplexity: picture to write; or NULL */
    const char *depths;               /* passkey: "0,50,100", or NULL */
    int keys;                         /* passkey: of a cell */
    const char *wording;              /* passkey, summarize; NULL: the command's default */
    const char *key_prompt;           /* passkey: a file with a wording, or NULL */
    bool json;
    bool quiet;
    bool verbose;
    bool help;
    const char *arguments[MAX_ARGUMENTS]; /* what is not an option */
    int n_arguments;
};

/* Groups of options that a command takes. */
enum option_group {
    OPTIONS_COMMON = 1 << 0, /* help, quiet, verbose, json */
    OPTIONS_MODEL = 1 << 1,
    OPTIONS_RUN = 1 << 2,  /* threads, isa, cache memory */
    OPTIONS_TEXT = 1 << 3, /* -p, -f */
    OPTIONS_SAMPLING = 1 << 4,
    OPTIONS_CHAT = 1 << 5,
    OPTIONS_TOKENIZE = 1 << 6,
    OPTIONS_BENCH = 1 << 7,
    OPTIONS_POSITION = 1 << 8, /* context policy, rope scaling, cache type */
    OPTIONS_INFO = 1 << 9,
    OPTIONS_PERPLEXITY = 1 << 10,
    OPTIONS_PASSKEY = 1 << 11,
    OPTIONS_SUMMARIZE = 1 << 12,
    OPTIONS_LENGTH = 1 << 13, /* -n of a text without end */
};

/* Fills options with the defaults and then from argv[1..argc-1]; argv[0] is the command's name.
 * Takes the options of `groups` and up to max_arguments others. */
int options_parse(struct options *options, int argc, char **argv, unsigned groups,
                  int max_arguments, struct error *err);

/* Sets one option of `groups` by its name or letter; `value` (NULL: none) must live as long as the
 * options. On failure they are as they were. Without a value a list becomes empty; a flag may be
 * given "on" or "off". */
int options_set(struct options *options, unsigned groups, const char *name, const char *value,
                struct error *err);
/* Writes one line per option of `groups`: its name, what it is now, and its help. */
void options_show(const struct options *options, unsigned groups, FILE *out);

/* Writes one help line per option of `groups` to stdout. */
void options_print(unsigned groups);

#endif
