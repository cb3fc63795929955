/* perplexity_subject: a model with the texts in its tokens, and what identifies its numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "commands/hash.h"
#include "commands/perplexity/perplexity.h"

/* What the shipped model is called, too: the last part of the path without ".gguf". */
static void name_subject(struct subject *subject)
{
    const char *path = subject->engine.checkpoint.path;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    size_t begin = length;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    if (length - begin > 5 && strncmp(path + length - 5, ".gguf", 5) == 0)
        length -= 5;
    struct text name = {path + begin, length - begin};
    snprintf(subject->name, sizeof subject->name, "%s", text_printable(name).chars);
}

static void describe_positions(struct subject *subject)
{
    size_t used = 0;
    for (int i = 0; i < subject->engine.model.n_positions; i++) {
        char text[2 * POSITION_NAME_BYTES];
        position_describe(&subject->engine.model.positions[i], text, sizeof text);
        int n = snprintf(subject->positions + used, sizeof subject->positions - used, "%s%s",
                         i > 0 ? " | " : "", text);
        used += (size_t)n;
        if (used >= sizeof subject->positions)
            break;
    }
}

/* Keeps the first `most` predictions (0: all) of the file's tokens. */
static int take_tokens(struct tokens *tokens, const struct tokenizer *tokenizer,
                       struct token_list *list, int64_t most, struct error *err)
{
    int64_t n = tokens->whole = (int64_t)list->n - 1;
    n = most > 0 && most < n ? most : n;
    size_t bound = detokenizer_bound(tokenizer);
    char *piece = size_alloc(bound, 1);
    tokens->ids = size_alloc((size_t)n + 1, sizeof *tokens->ids);
    tokens->bytes = size_alloc((size_t)n + 1, sizeof *tokens->bytes);
    if (!piece || !tokens->ids || !tokens->bytes) {
        free(piece);
        return error_memory(err, "tokens", (size_t)n * sizeof *tokens->bytes);
    }
    tokens->n = n;
    memcpy(tokens->ids, list->ids, ((size_t)n + 1) * sizeof *tokens->ids);
    struct detokenizer stream = {.tokenizer = tokenizer};
    int64_t bytes = 0;
    for (int64_t i = 0; i <= n; i++) {
        bytes += (int64_t)detokenizer_feed(&stream, tokens->ids[i], piece);
        tokens->bytes[i] = bytes;
    }
    free(piece);
    return 0;
}

static int read_source(struct subject *subject, int i, const struct source *source,
                       const struct plan *plan, struct error *err)
{
    const struct tokenizer *tokenizer = subject->engine.tokenizer;
    struct token_list list = {0};
    int result = 0;
    if (tokenizer_adds_bos(tokenizer))
        result = token_list_add(&list, tokenizer_bos(tokenizer), err);
    if (result == 0 && tokenizer_encode(tokenizer, source->text, source->length,
                                        (struct encode_options){0}, &list, err))
        result = error_prefix(err, "%s", source->name);
    if (result == 0 && list.n < 2)
        result = error_set(err, "%s: %zu tokens found, expected 2 or more: the first is not scored",
                           source->name, list.n);
    if (result == 0)
        result = take_tokens(&subject->tokens[i], tokenizer, &list, plan->tokens, err);
    token_list_free(&list);
    return result;
}

enum { SAMPLES = 256, SAMPLE_BYTES = 4096, WHOLE_BYTES = 64 << 20 };

/* Small files as a whole, of large ones pieces all over: a few hundred MB would take long. */
static uint64_t hash_file(uint64_t hash, const struct file *file)
{
    hash = hash_bytes(hash, &file->size, sizeof file->size);
    if (file->size <= WHOLE_BYTES)
        return hash_bytes(hash, file->data, file->size);
    size_t step = (file->size - SAMPLE_BYTES) / (SAMPLES - 1);
    for (size_t i = 0; i < SAMPLES; i++)
        hash = hash_bytes(hash, file->data + i * step, SAMPLE_BYTES);
    return hash;
}

/* All that the losses depend on, beside the texts and the plan. Threads do not count. */
static void identify(struct subject *subject)
{
    const struct options *o = &subject->options;
    char text[1024];
    char context[CONTEXT_TEXT_BYTES];
    uint64_t hash = HASH_START;
    for (int i = 0; i < subject->engine.checkpoint.n_files; i++)
        hash = hash_file(hash, &subject->engine.checkpoint.files[i]);
    context_text(&subject->engine.context, context, sizeof context);
    int n =
        snprintf(text, sizeof text, "%s %s %s %d %.17g %.17g %d %s", context,
                 format_info[o->kv_type].name, subject->engine.model.kernels.name, o->rope.kind,
                 o->rope.factor, o->rope.base, subject->engine.train_length, subject->positions);
    subject->identity = hash_bytes(hash, text, (size_t)n);
}

/* Those of a plan's lengths that the longest text fills; all of them where the user named them. */
static int count_lengths(const struct subject *subject, struct plan *plan)
{
    int64_t most = 0;
    int n = 0;
    for (int i = 0; i < subject->n_sources; i++)
        most = subject->tokens[i].n > most ? subject->tokens[i].n : most;
    if (plan->mode == MODE_STREAMING) {
        plan->lengths[0] = most;
        return 1;
    }
    while (n < plan->n_lengths && (plan->lengths_given || plan->lengths[n] <= most))
        n++;
    if (n == 0 && !plan->like_llama_cpp)
        plan->lengths[0] = most;
    n = n > 0 ? n : 1;
    if (plan->mode == MODE_POSITIONS) /* the longest gives the whole curve */
        plan->lengths[0] = plan->lengths[n - 1];
    return plan->mode == MODE_POSITIONS ? 1 : n;
}

int subject_open(struct subject *subject, const struct plan *plan, const struct options *options,
                 const char *model, const struct source *sources, int n_sources, struct error *err)
{
    *subject = (struct subject){.options = *options, .n_sources = n_sources};
    subject->options.model = model;
    subject->tokens = calloc((size_t)n_sources, sizeof *subject->tokens);
    if (!subject->tokens)
        return error_memory(err, "texts", (size_t)n_sources * sizeof *subject->tokens);
    if (engine_open(&subject->engine, &subject->options, err) ||
        session_allows(&subject->engine.model, &subject->engine.context, err))
        return -1;
    name_subject(subject);
    describe_positions(subject);
    for (int i = 0; i < n_sources; i++)
        if (read_source(subject, i, &sources[i], plan, err))
            return -1;
    identify(subject);
    struct plan own = *plan;
    int n = count_lengths(subject, &own);
    subject->points = calloc((size_t)n, sizeof *subject->points);
    if (!subject->points)
        return error_memory(err, "measurements", (size_t)n * sizeof *subject->points);
    subject->n_points = n;
    for (int i = 0; i < n; i++)
        subject->points[i].length = own.lengths[i];
    return 0;
}

void subject_close(struct subject *subject)
{
    for (int i = 0; subject->points && i < subject->n_points; i++)
        point_free(&subject->points[i]);
    for (int i = 0; subject->tokens && i < subject->n_sources; i++) {
        free(subject->tokens[i].ids);
        free(subject->tokens[i].bytes);
    }
    free(subject->points);
    free(subject->tokens);
    engine_close(&subject->engine);
    *subject = (struct subject){0};
}
