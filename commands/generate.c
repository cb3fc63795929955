/* generate: continues a text. */
#include <stdio.h>
#include <stdlib.h>

#include "commands/array.h"
#include "commands/commands.h"
#include "commands/engine.h"
#include "commands/interrupt.h"
#include "commands/output.h"
#include "commands/stream.h"

struct generation {
    struct engine engine;
    struct session session;
    struct sampler sampler;
    struct stream stream;
    struct output output;
    struct token_list prompt;
    const struct options *options;
    const char *end; /* why the text ended: "length", "end of text", "stop text", "interrupted" */
    bool continues;  /* there is a prompt that the text goes on from */
    bool past_training; /* said once */
    struct error *err;
    bool failed;
};

static bool on_progress(void *context, int64_t done, int64_t total)
{
    struct generation *g = context;
    output_progress(&g->output, "prompt tokens", done, total);
    if (interrupt_seen())
        g->end = "interrupted";
    return !interrupt_seen();
}

/* Once, when the text outgrows what the model was trained on. */
static void note_training_length(struct generation *g)
{
    int train_length = g->engine.model.config.train_length;
    if (g->past_training || train_length == 0 || g->session.position < train_length)
        return;
    g->past_training = true;
    /* On a terminal the text that is being written stands on the same line. */
    output_note(&g->output,
                "%s[past the training length of %d tokens: positions go on as they are]",
                g->output.terminal ? "\n" : "", train_length);
}

static bool on_token(void *context, int32_t id)
{
    struct generation *g = context;
    note_training_length(g);
    if (tokenizer_is_end(g->engine.tokenizer, id)) {
        g->end = "end of text";
        return false;
    }
    g->failed = stream_token(&g->stream, id, g->err) != 0;
    if (g->stream.stopped)
        g->end = "stop text";
    if (interrupt_seen())
        g->end = "interrupted";
    return !g->failed && !g->stream.stopped && !interrupt_seen();
}

static int encode_prompt(struct generation *g, struct error *err)
{
    char *text;
    size_t length;
    if (engine_read_text(g->options, &text, &length, err))
        return -1;
    struct encode_options encode = {.add_special = true};
    int result = tokenizer_encode(g->engine.tokenizer, text, length, encode, &g->prompt, err);
    free(text);
    g->continues = length > 0;
    if (result == 0 && g->prompt.n == 0)
        return error_set(err,
                         "the prompt is empty, and this model has no token that begins a text");
    return result;
}

static double speed(int64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

static int report(struct generation *g, const struct generate *run, struct error *err)
{
    double prompt = speed(run->prompt_tokens, run->prompt_seconds);
    double new = speed(run->new_tokens, run->new_seconds);
    if (g->options->verbose)
        output_note(&g->output,
                    "prompt %lld tokens, %.1f tokens/s; new %lld tokens, %.1f tokens/s; ended: %s; "
                    "seed %llu; %s, %d "
                    "threads; %.1f MB beyond the weights",
                    (long long)run->prompt_tokens, prompt, (long long)run->new_tokens, new, g->end,
                    (unsigned long long)g->options->sampler.seed, g->engine.model.kernels.name,
                    parallel_threads(), (double)session_bytes(&g->session) / 1e6);
    if (!g->options->json)
        return 0;
    cJSON *object = cJSON_CreateObject();
    arrput(g->stream.text, '\0');
    cJSON_AddStringToObject(object, "text", g->stream.text);
    cJSON_AddStringToObject(object, "end", g->end);
    cJSON_AddNumberToObject(object, "prompt_tokens", (double)run->prompt_tokens);
    cJSON_AddNumberToObject(object, "new_tokens", (double)run->new_tokens);
    cJSON_AddNumberToObject(object, "prompt_tokens_per_second", prompt);
    cJSON_AddNumberToObject(object, "new_tokens_per_second", new);
    char seed[32]; /* a JSON number would lose the low bits */
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)g->options->sampler.seed);
    cJSON_AddStringToObject(object, "seed", seed);
    cJSON_AddNumberToObject(object, "training_length", g->engine.model.config.train_length);
    cJSON_AddBoolToObject(object, "past_training_length", g->past_training);
    return output_json(object, err);
}

static int open_all(struct generation *g, struct error *err)
{
    return engine_open(&g->engine, g->options, err) || encode_prompt(g, err) ||
                   session_open(&g->session, &g->engine.model, g->options->kv_type, err) ||
                   sampler_open(&g->sampler, &g->options->sampler,
                                g->engine.model.config.vocab_size, err) ||
                   stream_open(&g->stream, g->engine.tokenizer, g->options, g->continues, err)
               ? -1
               : 0;
}

static int generate_text(struct generation *g, struct error *err)
{
    if (open_all(g, err))
        return -1;
    struct generate run = {
        .session = &g->session,
        .sampler = &g->sampler,
        .max_tokens = g->options->n_tokens > 0 ? g->options->n_tokens : -1,
        .progress = on_progress,
        .emit = on_token,
        .context = g,
    };
    int result = generate(&run, g->prompt.ids, (int64_t)g->prompt.n, err);
    if (stream_end(&g->stream, result ? &(struct error){{0}} : err) && !result)
        return -1;
    if (result || g->failed)
        return -1;
    if (!g->options->json && g->output.terminal && output_write("\n", 1, err))
        return -1;
    if (report(g, &run, err))
        return -1;
    return interrupt_seen() ? EXIT_INTERRUPTED : EXIT_OK;
}

int command_generate(const struct options *options, struct error *err)
{
    struct generation g = {.options = options, .end = "length", .err = err};
    output_open(&g.output, options);
    interrupt_watch();
    int code = generate_text(&g, err);
    stream_close(&g.stream);
    sampler_close(&g.sampler);
    session_close(&g.session);
    token_list_free(&g.prompt);
    engine_close(&g.engine);
    return code;
}
