/* options: see options.h. */
#include "commands/options.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands/option_values.h"
#include "kernels/kernels.h"

#define AT(field) offsetof(struct options, field)

static const struct option_row rows[] = {
    {"model", 'm', OPTIONS_MODEL, TEXT, AT(model), 0, 0, "FILE",
     "model (default: the one that ships)"},
    {"model", 'm', OPTIONS_PERPLEXITY, LIST, AT(models), 0, MAX_LISTED, "FILE",
     "model (default: the one that ships); may be repeated"},
    {"tokenizer", 0, OPTIONS_MODEL | OPTIONS_PERPLEXITY, TEXT, AT(tokenizer), 0, 0, "FILE",
     "tokenizer, where the model has none"},
    {"prompt", 'p', OPTIONS_TEXT, TEXT, AT(prompt), 0, 0, "TEXT", "the text"},
    {"file", 'f', OPTIONS_TEXT, TEXT, AT(file), 0, 0, "FILE",
     "read the text from FILE (default: standard input)"},
    {"file", 'f', OPTIONS_PERPLEXITY, LIST, AT(files), 0, MAX_LISTED, "FILE",
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
    {"file", 'f', OPTIONS_SUMMARIZE, TEXT, AT(file), 0, 0, "FILE",
     "the document (default: standard input)"},
    {"question", 0, OPTIONS_SUMMARIZE, TEXT, AT(question), 0, 0, "TEXT",
     "answer TEXT about the document, in place of a summary"},
    {"strategy", 0, OPTIONS_SUMMARIZE, TEXT, AT(strategy), 0, 0, "NAME",
     "whole: read in one go, under --context; chunks: passages, then the\n"
     "summaries of these (default: chunks where the document is longer\n"
     "than what the model was trained on and there is no --context)"},
    {"chunk", 0, OPTIONS_SUMMARIZE, INTEGER, AT(chunk), 1, 1 << 24, "N",
     "tokens of a chunk with its request and summary (as trained)"},
    {"tokens", 'n', OPTIONS_SUMMARIZE, WHOLE, AT(n_tokens), 1, 1 << 24, "N",
     "tokens of a summary at most (of a chunk a fifth of its tokens, of\n"
     "the document a half)"},
    {"wording", 0, OPTIONS_SUMMARIZE, TEXT, AT(wording), 0, 0, "NAME",
     "report: text that ends in Summary: or Question: ... Answer:; chat: a\n"
     "request in the chat template (as the model's file says, or else chat\n"
     "where there is a template)"},
    {"prompt", 'p', OPTIONS_SUMMARIZE, TEXT, AT(prompt), 0, 0, "TEXT|FILE",
     "words of one's own, with {text} and, for --question, {question}"},
    {"reference", 0, OPTIONS_SUMMARIZE, TEXT, AT(reference), 0, 0, "FILE",
     "a summary to compare with: ROUGE-1, ROUGE-2 and ROUGE-L"},
    {"tokens", 'n', OPTIONS_LENGTH, WHOLE, AT(n_tokens), 0, 1e15, "N",
     "tokens at most; 0: to the end (default)"},
    {"temperature", 0, OPTIONS_SAMPLING, NUMBER, AT(sampler.temperature), 0, 0, "T",
     "0: always the likeliest (0.8; summarize: 0)"},
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
    {"stop", 0, OPTIONS_SAMPLING, LIST, AT(stops), 1, 16, "TEXT",
     "end at TEXT, which is not printed; may be repeated"},
    {"no-lookup", 0, OPTIONS_SAMPLING, FLAG, AT(no_lookup), 0, 0, NULL,
     "do not guess ahead from the text so far (same text, slower)"},
    {"system", 0, OPTIONS_CHAT, TEXT, AT(system), 0, 0, "TEXT", "the system message"},
    {"template", 0, OPTIONS_CHAT | OPTIONS_SUMMARIZE, TEXT, AT(template), 0, 0, "NAME|FILE",
     "form of the conversation; a wrong name lists them (the model's own)"},
    {"session", 0, OPTIONS_CHAT, TEXT, AT(session), 0, 0, "FILE",
     "go on with the conversation in FILE, and keep it there"},
    {"export", 0, OPTIONS_CHAT, TEXT, AT(export), 0, 0, "FILE",
     "write what was said in --session to FILE, Markdown or .json, and end"},
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

/* A seed from the clock; of a summary, the likeliest one. */
static struct sampler_options default_sampling(unsigned groups)
{
    struct sampler_options sampling = sampler_defaults;
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    sampling.seed = (uint64_t)time.tv_sec * 1000000007 + (uint64_t)time.tv_nsec;
    if (groups & OPTIONS_SUMMARIZE)
        sampling.temperature = 0;
    return sampling;
}

int options_parse(struct options *options, int argc, char **argv, unsigned groups,
                  int max_arguments, struct error *err)
{
    *options = (struct options){
        .kv_type = FORMAT_F16,
        .rope = {.kind = -1},
        .at = -1,
        .sampler = default_sampling(groups),
        .bench_prompts = {1, {512}},
        .bench_depths = {1, {0}},
        .bench_new_tokens = 64,
        .repetitions = 3,
        .score_tokens = -1,
        .score_seed = 1,
        .keys = 5,
    };
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
        const struct option_row *row = NULL;
        for (int i = 0; i < N_ROWS && !row; i++)
            if (found == LONG_BASE + i || (rows[i].group & groups && rows[i].letter == found))
                row = &rows[i];
        if (row && option_take(row, optarg, (char *)options + row->target, err))
            return -1;
    }
    for (; optind < argc; optind++) {
        if (options->n_arguments == max_arguments)
            return error_set(err, "\"%s\": unexpected argument (see longhand %s --help)",
                             argv[optind], argv[0]);
        options->arguments[options->n_arguments++] = argv[optind];
    }
    if (options->prompt && options->file && groups & OPTIONS_TEXT)
        return error_set(err, "--prompt and --file exclude each other");
    struct kernels kernels;
    return sampler_check(&options->sampler, err) || kernels_select(&kernels, options->isa, err) ? -1
                                                                                                : 0;
}

static const struct option_row *find_row(unsigned groups, const char *name)
{
    for (int i = 0; i < N_ROWS; i++) {
        bool letter = rows[i].letter && name[0] == rows[i].letter && name[1] == '\0';
        if (rows[i].group & groups && (letter || strcmp(rows[i].name, name) == 0))
            return &rows[i];
    }
    return NULL;
}

int options_set(struct options *options, unsigned groups, const char *name, const char *value,
                struct error *err)
{
    const struct option_row *row = find_row(groups, name);
    struct options changed = *options;
    void *target = (char *)&changed + (row ? row->target : 0);
    if (!row) {
        char list[256] = "";
        size_t used = 0;
        for (int i = 0; i < N_ROWS && used < sizeof list; i++)
            if (rows[i].group & groups)
                used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                                         rows[i].name);
        return error_set(err, "\"%s\": no such option, expected one of %s", name, list);
    }
    if (row->kind == LIST && !value)
        *(struct option_list *)target = (struct option_list){0};
    else if (row->argument && !value)
        return error_set(err, "%s needs a value", row->name);
    else if (row->kind == FLAG && value && strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
        return error_set(err, "%s: \"%s\", expected on or off", row->name, value);
    else if (row->kind == FLAG && value)
        *(bool *)target = strcmp(value, "on") == 0;
    else if (option_take(row, value, target, err))
        return -1;
    if (sampler_check(&changed.sampler, err))
        return -1;
    *options = changed;
    return 0;
}

void options_show(const struct options *options, unsigned groups, FILE *out)
{
    for (int i = 0; i < N_ROWS; i++) {
        char value[64];
        if (!(rows[i].group & groups))
            continue;
        option_text(&rows[i], (const char *)options + rows[i].target, value, sizeof value);
        fprintf(out, "%-15s %-22s %s\n", rows[i].name, value, rows[i].help);
    }
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
