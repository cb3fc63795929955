/* bench: prompt and generation speed, and their share of what the machine can do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "commands/commands.h"
#include "commands/engine.h"
#include "commands/output.h"

struct bench {
    struct engine engine;
    struct output output;
    const struct options *options;
    double bandwidth; /* bytes a second that all threads together read from memory */
};

/* What reading memory gives: the sum over a buffer far larger than any cache, best of three. */
struct reading {
    const uint64_t *data;
    size_t words; /* of one item */
    uint64_t *sums;
};

/* Memory gives most to those who ask ahead, as the kernels do. */
enum { READ_ITEMS = 256, READ_ITEM_BYTES = 4 << 20, READ_AHEAD_BYTES = 8 << 10 };

static void read_items(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct reading *reading = context;
    for (int i = begin; i < end; i++) {
        const uint64_t *data = reading->data + (size_t)i * reading->words;
        uint64_t sum[8] = {0};
        for (size_t w = 0; w < reading->words; w += 8) {
            __builtin_prefetch(data + w + READ_AHEAD_BYTES / sizeof *data, 0, 3);
            for (size_t lane = 0; lane < 8; lane++)
                sum[lane] += data[w + lane];
        }
        reading->sums[i] = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
    }
}

static int measure_bandwidth(struct bench *bench, struct error *err)
{
    uint64_t sums[READ_ITEMS];
    size_t bytes = (size_t)READ_ITEMS * READ_ITEM_BYTES;
    uint64_t *data = size_alloc(1, bytes);
    if (!data)
        return error_memory(err, "the measurement of memory", bytes);
    memset(data, 1, bytes);
    struct reading reading = {data, READ_ITEM_BYTES / sizeof *data, sums};
    for (int i = 0; i < 3; i++) {
        double start = output_now();
        parallel_for(READ_ITEMS, 1, read_items, &reading);
        double rate = (double)bytes / (output_now() - start);
        bench->bandwidth = rate > bench->bandwidth ? rate : bench->bandwidth;
    }
    free(data);
    return 0;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Seconds that one run takes; ids are arbitrary but fixed. */
static int run_once(struct bench *bench, int depth, int tokens, bool generation, double *seconds,
                    struct error *err)
{
    const struct model *model = &bench->engine.model;
    struct session session;
    int total = depth + tokens;
    int32_t *ids = size_alloc((size_t)total, sizeof *ids);
    if (!ids)
        return error_memory(err, "token ids", (size_t)total * sizeof *ids);
    for (int i = 0; i < total; i++)
        ids[i] = (int32_t)((unsigned)i * 7919U % (unsigned)model->config.vocab_size);
    int result = engine_open_session(&bench->engine, bench->options, &session, err);
    if (result == 0 && depth > 0)
        result = session_feed(&session, ids, depth, NULL, err);
    double start = output_now();
    if (result == 0 && !generation)
        result = session_feed(&session, ids + depth, tokens, NULL, err);
    for (int i = 0; result == 0 && generation && i < tokens; i++)
        result = session_feed(&session, ids + depth + i, 1, NULL, err);
    *seconds = output_now() - start;
    session_close(&session);
    free(ids);
    return result;
}

static int run_test(struct bench *bench, const char *name, int tokens, bool generation,
                    struct error *err)
{
    const struct options *o = bench->options;
    const struct model *model = &bench->engine.model;
    double *seconds = size_alloc((size_t)o->repetitions, sizeof *seconds);
    if (!seconds)
        return error_memory(err, "timings", (size_t)o->repetitions * sizeof *seconds);
    double warm;
    int result = run_once(bench, 0, tokens < 32 ? tokens : 32, generation, &warm, err);
    for (int i = 0; result == 0 && i < o->repetitions; i++)
        result = run_once(bench, o->bench_depth, tokens, generation, &seconds[i], err);
    if (result == 0) {
        qsort(seconds, (size_t)o->repetitions, sizeof *seconds, compare_doubles);
        double median = seconds[o->repetitions / 2];
        double speed = tokens / median;
        double bytes = generation ? speed * (double)model->token_bytes : 0;
        if (o->json) {
            cJSON *object = cJSON_CreateObject();
            cJSON_AddStringToObject(object, "test", name);
            cJSON_AddNumberToObject(object, "tokens", tokens);
            cJSON_AddNumberToObject(object, "depth", o->bench_depth);
            cJSON_AddNumberToObject(object, "tokens_per_second", speed);
            cJSON_AddItemToObject(object, "seconds",
                                  cJSON_CreateDoubleArray(seconds, o->repetitions));
            cJSON_AddStringToObject(object, "isa", model->kernels.name);
            cJSON_AddNumberToObject(object, "threads", parallel_threads());
            char context[CONTEXT_TEXT_BYTES];
            context_text(&bench->engine.context, context, sizeof context);
            cJSON_AddStringToObject(object, "context", context);
            cJSON_AddStringToObject(object, "cache_type", format_info[o->kv_type].name);
            if (generation) {
                cJSON_AddNumberToObject(object, "bytes_per_second", bytes);
                cJSON_AddNumberToObject(object, "machine_bytes_per_second", bench->bandwidth);
            }
            result = output_json(object, err);
        } else {
            printf("%-10s %6d tokens at depth %-6d %9.1f tokens/s", name, tokens, o->bench_depth,
                   speed);
            if (generation)
                printf("  %.1f GB/s of weights, %.0f %% of the %.1f GB/s that memory gives",
                       bytes / 1e9, 100 * bytes / bench->bandwidth, bench->bandwidth / 1e9);
            result = output_write("\n", 1, err);
        }
    }
    free(seconds);
    return result;
}

static int bench_model(struct bench *bench, struct error *err)
{
    const struct options *o = bench->options;
    if (engine_open_checkpoint(&bench->engine, o, err) || engine_open_model(&bench->engine, o, err))
        return -1;
    output_note(&bench->output, "%s kernels, %d threads", bench->engine.model.kernels.name,
                parallel_threads());
    if (o->bench_prompt > 0 && run_test(bench, "prompt", o->bench_prompt, false, err))
        return -1;
    if (o->bench_generate == 0)
        return 0;
    return measure_bandwidth(bench, err) ||
                   run_test(bench, "generation", o->bench_generate, true, err)
               ? -1
               : 0;
}

int command_bench(const struct options *options, struct error *err)
{
    struct bench bench = {.options = options};
    output_open(&bench.output, options);
    int result = engine_exit_code(&bench.engine, bench_model(&bench, err));
    engine_close(&bench.engine);
    return result;
}
