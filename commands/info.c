/* info: what a model file is. */
#include <inttypes.h>
#include <stdio.h>

#include "commands/commands.h"
#include "commands/engine.h"
#include "commands/output.h"

/* Bytes of the tensors of each format. */
static void count_formats(const struct checkpoint *checkpoint, size_t bytes[FORMAT_COUNT])
{
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        bytes[checkpoint->tensors[i].format] += checkpoint->tensors[i].bytes;
}

static void model_name(const struct checkpoint *checkpoint, char *name, size_t size)
{
    struct text text = {"", 0};
    struct error ignored; /* a name of another type is no reason to say nothing of the file */
    metadata_text(&checkpoint->metadata, "general.name", OPTIONAL, &text, &ignored);
    snprintf(name, size, "%s", text_printable(text).chars);
}

static void position_text(const struct model *model, char *text, size_t size)
{
    const struct config *c = &model->config;
    const struct position *p = &model->positions[0];
    if (p->rotated > 0)
        snprintf(text, size, "%s, base %g, %d of %d dimensions, %s", p->scheme->name, c->rope_base,
                 p->rotated, c->head_dim, p->pairs == ROPE_INTERLEAVED ? "interleaved" : "halves");
    else if (p->slope)
        snprintf(text, size, "%s, max bias %g", p->scheme->name, (double)c->alibi_max_bias);
    else if (p->limit < INT64_MAX)
        snprintf(text, size, "%s, %" PRId64 " places", p->scheme->name, p->limit);
    else
        snprintf(text, size, "%s", p->scheme->name);
}

static int print_json(const struct engine *engine, const struct cache *f16, struct error *err)
{
    const struct model *model = &engine->model;
    const struct config *c = &model->config;
    char name[PRINTABLE_BYTES + 4];
    char position[128];
    model_name(&engine->checkpoint, name, sizeof name);
    position_text(model, position, sizeof position);
    size_t bytes[FORMAT_COUNT] = {0};
    count_formats(&engine->checkpoint, bytes);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "file", engine->checkpoint.path);
    cJSON_AddStringToObject(object, "container", engine->checkpoint.container);
    cJSON_AddStringToObject(object, "name", name);
    cJSON_AddStringToObject(object, "architecture", c->architecture->name);
    cJSON_AddNumberToObject(object, "weights", (double)model->n_weights);
    cJSON_AddNumberToObject(object, "weight_bytes", (double)model->weight_bytes);
    cJSON *formats = cJSON_AddObjectToObject(object, "formats");
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (bytes[i] > 0)
            cJSON_AddNumberToObject(formats, format_info[i].name, (double)bytes[i]);
    cJSON_AddNumberToObject(object, "vocab_size", c->vocab_size);
    cJSON_AddNumberToObject(object, "layers", c->n_layers);
    cJSON_AddNumberToObject(object, "dim", c->dim);
    cJSON_AddNumberToObject(object, "hidden_dim", c->hidden_dim);
    cJSON_AddNumberToObject(object, "heads", c->n_heads);
    cJSON_AddNumberToObject(object, "kv_heads", c->n_kv_heads);
    cJSON_AddNumberToObject(object, "head_dim", c->head_dim);
    cJSON_AddStringToObject(object, "position", position);
    cJSON_AddNumberToObject(object, "training_length", c->train_length);
    cJSON_AddNumberToObject(object, "cache_bytes_per_token",
                            (double)cache_block_bytes(f16) / CACHE_BLOCK);
    if (engine->tokenizer)
        cJSON_AddStringToObject(object, "tokenizer", tokenizer_description(engine->tokenizer));
    return output_json(object, err);
}

static void print_text(const struct engine *engine, const struct cache *f16)
{
    const struct model *model = &engine->model;
    const struct config *c = &model->config;
    char name[PRINTABLE_BYTES + 4];
    char position[128];
    model_name(&engine->checkpoint, name, sizeof name);
    position_text(model, position, sizeof position);
    size_t bytes[FORMAT_COUNT] = {0};
    count_formats(&engine->checkpoint, bytes);
    printf("file             %s (%s)\n", engine->checkpoint.path, engine->checkpoint.container);
    if (name[0])
        printf("name             %s\n", name);
    printf("architecture     %s\n", c->architecture->name);
    printf("weights          %.1f million, %.1f MB:", (double)model->n_weights / 1e6,
           (double)model->weight_bytes / 1e6);
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (bytes[i] > 0)
            printf(" %s %.1f MB", format_info[i].name, (double)bytes[i] / 1e6);
    printf(
        "\nshape            %d layers, dim %d, hidden %d, %d heads of %d, %d of keys and values\n",
        c->n_layers, c->dim, c->hidden_dim, c->n_heads, c->head_dim, c->n_kv_heads);
    printf("tokenizer        %s, %d tokens\n",
           engine->tokenizer ? tokenizer_description(engine->tokenizer) : "none", c->vocab_size);
    printf("position         %s\n", position);
    printf("training length  %d tokens\n", c->train_length);
    double per_token = (double)cache_block_bytes(f16) / CACHE_BLOCK;
    printf("cache (f16)      %.1f kB a token", per_token / 1e3);
    for (int n = c->train_length;
         c->train_length > 0 && n <= 16 * (int64_t)c->train_length && n < 1 << 27; n *= 4)
        printf(", %.1f MB at %d", per_token * n / 1e6, n);
    printf("\n");
}

/* A file without tensors: what it still says. */
static int print_vocabulary(const struct engine *engine, const struct options *options,
                            struct error *err)
{
    char name[PRINTABLE_BYTES + 4];
    model_name(&engine->checkpoint, name, sizeof name);
    const char *tokenizer = engine->tokenizer ? tokenizer_description(engine->tokenizer) : "none";
    int n_tokens = engine->tokenizer ? (int)tokenizer_size(engine->tokenizer) : 0;
    if (options->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "file", engine->checkpoint.path);
        cJSON_AddStringToObject(object, "container", engine->checkpoint.container);
        cJSON_AddStringToObject(object, "name", name);
        cJSON_AddNumberToObject(object, "weights", 0);
        cJSON_AddStringToObject(object, "tokenizer", tokenizer);
        cJSON_AddNumberToObject(object, "vocab_size", n_tokens);
        return output_json(object, err);
    }
    printf("file             %s (%s)\n", engine->checkpoint.path, engine->checkpoint.container);
    if (name[0])
        printf("name             %s\n", name);
    printf("weights          none\ntokenizer        %s, %d tokens\n", tokenizer, n_tokens);
    return output_write("", 0, err);
}

static int info(struct engine *engine, const struct options *options, struct error *err)
{
    if (engine_open_checkpoint(engine, options, err))
        return -1;
    bool has_tokenizer =
        options->tokenizer || metadata_find(&engine->checkpoint.metadata, "tokenizer.ggml.model");
    if (has_tokenizer && engine_open_tokenizer(engine, options, err))
        return -1;
    if (engine->checkpoint.n_tensors == 0)
        return print_vocabulary(engine, options, err);
    if (model_open(&engine->model, &engine->checkpoint, NULL, err))
        return -1;
    struct cache f16;
    if (cache_open(&f16, &engine->model.config, FORMAT_F16, err))
        return -1;
    if (options->json)
        return print_json(engine, &f16, err);
    print_text(engine, &f16);
    return output_write("", 0, err);
}

int command_info(const struct options *options, struct error *err)
{
    struct engine engine = {0};
    int result = info(&engine, options, err);
    engine_close(&engine);
    return result ? -1 : EXIT_OK;
}
