/* limits: see limits.h. */
#include "commands/limits.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "commands/output.h"
#include "kernels/parallel.h"

enum { RUNS = 3 }; /* the best counts */

/* --- measured ------------------------------------------------------------------------------- */

/* The sum over a buffer far larger than any cache. */
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

static int measure_reading(double *rate, struct error *err)
{
    uint64_t sums[READ_ITEMS];
    size_t bytes = (size_t)READ_ITEMS * READ_ITEM_BYTES;
    uint64_t *data = size_alloc(1, bytes);
    if (!data)
        return error_memory(err, "the measurement of memory", bytes);
    memset(data, 1, bytes);
    struct reading reading = {data, READ_ITEM_BYTES / sizeof *data, sums};
    *rate = 0;
    for (int i = 0; i < RUNS; i++) {
        double start = output_now();
        parallel_for(READ_ITEMS, 1, read_items, &reading);
        double found = (double)bytes / (output_now() - start);
        *rate = found > *rate ? found : *rate;
    }
    free(data);
    return 0;
}

/* Every thread its own piece, so that all of them work all the time. */
struct multiplying {
    double (*peak)(size_t rounds);
    double count; /* of one piece */
};

enum { ROUNDS = 1 << 20, PIECES_PER_THREAD = 8 };

static void multiply_items(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct multiplying *multiplying = context;
    for (int i = begin; i < end; i++)
        multiplying->peak(ROUNDS);
}

static double measure_multiplying(double (*peak)(size_t rounds))
{
    if (!peak)
        return 0;
    struct multiplying multiplying = {peak, peak(ROUNDS)};
    int pieces = PIECES_PER_THREAD * parallel_threads();
    double rate = 0;
    for (int i = 0; i < RUNS; i++) {
        double start = output_now();
        parallel_for(pieces, 1, multiply_items, &multiplying);
        double found = multiplying.count * pieces / (output_now() - start);
        rate = found > rate ? found : rate;
    }
    return rate;
}

int limits_measure(struct limits *limits, const struct kernels *kernels, struct error *err)
{
    limits->floats = measure_multiplying(kernels->peak_f32);
    limits->integers = measure_multiplying(kernels->peak_q8);
    limits->tiles = measure_multiplying(kernels->peak_tiles);
    return measure_reading(&limits->bytes, err);
}

/* --- counted -------------------------------------------------------------------------------- */

/* Multiply-adds a second of a product of `batch` tokens. */
static double product_rate(const struct limits *limits, const struct matrix *w, int batch)
{
    if (limits->tiles > 0 && batch > ROW_TOKENS_MAX)
        return limits->tiles;
    bool integers = limits->integers > 0 && format_info[w->format].group > 0;
    return integers ? limits->integers : limits->floats;
}

static double product_seconds(const struct limits *limits, const struct linear *linear, int batch)
{
    const struct matrix *w = &linear->w;
    return w->data ? (double)w->rows * w->cols / product_rate(limits, w, batch) : 0;
}

/* Of a token's products with weights, but for the logits. */
static double layers_seconds(const struct limits *limits, const struct model *model, int batch)
{
    double seconds = 0;
    for (int l = 0; l < model->config.n_layers; l++) {
        const struct layer *layer = &model->layers[l];
        for (int i = 0; i < layer->n_qkv; i++)
            seconds += product_seconds(limits, &layer->qkv[i], batch);
        seconds += product_seconds(limits, &layer->output, batch) +
                   product_seconds(limits, &layer->gate, batch) +
                   product_seconds(limits, &layer->up, batch) +
                   product_seconds(limits, &layer->down, batch);
    }
    return seconds;
}

/* Keys that the token at a position sees, in all layers. */
static double keys_seen(const struct session *session, int64_t at)
{
    const struct config *c = &session->model->config;
    double keys = 0;
    for (int l = 0; l < c->n_layers; l++) {
        struct segment segments[SEGMENTS_MAX];
        context_segments(&session->context, &c->layers[l], at, segments);
        for (int s = 0; s < context_n_segments(&session->context); s++)
            if (segments[s].end > segments[s].begin)
                keys += (double)(segments[s].end - segments[s].begin);
    }
    return keys;
}

/* Score and value. */
static double key_products(const struct config *config)
{
    return 2.0 * config->n_heads * config->head_dim;
}

double limits_products(const struct model *model)
{
    static const struct limits ones = {.floats = 1, .integers = 1};
    return layers_seconds(&ones, model, 1);
}

double limits_attention(const struct session *session, int64_t at)
{
    return keys_seen(session, at) * key_products(&session->model->config);
}

struct least limits_least(const struct limits *limits, const struct session *session, int depth,
                          int tokens, int batch)
{
    const struct model *model = session->model;
    const struct config *c = &model->config;
    double layers = layers_seconds(limits, model, batch);
    double logits = product_seconds(limits, &model->output, 1);
    double key_rate = limits->tiles > 0 && batch > ROW_TOKENS_MAX ? limits->tiles : limits->floats;
    double key_seconds = key_products(c) / key_rate;
    double key_bytes = 2.0 * (double)cache_block_bytes(&session->cache) / CACHE_BLOCK;
    struct least least = {0};
    for (int t = 0; t < tokens; t++) {
        double keys = keys_seen(session, depth + t);
        bool last = t == tokens - 1 || t % batch == batch - 1;
        least.multiplying += layers + keys * key_seconds;
        if (batch == 1 || t == tokens - 1)
            least.multiplying += logits;
        if (last)
            least.reading += ((double)model->token_bytes + keys * key_bytes) / limits->bytes;
    }
    return least;
}
