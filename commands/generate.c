/* generate: continues a text. */
#include <stdio.h>
#include <stdlib.h>

#include "commands/array.h"
#include "commands/commands.h"
#include "commands/engine.h"
#include "commands/estimate.h"
#include "commands/interrupt.h"
#include "commands/notices.h"
#include "commands/output.h"
#include "commands/stream.h"

struct generation {
    struct engine engine;
    struct session session;
    struct sampler sampler;
    struct lookup lookup;
    struct generate run;
    struct stream stream;
    struct output output;
    struct token_list prompt;
    const struct options *options;
    const char *end; /* why the text ended: "length", "end of text", "stop text", "interrupted" */
    bool continues;  /* there is a prompt that the text goes on from */
    struct notices notices;
    struct estimate estimate;
    struct error *err;
    bool failed;
};

static bool on_progress(void *context, int64_t done, int64_t total)
{
    struct generation *g = context;
    (void)total;
    estimate_progress(&g->estimate, &g->output, done);
    if (interrupt_seen())
        g->end = "interrupted";
    return !interrupt_seen();
}

static bool on_token(void *context, int32_t id)
{
    struct generation *g = context;
    if (tokenizer_is_end(g->engine.tokenizer, id)) {
        g->end = "end of text";
        return false;
    }
    notices_watch(&g->notices, g->run.prompt_tokens + g->run.new_tokens,
                  arrlen(g->stream.text) > 0);
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

static int report(struct generation *g, struct error *err)
{
    const struct generate *run = &g->run;
    double prompt = output_speed(run->prompt_tokens, run->prompt_seconds);
    double new = output_speed(run->new_tokens, run->new_seconds);
    if (g->options->verbose)
        output_note(
            &g->output,
            "prompt %lld tokens, %.1f tokens/s; new %lld tokens, %.1f tokens/s, %lld of %lld "
            "guesses right; ended: %s; seed %llu; %s, %d threads; %.1f MB beyond the weights",
            (long long)run->prompt_tokens, prompt, (long long)run->new_tokens, new,
            (long long)run->accepted_tokens, (long long)run->guessed_tokens, g->end,
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
    cJSON_AddNumberToObject(object, "guessed_tokens", (double)run->guessed_tokens);
    cJSON_AddNumberToObject(object, "accepted_tokens", (double)run->accepted_tokens);
    cJSON_AddNumberToObject(object, "prompt_tokens_per_second", prompt);
    cJSON_AddNumberToObject(object, "new_tokens_per_second", new);
    if (g->estimate.said > 0)
        cJSON_AddNumberToObject(object, "estimated_seconds", g->estimate.said);
    cJSON_AddNumberToObject(object, "seconds", run->prompt_seconds + run->new_seconds);
    char seed[32]; /* a JSON number would lose the low bits */
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)g->options->sampler.seed);
    cJSON_AddStringToObject(object, "seed", seed);
    notices_json(&g->notices, object);
    return output_json(object, err);
}

static int open_all(struct generation *g, struct error *err)
{
    if (engine_open(&g->engine, g->options, err) || encode_prompt(g, err) ||
        engine_open_session(&g->engine, g->options, &g->session, err))
        return -1;
    int vocab_size = g->engine.model.config.vocab_size;
    return sampler_open(&g->sampler, &g->options->sampler, vocab_size, err) ||
                   (!g->options->no_lookup && lookup_open(&g->lookup, vocab_size, err)) ||
                   stream_open(&g->stream, g->engine.tokenizer, g->options, g->continues, err)
               ? -1
               : 0;
}

static int generate_text(struct generation *g, struct error *err)
{
    if (open_all(g, err) ||
        notices_plan(&g->notices, (int64_t)g->prompt.n, g->options->n_tokens, err))
        return -1;
    notices_watch(&g->notices, (int64_t)g->prompt.n, false);
    g->run = (struct generate){
        .session = &g->session,
        .sampler = &g->sampler,
        .lookup = g->options->no_lookup ? NULL : &g->lookup,
        .max_tokens = g->options->n_tokens > 0 ? g->options->n_tokens : -1,
        .progress = on_progress,
        .emit = on_token,
        .context = g,
    };
    estimate_begin(&g->estimate, (int64_t)g->prompt.n, g->options->n_tokens);
    int result = generate(&g->run, g->prompt.ids, (int64_t)g->prompt.n, err);
    if (stream_end(&g->stream, result ? &(struct error){{0}} : err) && !result)
        return -1;
    bool failed = result || g->failed;
    bool ends_line = !g->options->json && g->output.terminal;
    if (ends_line && output_write("\n", 1, failed ? &(struct error){{0}} : err))
        return -1;
    if (failed)
        return -1;
    if (report(g, err))
        return -1;
    return interrupt_seen() ? EXIT_INTERRUPTED : EXIT_OK;
}

int command_generate(const struct options *options, struct error *err)
{
    struct generation g = {.options = options, .end = "length", .err = err};
    output_open(&g.output, options);
    g.notices = (struct notices){
        .engine = &g.engine, .session = &g.session, .options = options, .output = &g.output};
    g.estimate.session = &g.session;
    interrupt_watch();
    int code = generate_text(&g, err);
    code = engine_exit_code(&g.engine, code);
    stream_close(&g.stream);
    lookup_close(&g.lookup);
    sampler_close(&g.sampler);
    session_close(&g.session);
    token_list_free(&g.prompt);
    engine_close(&g.engine);
    return code;
}
