/* options: see options.h. */
#include "commands/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"

enum kind { FLAG, INTEGER, NUMBER, TEXT, FORMAT, SEED, STOP };

/* One row per option; `target` is where its value goes in struct options. */
struct row {
    const char *name;
    char letter; /* 0: none */
    unsigned group;
    enum kind kind;
    size_t target;
    double min, max; /* of INTEGER */
    const char *argument;
    const char *help;
};

#define AT(field) offsetof(struct options, field)

static const struct row rows[] = {
    {"model", 'm', OPTIONS_MODEL, TEXT, AT(model), 0, 0, "FILE",
     "model (default: the one that ships)"},
    {"tokenizer", 0, OPTIONS_MODEL, TEXT, AT(tokenizer), 0, 0, "FILE",
     "tokenizer, where the model has none"},
    {"prompt", 'p', OPTIONS_TEXT, TEXT, AT(prompt), 0, 0, "TEXT", "the text"},
    {"file", 'f', OPTIONS_TEXT, TEXT, AT(file), 0, 0, "FILE",
     "read the text from FILE (default: standard input)"},
    {"tokens", 'n', OPTIONS_SAMPLING, INTEGER, AT(n_tokens), 0, 1e15, "N",
     "tokens at most; 0: to the end (default)"},
    {"temperature", 0, OPTIONS_SAMPLING, NUMBER, AT(sampler.temperature), 0, 0, "T",
     "0: always the likeliest (0.8)"},
    {"top-k", 0, OPTIONS_SAMPLING, INTEGER, AT(sampler.top_k), 0, INT_MAX, "K",
     "the K likeliest; 0: off (40)"},
    {"top-p", 0, OPTIONS_SAMPLING, NUMBER, AT(sampler.top_p), 0, 0, "P",
     "the likeliest that sum to P; 1: off (0.95)"},
    {"min-p", 0, OPTIONS_SAMPLING, NUMBER, AT(sampler.min_p), 0, 0, "P",
     "at least P times the likeliest; 0: off (0.05)"},
    {"repeat-penalty", 0, OPTIONS_SAMPLING, NUMBER, AT(sampler.repeat_penalty), 0, 0, "X",
     "1: off (1)"},
    {"repeat-last", 0, OPTIONS_SAMPLING, INTEGER, AT(sampler.repeat_last), 0, 1 << 20, "N",
     "tokens the penalty looks back on (64)"},
    {"seed", 0, OPTIONS_SAMPLING, SEED, AT(sampler.seed), 0, 0, "N",
     "same seed, same text (default: from the clock)"},
    {"stop", 0, OPTIONS_SAMPLING, STOP, 0, 0, 0, "TEXT",
     "end at TEXT, which is not printed; may be repeated"},
    {"system", 0, OPTIONS_CHAT, TEXT, AT(system), 0, 0, "TEXT", "the system message"},
    {"decode", 'd', OPTIONS_TOKENIZE, FLAG, AT(decode), 0, 0, NULL, "ids to text"},
    {"special", 0, OPTIONS_TOKENIZE, FLAG, AT(parse_special), 0, 0, NULL,
     "names of control tokens in the text count"},
    {"prompt-tokens", 0, OPTIONS_BENCH, INTEGER, AT(bench_prompt), 0, 1 << 24, "N",
     "prompt of N tokens; 0: skip (512)"},
    {"new-tokens", 0, OPTIONS_BENCH, INTEGER, AT(bench_generate), 0, 1 << 24, "N",
     "generate N tokens; 0: skip (64)"},
    {"depth", 0, OPTIONS_BENCH, INTEGER, AT(bench_depth), 0, 1 << 24, "N",
     "tokens in the cache before (0)"},
    {"repetitions", 'r', OPTIONS_BENCH, INTEGER, AT(repetitions), 1, 1000, "N",
     "the median counts (3)"},
    {"threads", 't', OPTIONS_RUN, INTEGER, AT(threads), 1, 1024, "N",
     "threads (default: cores this process may use)"},
    {"isa", 0, OPTIONS_RUN, TEXT, AT(isa), 0, 0, "NAME",
     "instruction set of the kernels (default: the best here)"},
    {"kv-type", 0, OPTIONS_RUN, FORMAT, AT(kv_type), 0, 0, "TYPE", "cache: f32 or f16 (default)"},
    {"json", 0, OPTIONS_COMMON, FLAG, AT(json), 0, 0, NULL,
     "one JSON object a line on standard output"},
    {"quiet", 'q', OPTIONS_COMMON, FLAG, AT(quiet), 0, 0, NULL, "no progress and no notes"},
    {"verbose", 'v', OPTIONS_COMMON, FLAG, AT(verbose), 0, 0, NULL, "statistics at the end"},
    {"help", 'h', OPTIONS_COMMON, FLAG, AT(help), 0, 0, NULL, "this text"},
};

enum { N_ROWS = sizeof rows / sizeof rows[0], LONG_BASE = 256 };

static int parse_integer(const struct row *row, const char *text, int64_t *out, struct error *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno == ERANGE || (double)value < row->min ||
        (double)value > row->max)
        return error_set(err, "--%s: \"%s\" found, expected a whole number from %.0f to %.0f",
                         row->name, text, row->min, row->max);
    *out = value;
    return 0;
}

static int parse_number(const struct row *row, const char *text, float *out, struct error *err)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= -1e30 && value <= 1e30))
        return error_set(err, "--%s: \"%s\" found, expected a number", row->name, text);
    *out = (float)value;
    return 0;
}

static int take(struct options *options, const struct row *row, const char *text, struct error *err)
{
    void *target = (char *)options + row->target;
    int64_t integer = 0;
    switch (row->kind) {
    case FLAG:
        *(bool *)target = true;
        return 0;
    case TEXT:
        *(const char **)target = text;
        return 0;
    case NUMBER:
        return parse_number(row, text, target, err);
    case INTEGER:
        if (parse_integer(row, text, &integer, err))
            return -1;
        if (row->target == AT(n_tokens))
            options->n_tokens = integer;
        else
            *(int *)target = (int)integer;
        return 0;
    case FORMAT: {
        int format = format_from_name(text);
        if (format != FORMAT_F32 && format != FORMAT_F16)
            return error_set(err, "--%s: \"%s\" found, expected f32 or f16", row->name, text);
        *(enum format *)target = (enum format)format;
        return 0;
    }
    case SEED: {
        char *end;
        errno = 0;
        options->sampler.seed = strtoull(text, &end, 10);
        options->seed_given = true;
        if (end == text || *end || errno == ERANGE || strchr(text, '-'))
            return error_set(err, "--%s: \"%s\" found, expected a whole number from 0 to 2^64 - 1",
                             row->name, text);
        return 0;
    }
    case STOP:
        if (!*text || options->n_stops == MAX_STOPS)
            return error_set(err, "--stop: expected 1 to %d texts, none of them empty", MAX_STOPS);
        options->stops[options->n_stops++] = text;
        return 0;
    }
    return 0;
}

static uint64_t seed_from_clock(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000007 + (uint64_t)time.tv_nsec;
}

int options_parse(struct options *options, int argc, char **argv, unsigned groups,
                  int max_arguments, struct error *err)
{
    *options = (struct options){
        .kv_type = FORMAT_F16,
        .sampler = sampler_defaults,
        .bench_prompt = 512,
        .bench_generate = 64,
        .repetitions = 3,
    };
    options->sampler.seed = seed_from_clock();
    struct option longs[N_ROWS + 1] = {{0}};
    char shorts[2 * N_ROWS + 2] =
        ":"; /* a missing argument is told apart; getopt itself prints nothing */
    int n = 0;
    for (int i = 0; i < N_ROWS; i++) {
        if (!(rows[i].group & groups))
            continue;
        longs[n++] = (struct option){
            rows[i].name, rows[i].argument ? required_argument : no_argument, NULL, LONG_BASE + i};
        if (rows[i].letter) {
            size_t length = strlen(shorts);
            shorts[length] = rows[i].letter;
            shorts[length + 1] = rows[i].argument ? ':' : '\0';
        }
    }
    opterr = 0;
    optind = 1;
    for (;;) {
        int at = optind;
        int found = getopt_long(argc, argv, shorts, longs, NULL);
        if (found == -1)
            break;
        if (found == '?' || found == ':')
            return error_set(
                err, "%s: %s (see longhand %s --help)", argv[at < argc ? at : argc - 1],
                found == ':' ? "needs an argument" : "unknown, ambiguous or misused option",
                argv[0]);
        const struct row *row = NULL;
        for (int i = 0; i < N_ROWS && !row; i++)
            if (found == LONG_BASE + i || (rows[i].group & groups && rows[i].letter == found))
                row = &rows[i];
        if (row && take(options, row, optarg, err))
            return -1;
    }
    for (; optind < argc; optind++) {
        if (options->n_arguments == max_arguments)
            return error_set(err, "\"%s\": unexpected argument (see longhand %s --help)",
                             argv[optind], argv[0]);
        options->arguments[options->n_arguments++] = argv[optind];
    }
    if (options->prompt && options->file)
        return error_set(err, "--prompt and --file exclude each other");
    struct kernels kernels;
    return sampler_check(&options->sampler, err) || kernels_select(&kernels, options->isa, err) ? -1
                                                                                                : 0;
}

void options_print(unsigned groups)
{
    for (int i = 0; i < N_ROWS; i++) {
        if (!(rows[i].group & groups))
            continue;
        char name[64];
        snprintf(name, sizeof name, "--%s%s%s", rows[i].name, rows[i].argument ? " " : "",
                 rows[i].argument ? rows[i].argument : "");
        printf("  %c%c %-22s %s\n", rows[i].letter ? '-' : ' ',
               rows[i].letter ? rows[i].letter : ' ', name, rows[i].help);
    }
}
