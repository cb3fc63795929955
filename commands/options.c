/* options: see options.h. */
#include "commands/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"
#include "model/cache.h"

/* WHOLE and REAL have a range and are an int64_t and a double; INTEGER is WHOLE in an int, INTEGERS
 * a list of them, NUMBER a float that is checked elsewhere; LIST gathers the texts of an option
 * that is repeated. */
enum kind {
    FLAG,
    INTEGER,
    INTEGERS,
    WHOLE,
    NUMBER,
    REAL,
    TEXT,
    FORMAT,
    SCALING,
    SIZE,
    SEED,
    STOP,
    LIST
};

/* One row per option; `target` is where its value goes in struct options. */
struct row {
    const char *name;
    char letter; /* 0: none */
    unsigned group;
    enum kind kind;
    size_t target;
    double min, max; /* of whole and REAL numbers */
    const char *argument;
    const char *help; /* lines of it, at most 72 columns */
};

#define AT(field) offsetof(struct options, field)

static const struct row rows[] = {
    {"model", 'm', OPTIONS_MODEL, TEXT, AT(model), 0, 0, "FILE",
     "model (default: the one that ships)"},
    {"model", 'm', OPTIONS_PERPLEXITY, LIST, AT(models), 0, 0, "FILE",
     "model (default: the one that ships); may be repeated"},
    {"tokenizer", 0, OPTIONS_MODEL | OPTIONS_PERPLEXITY, TEXT, AT(tokenizer), 0, 0, "FILE",
     "tokenizer, where the model has none"},
    {"prompt", 'p', OPTIONS_TEXT, TEXT, AT(prompt), 0, 0, "TEXT", "the text"},
    {"file", 'f', OPTIONS_TEXT, TEXT, AT(file), 0, 0, "FILE",
     "read the text from FILE (default: standard input)"},
    {"file", 'f', OPTIONS_PERPLEXITY, LIST, AT(files), 0, 0, "FILE",
     "text to score (default: standard input); may be repeated"},
    {"mode", 0, OPTIONS_PERPLEXITY, TEXT, AT(mode), 0, 0, "MODE",
     "chunked: independent segments (default); sliding: windows, of which\n"
     "only the new tokens count; positions: by place in the segment;\n"
     "streaming: each file in one pass, under --context"},
    {"lengths", 0, OPTIONS_PERPLEXITY, TEXT, AT(lengths), 0, 0, "L,L,...",
     "tokens of a segment or window (256,512,...,16384)"},
    {"stride", 0, OPTIONS_PERPLEXITY, WHOLE, AT(stride), 1, 1 << 24, "N",
     "by how many tokens a window advances (half its length)"},
    {"tokens", 'n', OPTIONS_PERPLEXITY, WHOLE, AT(score_tokens), 0, 1e15, "N",
     "tokens of each file at most, from its start; 0: all (32768)"},
    {"bins", 0, OPTIONS_PERPLEXITY, TEXT, AT(bins), 0, 0, "BINS",
     "of positions: octaves (default: two bins each), or tokens of a bin"},
    {"like", 0, OPTIONS_PERPLEXITY, TEXT, AT(like), 0, 0, "TOOL",
     "llama.cpp: its definition, the second half of every chunk, whole files"},
    {"seed", 0, OPTIONS_PERPLEXITY, SEED, AT(score_seed), 0, 0, "N", "of the error bars (1)"},
    {"csv", 0, OPTIONS_PERPLEXITY | OPTIONS_PASSKEY, TEXT, AT(csv), 0, 0, "FILE",
     "append results; the same command again goes on where it ended"},
    {"plot", 0, OPTIONS_PERPLEXITY, TEXT, AT(plot), 0, 0, "FILE.svg",
     "write a picture; -: draw on standard output"},
    {"lengths", 0, OPTIONS_PASSKEY, TEXT, AT(lengths), 0, 0, "L,L,...",
     "tokens of a prompt (256,512,1024,2048,4096)"},
    {"depths", 0, OPTIONS_PASSKEY, TEXT, AT(depths), 0, 0, "P,P,...",
     "percent of the filler before the key (0,25,50,75,100)"},
    {"keys", 0, OPTIONS_PASSKEY, INTEGER, AT(keys), 1, 10000, "N",
     "prompts of each length and depth (5)"},
    {"wording", 0, OPTIONS_PASSKEY, TEXT, AT(wording), 0, 0, "NAME",
     "whose prompt: llama.cpp (default) or longlm"},
    {"prompt", 'p', OPTIONS_PASSKEY, TEXT, AT(key_prompt), 0, 0, "FILE",
     "a prompt of one's own, {key} in it between two {filler}"},
    {"file", 'f', OPTIONS_PASSKEY, TEXT, AT(file), 0, 0, "FILE",
     "text to hide the key in (default: that of the wording)"},
    {"seed", 0, OPTIONS_PASSKEY, SEED, AT(score_seed), 0, 0, "N", "of the keys (1)"},
    {"plot", 0, OPTIONS_PASSKEY, TEXT, AT(plot), 0, 0, "FILE.svg", "write a picture"},
    {"tokens", 'n', OPTIONS_SAMPLING, WHOLE, AT(n_tokens), 0, 1e15, "N",
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
    {"no-lookup", 0, OPTIONS_SAMPLING, FLAG, AT(no_lookup), 0, 0, NULL,
     "do not guess ahead from the text so far (same text, slower)"},
    {"system", 0, OPTIONS_CHAT, TEXT, AT(system), 0, 0, "TEXT", "the system message"},
    {"session", 0, OPTIONS_CHAT, TEXT, AT(session), 0, 0, "FILE",
     "go on with the conversation in FILE, and keep it there"},
    {"decode", 'd', OPTIONS_TOKENIZE, FLAG, AT(decode), 0, 0, NULL, "ids to text"},
    {"special", 0, OPTIONS_TOKENIZE, FLAG, AT(parse_special), 0, 0, NULL,
     "names of control tokens in the text count"},
    {"prompt-tokens", 0, OPTIONS_BENCH, INTEGERS, AT(bench_prompts), 0, 1 << 24, "N,...",
     "prompts of N tokens; 0: none (512)"},
    {"new-tokens", 0, OPTIONS_BENCH, INTEGER, AT(bench_new_tokens), 0, 1 << 24, "N",
     "generate N tokens; 0: none (64)"},
    {"depth", 0, OPTIONS_BENCH, INTEGERS, AT(bench_depths), 0, 1 << 24, "N,...",
     "each with N tokens in the cache before (0)"},
    {"repetitions", 'r', OPTIONS_BENCH, INTEGER, AT(repetitions), 1, 1000, "N",
     "the median counts (3)"},
    {"threads", 't', OPTIONS_RUN, INTEGER, AT(threads), 1, 1024, "N",
     "threads (default: cores this process may use)"},
    {"isa", 0, OPTIONS_RUN, TEXT, AT(isa), 0, 0, "NAME",
     "instruction set of the kernels (default: the best here)"},
    {"max-memory", 0, OPTIONS_RUN, SIZE, AT(max_memory), 0, 0, "SIZE",
     "bytes of the cache at most, or 500K, 200M, 2G (default: no bound)"},
    {"kv-type", 0, OPTIONS_POSITION, FORMAT, AT(kv_type), 0, 0, "TYPE",
     "cache: f32, f16 (default), bf16, q8_0 or q4_0"},
    {"context", 0, OPTIONS_POSITION, TEXT, AT(context), 0, 0, "POLICY",
     "which tokens are seen, and how far away: all (default), window=W,\n"
     "sinks=S, lm-infinite, rerope, leaky-rerope, self-extend, dual-chunk;\n"
     "longhand info says what each does to a model"},
    {"rope-scaling", 0, OPTIONS_POSITION, SCALING, AT(rope.kind), 0, 0, "KIND",
     "none, linear, ntk, dynamic, yarn, dynamic-yarn, llama3 or longrope\n"
     "(default: the model's own)"},
    {"rope-factor", 0, OPTIONS_POSITION, REAL, AT(rope.factor), 1, 1e6, "F",
     "how much longer than trained texts may get by it"},
    {"rope-base", 0, OPTIONS_POSITION, REAL, AT(rope.base), 1, 1e15, "B",
     "the base of the rotation's frequencies"},
    {"train-length", 0, OPTIONS_POSITION, INTEGER, AT(rope.train_length), 1, INT_MAX, "N",
     "tokens the model was trained on (default: as the file says)"},
    {"at", 0, OPTIONS_INFO, WHOLE, AT(at), 0, 0x1p40, "N",
     "what the token at position N (from 0) sees"},
    {"json", 0, OPTIONS_COMMON, FLAG, AT(json), 0, 0, NULL,
     "one JSON object a line on standard output"},
    {"quiet", 'q', OPTIONS_COMMON, FLAG, AT(quiet), 0, 0, NULL, "no progress and no notes"},
    {"verbose", 'v', OPTIONS_COMMON, FLAG, AT(verbose), 0, 0, NULL, "statistics at the end"},
    {"help", 'h', OPTIONS_COMMON, FLAG, AT(help), 0, 0, NULL, "this text"},
};

enum { N_ROWS = sizeof rows / sizeof rows[0], LONG_BASE = 256 };

static int parse_whole(const struct row *row, const char *text, int64_t *out, struct error *err)
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

/* Numbers with commas between them replace the default. */
static int parse_wholes(const struct row *row, const char *text, struct number_list *list,
                        struct error *err)
{
    char number[24];
    list->n = 0;
    for (const char *c = text;; c++) {
        size_t length = strcspn(c, ",");
        int64_t whole = 0;
        snprintf(number, sizeof number, "%.*s", (int)(length < 23 ? length : 23), c);
        if (list->n == MAX_NUMBERS)
            return error_set(err, "--%s: more than %d numbers", row->name, MAX_NUMBERS);
        if (parse_whole(row, number, &whole, err))
            return -1;
        list->at[list->n++] = (int)whole;
        c += length;
        if (!*c)
            return 0;
    }
}

static int parse_number(const struct row *row, const char *text, double *out, struct error *err)
{
    bool bounded = row->min < row->max;
    char *end;
    double value = strtod(text, &end);
    bool number = end != text && !*end && value >= -1e30 && value <= 1e30;
    if (number && (!bounded || (value >= row->min && value <= row->max))) {
        *out = value;
        return 0;
    }
    return bounded ? error_set(err, "--%s: \"%s\" found, expected a number from %g to %g",
                               row->name, text, row->min, row->max)
                   : error_set(err, "--%s: \"%s\" found, expected a number", row->name, text);
}

static int parse_format(const struct row *row, const char *text, enum format *out,
                        struct error *err)
{
    int format = format_from_name(text);
    if (format < 0 || !cache_supports((enum format)format))
        return error_set(err, "--%s: \"%s\" found, expected one of %s", row->name, text,
                         cache_formats());
    *out = (enum format)format;
    return 0;
}

static int parse_scaling(const struct row *row, const char *text, int *out, struct error *err)
{
    *out = rope_scaling_from_name(text);
    if (*out >= 0)
        return 0;
    char names[128] = "";
    size_t length = 0;
    for (int kind = 0; kind < ROPE_SCALING_COUNT && length < sizeof names; kind++)
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", kind ? ", " : "",
                                   rope_scaling_name((enum rope_scaling_kind)kind));
    return error_set(err, "--%s: \"%s\" found, expected one of %s", row->name, text, names);
}

/* Units are decimal, as in all that the program says of memory. */
static int parse_size(const struct row *row, const char *text, size_t *out, struct error *err)
{
    static const char units[] = "KMGT";
    char *end;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    for (const char *u = units; unit && u <= unit; u++)
        value *= 1000;
    if (*text < '0' || *text > '9' || end[unit ? 1 : 0] || !(value >= 1 && value <= 0x1p60))
        return error_set(err,
                         "--%s: \"%s\" found, expected a number of bytes, 1 or more, or one with "
                         "K, M, G or T behind it",
                         row->name, text);
    *out = (size_t)value;
    return 0;
}

static int parse_seed(const struct row *row, const char *text, uint64_t *out, struct error *err)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (end == text || *end || errno == ERANGE || strchr(text, '-'))
        return error_set(err, "--%s: \"%s\" found, expected a whole number from 0 to 2^64 - 1",
                         row->name, text);
    return 0;
}

static int add_stop(struct options *options, const char *text, struct error *err)
{
    if (!*text || options->n_stops == MAX_STOPS)
        return error_set(err, "--stop: expected 1 to %d texts, none of them empty", MAX_STOPS);
    options->stops[options->n_stops++] = text;
    return 0;
}

static int add_listed(const struct row *row, const char *text, struct option_list *list,
                      struct error *err)
{
    if (list->n == MAX_LISTED)
        return error_set(err, "--%s: given more than %d times", row->name, MAX_LISTED);
    list->items[list->n++] = text;
    return 0;
}

static int take(struct options *options, const struct row *row, const char *text, struct error *err)
{
    void *target = (char *)options + row->target;
    int64_t whole = 0;
    double number = 0;
    switch (row->kind) {
    case FLAG:
        *(bool *)target = true;
        return 0;
    case TEXT:
        *(const char **)target = text;
        return 0;
    case WHOLE:
        return parse_whole(row, text, target, err);
    case INTEGER:
        if (parse_whole(row, text, &whole, err))
            return -1;
        *(int *)target = (int)whole;
        return 0;
    case INTEGERS:
        return parse_wholes(row, text, target, err);
    case REAL:
        return parse_number(row, text, target, err);
    case NUMBER:
        if (parse_number(row, text, &number, err))
            return -1;
        *(float *)target = (float)number;
        return 0;
    case FORMAT:
        return parse_format(row, text, target, err);
    case SCALING:
        return parse_scaling(row, text, target, err);
    case SIZE:
        return parse_size(row, text, target, err);
    case SEED:
        return parse_seed(row, text, target, err);
    case STOP:
        return add_stop(options, text, err);
    case LIST:
        return add_listed(row, text, target, err);
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
        .rope = {.kind = -1},
        .at = -1,
        .sampler = sampler_defaults,
        .bench_prompts = {1, {512}},
        .bench_depths = {1, {0}},
        .bench_new_tokens = 64,
        .repetitions = 3,
        .score_tokens = -1,
        .score_seed = 1,
        .keys = 5,
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
        printf("  %c%c %-22s ", rows[i].letter ? '-' : ' ', rows[i].letter ? rows[i].letter : ' ',
               name);
        for (const char *c = rows[i].help; *c; c++)
            if (*c == '\n')
                printf("\n%28s", "");
            else
                putchar(*c);
        putchar('\n');
    }
}
