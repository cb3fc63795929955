/* info: what a model file is. */
#include <inttypes.h>
#include <stdio.h>

#include "commands/commands.h"
#include "commands/engine.h"
#include "commands/info/info.h"
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

static int print_json(const struct info *info, struct error *err)
{
    const struct engine *engine = &info->engine;
    const struct model *model = &engine->model;
    const struct config *c = &model->config;
    char name[PRINTABLE_BYTES + 4];
    model_name(&engine->checkpoint, name, sizeof name);
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
    if (engine->tokenizer)
        cJSON_AddStringToObject(object, "tokenizer", tokenizer_description(engine->tokenizer));
    info_add_positions(info, object);
    if (info_add_contexts(info, object, err)) {
        cJSON_Delete(object);
        return -1;
    }
    if (info->options->at >= 0)
        info_add_query(info, object);
    info_add_curves(info, object);
    return output_json(object, err);
}

static int print_text(const struct info *info, struct error *err)
{
    const struct engine *engine = &info->engine;
    const struct model *model = &engine->model;
    const struct config *c = &model->config;
    char name[PRINTABLE_BYTES + 4];
    model_name(&engine->checkpoint, name, sizeof name);
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
    info_print_positions(info);
    if (info_print_contexts(info, err))
        return -1;
    if (info->options->at >= 0)
        info_print_query(info);
    return output_write("", 0, err);
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

static int say(struct info *info, struct error *err)
{
    struct engine *engine = &info->engine;
    const struct options *options = info->options;
    if (engine_open_checkpoint(engine, options, err))
        return -1;
    bool has_tokenizer =
        options->tokenizer || metadata_find(&engine->checkpoint.metadata, "tokenizer.ggml.model");
    if (has_tokenizer && engine_open_tokenizer(engine, options, err))
        return -1;
    if (engine->checkpoint.n_tensors == 0)
        return print_vocabulary(engine, options, err);
    if (engine_open_model(engine, options, err) || info_check(info, err) ||
        info_open_groups(info, err))
        return -1;
    return options->json ? print_json(info, err) : print_text(info, err);
}

int command_info(const struct options *options, struct error *err)
{
    struct info info = {.options = options};
    int result = engine_exit_code(&info.engine, say(&info, err));
    info_close_groups(&info);
    engine_close(&info.engine);
    return result;
}
