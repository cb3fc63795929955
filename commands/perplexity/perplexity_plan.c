/* perplexity_plan: what the options ask for, and how a length is laid out on the texts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "commands/hash.h"
#include "commands/perplexity/perplexity.h"

const char *const mode_names[] = {"chunked", "sliding", "streaming", "positions"};

enum {
    SHORTEST_DEFAULT = 256,
    LONGEST_DEFAULT = 16384,
    LLAMA_CPP_DEFAULT = 512,
    TOKENS_DEFAULT = 32768,
};
static const int64_t longest = INT64_C(1) << 40;

/* "256,512,1024": numbers, each larger than the one before. */
static int parse_lengths(struct plan *plan, const char *text, struct error *err)
{
    for (const char *at = text;;) {
        char *end;
        errno = 0;
        long long length = strtoll(at, &end, 10);
        int64_t before = plan->n_lengths > 0 ? plan->lengths[plan->n_lengths - 1] : 0;
        if (end == at || errno == ERANGE || length <= before || length > longest ||
            (*end != ',' && *end != '\0') || plan->n_lengths == MAX_LENGTHS)
            return error_set(err,
                             "--lengths: \"%s\" found, expected 1 to %d rising numbers of tokens "
                             "with commas between them",
                             text, MAX_LENGTHS);
        plan->lengths[plan->n_lengths++] = length;
        if (*end == '\0')
            break;
        at = end + 1;
    }
    plan->lengths_given = true;
    return 0;
}

static void default_lengths(struct plan *plan)
{
    int64_t first = plan->like_llama_cpp ? LLAMA_CPP_DEFAULT : SHORTEST_DEFAULT;
    int64_t last = plan->like_llama_cpp ? LLAMA_CPP_DEFAULT : LONGEST_DEFAULT;
    for (int64_t length = first; length <= last; length *= 2)
        plan->lengths[plan->n_lengths++] = length;
}

static int parse_mode(struct plan *plan, const char *text, struct error *err)
{
    for (int i = 0; i < (int)(sizeof mode_names / sizeof mode_names[0]); i++)
        if (strcmp(text, mode_names[i]) == 0) {
            plan->mode = (enum mode)i;
            return 0;
        }
    return error_set(err, "--mode: \"%s\" found, expected chunked, sliding, streaming or positions",
                     text);
}

static int parse_bins(struct plan *plan, const char *text, struct error *err)
{
    char *end;
    errno = 0;
    long long width = strtoll(text, &end, 10);
    if (strcmp(text, "octaves") == 0)
        return 0;
    if (end == text || *end || errno == ERANGE || width < 1 || width > longest)
        return error_set(err, "--bins: \"%s\" found, expected octaves or a number of tokens", text);
    plan->bin_width = width;
    return 0;
}

/* An option that the mode does not look at is not ignored in silence. */
static int check_mode(const struct plan *plan, const struct options *options, struct error *err)
{
    bool binned = plan->mode == MODE_POSITIONS || plan->mode == MODE_STREAMING;
    if (options->stride > 0 && plan->mode != MODE_SLIDING)
        return error_set(err, "--stride goes with --mode sliding only");
    if (options->bins && !binned)
        return error_set(err, "--bins goes with --mode positions and streaming only");
    if (options->lengths && plan->mode == MODE_STREAMING)
        return error_set(err, "--lengths: a streaming text has none; --tokens says how far to go");
    if (plan->like_llama_cpp && plan->mode != MODE_CHUNKED)
        return error_set(err, "--like llama.cpp: expected --mode chunked");
    if (plan->mode == MODE_POSITIONS && plan->n_lengths > 1 && plan->lengths_given)
        return error_set(err, "--lengths: --mode positions takes one, which gives the whole curve");
    if (plan->stride > 0 && plan->stride > plan->lengths[0])
        return error_set(err, "--stride: %lld found, expected at most the length, %lld",
                         (long long)plan->stride, (long long)plan->lengths[0]);
    if (plan->like_llama_cpp && plan->lengths[0] < 3)
        return error_set(err, "--like llama.cpp: a chunk of %lld tokens, expected 3 or more",
                         (long long)plan->lengths[0]);
    return 0;
}

int plan_make(struct plan *plan, const struct options *options, struct error *err)
{
    *plan = (struct plan){.stride = options->stride, .seed = options->score_seed};
    if (options->like && strcmp(options->like, "llama.cpp") != 0)
        return error_set(err, "--like: \"%s\" found, expected llama.cpp", options->like);
    plan->like_llama_cpp = options->like != NULL;
    plan->tokens = options->score_tokens >= 0 ? options->score_tokens
                   : plan->like_llama_cpp     ? 0
                                              : TOKENS_DEFAULT;
    if ((options->mode && parse_mode(plan, options->mode, err)) ||
        (options->bins && parse_bins(plan, options->bins, err)) ||
        (options->lengths && parse_lengths(plan, options->lengths, err)))
        return -1;
    if (!options->lengths)
        default_lengths(plan);
    return check_mode(plan, options, err);
}

static bool add_stretch(struct point *point, int64_t *capacity, struct stretch stretch)
{
    if (point->n_stretches == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 64;
        struct stretch *grown =
            realloc(point->stretches, (size_t)*capacity * sizeof *point->stretches);
        if (!grown)
            return false;
        point->stretches = grown;
    }
    point->stretches[point->n_stretches++] = stretch;
    return true;
}

/* The stretches of one text of n predictions; false where memory is short. */
static bool lay_text(struct point *point, const struct plan *plan, int file, int64_t n,
                     int64_t *capacity)
{
    int64_t length = plan->mode == MODE_STREAMING ? n : point->length;
    int64_t step = plan->mode == MODE_SLIDING ? point->stride : length;
    /* llama.cpp cuts tokens, of which the last of a chunk is only predicted; its last chunk may
     * end where the text ends. */
    int64_t fed = plan->like_llama_cpp ? length - 1 : length;
    for (int64_t begin = 0; length > 0 && begin + fed <= n; begin += step) {
        int64_t from = plan->like_llama_cpp                      ? length / 2
                       : plan->mode == MODE_SLIDING && begin > 0 ? length - step
                                                                 : 0;
        struct stretch stretch = {.file = file, .begin = begin, .n = fed, .from = from};
        if (!add_stretch(point, capacity, stretch))
            return false;
    }
    return true;
}

/* Ends of bins: two an octave, ..., 128, 181, 256, so that each power of two ends one. */
static int64_t octave_end(int64_t first)
{
    double end = 1;
    while ((int64_t)(end + 0.5) < first)
        end *= 1.4142135623730951;
    return (int64_t)(end + 0.5);
}

static int lay_bins(struct point *point, const struct plan *plan, int64_t most, struct error *err)
{
    bool binned = plan->mode == MODE_POSITIONS || plan->mode == MODE_STREAMING;
    for (int64_t first = 1; first <= most;) {
        int64_t last = !binned               ? most
                       : plan->bin_width > 0 ? first + plan->bin_width - 1
                                             : octave_end(first);
        if (point->n_bins % 64 == 0) {
            size_t bytes = ((size_t)point->n_bins + 64) * sizeof *point->bins;
            struct bin *grown = realloc(point->bins, bytes);
            if (!grown)
                return error_memory(err, "bins", bytes);
            point->bins = grown;
        }
        point->bins[point->n_bins++] = (struct bin){first, last < most ? last : most};
        first = last + 1;
    }
    return 0;
}

/* Cuts the scored tokens of a stretch; counts them only where point->pieces is NULL. */
static void cut_stretch(struct point *point, const struct tokens *tokens, struct stretch *stretch)
{
    int bin = 0;
    stretch->first_piece = point->n_pieces;
    for (int64_t at = stretch->from; at < stretch->n;) {
        while (point->bins[bin].last < at + 1)
            bin++;
        int64_t end = at + PIECE_TOKENS < stretch->n ? at + PIECE_TOKENS : stretch->n;
        end = end < point->bins[bin].last ? end : point->bins[bin].last;
        if (point->pieces)
            point->pieces[point->n_pieces] = (struct piece){
                .file = stretch->file,
                .bin = bin,
                .n = end - at,
                .bytes = tokens->bytes[stretch->begin + end] - tokens->bytes[stretch->begin + at],
            };
        point->n_pieces++;
        at = end;
    }
}

static int lay_pieces(struct point *point, const struct subject *subject, struct error *err)
{
    for (int64_t i = 0; i < point->n_stretches; i++)
        cut_stretch(point, NULL, &point->stretches[i]);
    size_t n = (size_t)point->n_pieces;
    point->pieces = calloc(n, sizeof *point->pieces);
    if (!point->pieces)
        return error_memory(err, "losses", n * sizeof *point->pieces);
    point->n_pieces = 0;
    for (int64_t i = 0; i < point->n_stretches; i++)
        cut_stretch(point, &subject->tokens[point->stretches[i].file], &point->stretches[i]);
    return 0;
}

static int refuse_length(const struct subject *subject, const struct source *sources,
                         int64_t length, bool like_llama_cpp, struct error *err)
{
    int most = 0;
    for (int i = 1; i < subject->n_sources; i++)
        if (subject->tokens[i].n > subject->tokens[most].n)
            most = i;
    return error_set(err, "%s: %lld tokens to predict, length %lld needs %lld", sources[most].name,
                     (long long)subject->tokens[most].n, (long long)length,
                     (long long)(like_llama_cpp ? 2 * length - 1 : length));
}

/* What the losses of the pieces depend on. */
static uint64_t hash_point(const struct point *point, const struct subject *subject)
{
    uint64_t hash = subject->identity;
    for (int i = 0; i < subject->n_sources; i++) {
        const struct tokens *tokens = &subject->tokens[i];
        hash = hash_bytes(hash, tokens->ids, ((size_t)tokens->n + 1) * sizeof *tokens->ids);
        hash = hash_bytes(hash, tokens->bytes, ((size_t)tokens->n + 1) * sizeof *tokens->bytes);
    }
    for (int64_t i = 0; i < point->n_stretches; i++) {
        const struct stretch *s = &point->stretches[i];
        int64_t places[] = {s->file, s->begin, s->n, s->from, s->first_piece};
        hash = hash_bytes(hash, places, sizeof places);
    }
    return hash_bytes(hash, point->bins, (size_t)point->n_bins * sizeof *point->bins);
}

/* Where a table of places ends, nothing can be fed. */
static int check_limits(const struct model *model, int64_t n, struct error *err)
{
    for (int i = 0; i < model->n_positions; i++)
        if (n > model->positions[i].limit)
            return error_set(err, "length %lld: the model has %s positions up to %lld only",
                             (long long)n, model->positions[i].scheme->name,
                             (long long)(model->positions[i].limit - 1));
    return 0;
}

int point_lay(struct point *point, const struct subject *subject, const struct plan *plan,
              const struct source *sources, int64_t length, struct error *err)
{
    int64_t capacity = 0;
    *point = (struct point){.length = length};
    if (plan->mode == MODE_SLIDING)
        point->stride = plan->stride > 0 ? plan->stride : (length + 1) / 2;
    for (int i = 0; i < subject->n_sources; i++) {
        int64_t n = subject->tokens[i].n;
        bool enough = !plan->like_llama_cpp || n + 1 >= 2 * length; /* as it asks for */
        if (enough && !lay_text(point, plan, i, n, &capacity)) {
            point_free(point);
            return error_memory(err, "stretches of text",
                                (size_t)capacity * sizeof *point->stretches);
        }
    }
    int64_t most = 0;
    for (int64_t i = 0; i < point->n_stretches; i++)
        most = point->stretches[i].n > most ? point->stretches[i].n : most;
    point->length = most > 0 && plan->mode == MODE_STREAMING ? most : length;
    if (most == 0)
        return refuse_length(subject, sources, length, plan->like_llama_cpp, err);
    if (check_limits(&subject->engine.model, most, err) || lay_bins(point, plan, most, err) ||
        lay_pieces(point, subject, err)) {
        point_free(point);
        point->length = length;
        return -1;
    }
    point->key = hash_point(point, subject);
    return 0;
}

void point_free(struct point *point)
{
    free(point->stretches);
    free(point->pieces);
    free(point->bins);
    *point = (struct point){0};
}
