/* bench: prompt and generation speed, and their share of what the machine can do. */
#include <stdio.h>
#include <stdlib.h>

#include "base/size.h"
#include "commands/commands.h"
#include "commands/engine.h"
#include "commands/limits.h"
#include "commands/output.h"

struct bench {
    struct engine engine;
    struct output output;
    const struct options *options;
    struct session session;
    struct limits limits;
    int32_t *ids; /* (the longest test with its depth) arbitrary but fixed */
};

struct test {
    int depth; /* tokens in the cache before */
    int tokens;
    bool generation; /* one at a time */
};

static int feed(struct bench *bench, const struct test *test, struct error *err)
{
    const int32_t *ids = bench->ids + test->depth;
    if (!test->generation)
        return session_feed(&bench->session, ids, test->tokens, NULL, err);
    for (int i = 0; i < test->tokens; i++)
        if (session_feed(&bench->session, ids + i, 1, NULL, err))
            return -1;
    return 0;
}

/* Goes back to the first `depth` tokens, or, where the policy has let go of some, begins anew. */
static int go_to(struct bench *bench, int depth, struct error *err)
{
    struct error ignored;
    struct session *session = &bench->session;
    if (session->position >= depth && session_truncate(session, depth, &ignored) == 0)
        return 0;
    session_close(session);
    if (engine_open_session(&bench->engine, bench->options, session, err))
        return -1;
    return depth > 0 ? session_feed(session, bench->ids, depth, NULL, err) : 0;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* seconds[repetitions], in rising order. */
static int time_test(struct bench *bench, const struct test *test, double *seconds,
                     struct error *err)
{
    struct test warm = {0, test->tokens < 32 ? test->tokens : 32, test->generation};
    int n = bench->options->repetitions;
    if (go_to(bench, 0, err) || feed(bench, &warm, err))
        return -1;
    for (int i = 0; i < n; i++) {
        if (go_to(bench, test->depth, err))
            return -1;
        double start = output_now();
        if (feed(bench, test, err))
            return -1;
        seconds[i] = output_now() - start;
    }
    qsort(seconds, (size_t)n, sizeof *seconds, compare_doubles);
    return 0;
}

static int report_json(const struct bench *bench, const struct test *test, const double *seconds,
                       double speed, double limit, const char *limited_by, struct error *err)
{
    const struct options *o = bench->options;
    char context[CONTEXT_TEXT_BYTES];
    context_text(&bench->engine.context, context, sizeof context);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "test", test->generation ? "generation" : "prompt");
    cJSON_AddNumberToObject(object, "tokens", test->tokens);
    cJSON_AddNumberToObject(object, "depth", test->depth);
    cJSON_AddNumberToObject(object, "tokens_per_second", speed);
    cJSON_AddItemToObject(object, "seconds", cJSON_CreateDoubleArray(seconds, o->repetitions));
    cJSON_AddNumberToObject(object, "share_of_limit", speed / limit);
    cJSON_AddStringToObject(object, "limited_by", limited_by);
    cJSON_AddNumberToObject(object, "memory_bytes_per_second", bench->limits.bytes);
    cJSON_AddNumberToObject(object, "float_multiply_adds_per_second", bench->limits.floats);
    cJSON_AddNumberToObject(object, "integer_multiply_adds_per_second", bench->limits.integers);
    cJSON_AddNumberToObject(object, "tile_multiply_adds_per_second", bench->limits.tiles);
    cJSON_AddStringToObject(object, "isa", bench->engine.model.kernels.name);
    cJSON_AddNumberToObject(object, "threads", parallel_threads());
    cJSON_AddStringToObject(object, "context", context);
    cJSON_AddStringToObject(object, "cache_type", format_info[o->kv_type].name);
    return output_json(object, err);
}

static int run_test(struct bench *bench, const struct test *test, struct error *err)
{
    const struct options *o = bench->options;
    double *seconds = size_alloc((size_t)o->repetitions, sizeof *seconds);
    if (!seconds)
        return error_memory(err, "timings", (size_t)o->repetitions * sizeof *seconds);
    int result = time_test(bench, test, seconds, err);
    if (result == 0) {
        int batch = test->generation               ? 1
                    : test->tokens < SESSION_BATCH ? test->tokens
                                                   : SESSION_BATCH;
        struct least least =
            limits_least(&bench->limits, &bench->session, test->depth, test->tokens, batch);
        bool reads = least.reading > least.multiplying;
        double limit = test->tokens / (reads ? least.reading : least.multiplying);
        double speed = test->tokens / seconds[o->repetitions / 2];
        if (o->json) {
            result = report_json(bench, test, seconds, speed, limit,
                                 reads ? "reading memory" : "multiplying", err);
        } else {
            printf("%-10s %6d tokens at depth %-6d %9.1f tokens/s, %3.0f %% of the %.1f that %s "
                   "allows",
                   test->generation ? "generation" : "prompt", test->tokens, test->depth, speed,
                   100 * speed / limit, limit, reads ? "reading memory" : "multiplying");
            result = output_write("\n", 1, err);
        }
    }
    free(seconds);
    return result;
}

static int make_ids(struct bench *bench, struct error *err)
{
    const struct options *o = bench->options;
    int longest = o->bench_new_tokens;
    int deepest = 0;
    for (int i = 0; i < o->bench_prompts.n; i++)
        longest = o->bench_prompts.at[i] > longest ? o->bench_prompts.at[i] : longest;
    for (int i = 0; i < o->bench_depths.n; i++)
        deepest = o->bench_depths.at[i] > deepest ? o->bench_depths.at[i] : deepest;
    size_t n = (size_t)longest + (size_t)deepest;
    bench->ids = size_alloc(n, sizeof *bench->ids);
    if (!bench->ids)
        return error_memory(err, "token ids", n * sizeof *bench->ids);
    for (size_t i = 0; i < n; i++)
        bench->ids[i] =
            (int32_t)((unsigned)i * 7919U % (unsigned)bench->engine.model.config.vocab_size);
    return 0;
}

static int run_tests(struct bench *bench, struct error *err)
{
    const struct options *o = bench->options;
    for (int d = 0; d < o->bench_depths.n; d++) {
        int depth = o->bench_depths.at[d];
        for (int p = 0; p < o->bench_prompts.n; p++) {
            struct test test = {depth, o->bench_prompts.at[p], false};
            if (test.tokens > 0 && run_test(bench, &test, err))
                return -1;
        }
        struct test test = {depth, o->bench_new_tokens, true};
        if (test.tokens > 0 && run_test(bench, &test, err))
            return -1;
    }
    return 0;
}

static int bench_model(struct bench *bench, struct error *err)
{
    const struct options *o = bench->options;
    const struct kernels *kernels = &bench->engine.model.kernels;
    if (engine_open_checkpoint(&bench->engine, o, err) ||
        engine_open_model(&bench->engine, o, err) || make_ids(bench, err) ||
        engine_open_session(&bench->engine, o, &bench->session, err) ||
        limits_measure(&bench->limits, kernels, err))
        return -1;
    output_note(&bench->output, "%s kernels, %d threads; memory gives %.1f GB/s", kernels->name,
                parallel_threads(), bench->limits.bytes / 1e9);
    return run_tests(bench, err);
}

int command_bench(const struct options *options, struct error *err)
{
    struct bench bench = {.options = options};
    output_open(&bench.output, options);
    int result = engine_exit_code(&bench.engine, bench_model(&bench, err));
    session_close(&bench.session);
    engine_close(&bench.engine);
    free(bench.ids);
    return result;
}
