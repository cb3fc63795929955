/* huggingface_positions: what config.json says of rotation and its scaling -> keys. What it says of
 * positions and is not understood is an error, never left out: a model whose positions are wrong
 * still writes sentences. */
#include <string.h>

#include "base/size.h"
#include "model/huggingface/huggingface.h"
#include "model/huggingface/key_writer.h"

struct reader {
    struct huggingface *hf;
    struct json_object config; /* config.json */
    struct key_writer writer;
};

static bool has_failed(const struct reader *r)
{
    return r->config.failed || r->writer.failed;
}

/* --- keys that are not understood ------------------------------------------------------------- */

enum { ALL = 1, UPPER = 2, NOPE = 4, INTERVAL = 8, GEMMA3 = 16, COHERE2 = 32, ANY = 64 };

/* The keys about positions that are understood, and where. */
static const struct {
    const char *key;
    int where;
} understood[] = {
    {"max_position_embeddings", ANY},
    {"original_max_position_embeddings", ANY},
    {"rope_theta", ANY},
    {"rope_scaling", ANY},
    {"rope_parameters", ANY},
    {"partial_rotary_factor", ANY},
    {"sliding_window", ALL | UPPER | NOPE | INTERVAL},
    {"layer_types", ALL | UPPER | NOPE | INTERVAL},
    {"use_sliding_window", UPPER | NOPE},
    {"max_window_layers", UPPER},
    {"no_rope_layers", NOPE},
    {"no_rope_layer_interval", NOPE},
    {"sliding_window_pattern", INTERVAL},
    {"_sliding_window_pattern", INTERVAL},
    {"rope_local_base_freq", GEMMA3},
};

/* What the name of a key about positions has in it. */
static const char *const marks[] = {"rope",     "rotary",   "position",   "window", "alibi",
                                    "chunk",    "relative", "sliding",    "yarn",   "ntk",
                                    "longrope", "xpos",     "layer_types"};

static int where(const struct huggingface_family *family)
{
    static const int of_windows[] = {[WINDOWS_NONE] = 0,
                                     [WINDOWS_ALL] = ALL,
                                     [WINDOWS_UPPER] = UPPER,
                                     [WINDOWS_NOPE] = NOPE,
                                     [WINDOWS_INTERVAL] = INTERVAL};
    return ANY | of_windows[family->windows] | (family->set == FAMILY_GEMMA3 ? GEMMA3 : 0) |
           (family->set == FAMILY_COHERE2 ? COHERE2 : 0);
}

static bool is_marked(const char *key)
{
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (strstr(key, marks[i]))
            return true;
    return false;
}

static bool is_understood(const struct reader *r, const cJSON *item)
{
    int here = where(r->hf->family);
    for (size_t i = 0; i < sizeof understood / sizeof understood[0]; i++)
        if (strcmp(item->string, understood[i].key) == 0 && (understood[i].where & here))
            return true;
    /* Cohere's own names for what its architecture always is. */
    if (here & COHERE2 && strcmp(item->string, "position_embedding_type") == 0)
        return cJSON_IsString(item) && strcmp(item->valuestring, "rope_gptj") == 0;
    return here & COHERE2 && strcmp(item->string, "rotary_pct") == 0 && cJSON_IsNumber(item) &&
           item->valuedouble == 1;
}

/* null, false, 0, {} and [] ask for nothing. */
static bool is_empty(const cJSON *item)
{
    return cJSON_IsNull(item) || cJSON_IsFalse(item) ||
           (cJSON_IsNumber(item) && item->valuedouble == 0) ||
           ((cJSON_IsObject(item) || cJSON_IsArray(item)) && !item->child);
}

static void refuse_unknown(struct reader *r)
{
    for (const cJSON *item = r->hf->config->child; item && !r->config.failed; item = item->next)
        if (is_marked(item->string) && !is_understood(r, item) && !is_empty(item))
            json_refuse(&r->config, item->string, item,
                        "nothing: it is not known what it does to positions");
}

/* --- rotation --------------------------------------------------------------------------------- */

enum { DEFAULT = 1, LINEAR = 2, DYNAMIC = 4, YARN = 8, LLAMA3 = 16, LONGROPE = 32, EVERY = 63 };

static const struct {
    const char *name;
    int type;
    const char *gguf;
} rope_types[] = {
    {"default", DEFAULT, "none"}, {"linear", LINEAR, "linear"}, {"dynamic", DYNAMIC, "dynamic"},
    {"yarn", YARN, "yarn"},       {"llama3", LLAMA3, "llama3"}, {"longrope", LONGROPE, "longrope"},
    {"su", LONGROPE, "longrope"},
};
enum { N_ROPE_TYPES = sizeof rope_types / sizeof rope_types[0] };

/* The members of rope_parameters (rope_scaling before it had that name): the types that have them,
 * those that cannot do without, and the key that a number becomes. */
static const struct {
    const char *member;
    int types, required;
    const char *key;
} members[] = {
    {"rope_type", EVERY, 0, NULL},
    {"type", EVERY, 0, NULL},
    {"rope_theta", EVERY, 0, NULL},
    {"partial_rotary_factor", EVERY, 0, NULL},
    {"finetuned", YARN, 0, NULL}, /* a remark */
    {"truncate", YARN, 0, NULL},
    {"short_factor", LONGROPE, 0, NULL},
    {"long_factor", LONGROPE, 0, NULL},
    {"original_max_position_embeddings", YARN | LLAMA3 | LONGROPE, 0, NULL},
    {"factor", LINEAR | DYNAMIC | YARN | LLAMA3 | LONGROPE, LINEAR | DYNAMIC | LLAMA3,
     "rope.scaling.factor"},
    {"attention_factor", YARN | LONGROPE, 0, "rope.scaling.attention_factor"},
    {"beta_fast", YARN, 0, "rope.scaling.yarn_beta_fast"},
    {"beta_slow", YARN, 0, "rope.scaling.yarn_beta_slow"},
    {"mscale", YARN, 0, "rope.scaling.mscale"},
    {"mscale_all_dim", YARN, 0, "rope.scaling.mscale_all_dim"},
    {"low_freq_factor", LLAMA3, LLAMA3, "rope.scaling.low_freq_factor"},
    {"high_freq_factor", LLAMA3, LLAMA3, "rope.scaling.high_freq_factor"},
};
enum { N_MEMBERS = sizeof members / sizeof members[0] };

/* The row of the type, or -1. Phi-3's first configurations had other names for the one it has. */
static int read_type(struct reader *r, struct json_object *rope)
{
    const char *name = "default", *key = json_find(rope->json, "rope_type") ? "rope_type" : "type";
    json_text(rope, key, OPTIONAL, &name);
    if (rope->failed)
        return -1;
    if (r->hf->family->set == FAMILY_PHI3 && strcmp(name, "yarn") == 0)
        name = "longrope";
    for (int i = 0; i < N_ROPE_TYPES; i++)
        if (strcmp(rope_types[i].name, name) == 0)
            return i;
    return json_refuse(rope, key, json_find(rope->json, key),
                       "default, linear, dynamic, yarn, llama3, longrope or su");
}

static void refuse_unknown_members(struct json_object *rope, int type)
{
    for (const cJSON *item = rope->json ? rope->json->child : NULL; item && !rope->failed;
         item = item->next) {
        int i = 0;
        while (i < N_MEMBERS && strcmp(members[i].member, item->string) != 0)
            i++;
        if ((i == N_MEMBERS || !(members[i].types & type)) && !is_empty(item))
            json_refuse(rope, item->string, item, "nothing: this rope_type has no such number");
    }
}

static void read_members(struct reader *r, struct json_object *rope, int type)
{
    for (int i = 0; i < N_MEMBERS; i++) {
        double value = 0;
        if (!members[i].key || !(members[i].types & type))
            continue;
        json_double(rope, members[i].member, members[i].required & type ? REQUIRED : OPTIONAL,
                    &value);
        if (value != 0)
            key_writer_double(&r->writer, members[i].key, value);
    }
}

/* The length before stretching stands in either of two places. */
static void read_original_length(struct reader *r, struct json_object *rope)
{
    static const char key[] = "original_max_position_embeddings";
    int outer = 0, inner = 0;
    if (r->hf->family->set == FAMILY_PHI3)
        outer = 4096;
    json_int(&r->config, key, OPTIONAL, 1, INT32_MAX, &outer);
    json_int(rope, key, OPTIONAL, 1, INT32_MAX, &inner);
    if (rope->failed || r->config.failed)
        return;
    if (outer > 0 && inner > 0 && outer != inner && json_find(r->hf->config, key))
        json_refuse(rope, key, json_find(rope->json, key),
                    "what config.json itself says, if it says it twice");
    int length = outer > 0 ? outer : inner;
    if (length > 0)
        key_writer_uint(&r->writer, "rope.scaling.original_context_length", (uint64_t)length);
}

/* A list of LongRoPE's divisors becomes a tensor. */
static void read_divisors(struct reader *r, struct json_object *rope, const char *member,
                          const char *name)
{
    const cJSON *list = json_array(rope, member, REQUIRED);
    size_t n = 0;
    for (const cJSON *item = list ? list->child : NULL; item && !rope->failed; item = item->next) {
        if (!cJSON_IsNumber(item))
            json_refuse(rope, member, item, "a list of numbers");
        n++;
    }
    if (rope->failed || r->writer.failed)
        return;
    if (n == 0) {
        json_refuse(rope, member, list, "at least one number");
        return;
    }
    float *values = size_alloc(n, sizeof *values);
    if (!values) {
        error_memory(rope->err, name, n * sizeof *values);
        rope->failed = true;
        return;
    }
    n = 0;
    for (const cJSON *item = list->child; item; item = item->next)
        values[n++] = (float)item->valuedouble;
    rope->failed = huggingface_add_floats(r->hf, name, values, n) != 0;
    free(values);
}

/* The head's size, as config.c has it. */
static int head_dim(struct reader *r)
{
    int dim = 0, heads = 1, size = r->hf->family->head_dim;
    json_int(&r->config, "hidden_size", REQUIRED, 1, INT32_MAX, &dim);
    json_int(&r->config, "num_attention_heads", REQUIRED, 1, INT32_MAX, &heads);
    json_int(&r->config, "head_dim", OPTIONAL, 1, INT32_MAX, &size);
    return size > 0 ? size : dim / heads;
}

/* Layers that see everything, or all layers. */
static void read_rope(struct reader *r, struct json_object *rope)
{
    double theta = r->hf->family->theta, part = 1;
    int row = read_type(r, rope);
    if (row < 0)
        return;
    int type = rope_types[row].type;
    refuse_unknown_members(rope, type);
    json_double(&r->config, "rope_theta", OPTIONAL, &theta);
    json_double(rope, "rope_theta", OPTIONAL, &theta);
    json_double(&r->config, "partial_rotary_factor", OPTIONAL, &part);
    json_double(rope, "partial_rotary_factor", OPTIONAL, &part);
    if (!rope->failed && !(part > 0 && part <= 1))
        json_refuse(&r->config, "partial_rotary_factor", NULL, "more than 0, up to 1");
    if (rope->failed || has_failed(r))
        return;
    key_writer_double(&r->writer, "rope.freq_base", theta);
    key_writer_uint(&r->writer, "rope.dimension_count", (uint64_t)(head_dim(r) * part));
    key_writer_text(&r->writer, "rope.scaling.type",
                    (struct text){rope_types[row].gguf, strlen(rope_types[row].gguf)});
    read_members(r, rope, type);
    if (type & (YARN | LLAMA3 | LONGROPE))
        read_original_length(r, rope);
    if (type == YARN && json_find(rope->json, "truncate")) {
        bool truncate = true;
        json_bool(rope, "truncate", &truncate);
        key_writer_bool(&r->writer, "rope.scaling.truncate", truncate);
    }
    if (type == LONGROPE) {
        read_divisors(r, rope, "short_factor", "rope_factors_short.weight");
        read_divisors(r, rope, "long_factor", "rope_factors_long.weight");
    }
}

/* Gemma's layers with windows have a base of their own and are never scaled. */
static void read_local_rope(struct reader *r, const cJSON *nested)
{
    struct json_object rope = {.json = json_find(nested, "sliding_attention"),
                               .place = r->config.place,
                               .within = "rope_parameters.sliding_attention.",
                               .err = r->config.err};
    double theta = 1e4;
    int row = read_type(r, &rope);
    if (row >= 0 && rope_types[row].type != DEFAULT)
        json_refuse(&rope, "rope_type", json_find(rope.json, "rope_type"), "default");
    if (!rope.failed)
        refuse_unknown_members(&rope, DEFAULT);
    json_double(&r->config, "rope_local_base_freq", OPTIONAL, &theta);
    json_double(&rope, "rope_theta", OPTIONAL, &theta);
    r->config.failed = r->config.failed || row < 0 || rope.failed;
    key_writer_double(&r->writer, "rope.freq_base_swa", theta);
}

static void read_rotation(struct reader *r)
{
    bool gemma = r->hf->family->set == FAMILY_GEMMA3;
    const cJSON *scaling = json_child(&r->config, "rope_scaling", OPTIONAL);
    const cJSON *parameters = json_child(&r->config, "rope_parameters", OPTIONAL);
    if (scaling && !scaling->child)
        scaling = NULL;
    if (parameters && !parameters->child)
        parameters = NULL;
    if (scaling && parameters)
        json_refuse(&r->config, "rope_scaling", scaling, "none beside \"rope_parameters\"");
    struct json_object rope = {.json = scaling ? scaling : parameters,
                               .place = r->config.place,
                               .within = scaling ? "rope_scaling." : "rope_parameters.",
                               .err = r->config.err};
    if (gemma)
        read_local_rope(r, parameters);
    if (gemma && parameters) {
        for (const cJSON *item = parameters->child; item && !rope.failed; item = item->next)
            if (strcmp(item->string, "full_attention") != 0 &&
                strcmp(item->string, "sliding_attention") != 0)
                json_refuse(&rope, item->string, item, "full_attention and sliding_attention");
        rope.json = json_find(parameters, "full_attention");
        rope.within = "rope_parameters.full_attention.";
    }
    if (!rope.failed && !has_failed(r))
        read_rope(r, &rope);
    r->config.failed = r->config.failed || rope.failed;
    if (r->hf->family->halves)
        key_writer_text(&r->writer, "position.pairs", (struct text){"halves", 6});
}

int huggingface_positions_read(struct huggingface *hf)
{
    struct reader reader = {
        .hf = hf,
        .config = {.json = hf->config, .place = hf->config_path, .err = hf->err},
        .writer = {.checkpoint = hf->checkpoint,
                   .prefix = hf->family->architecture,
                   .err = hf->err},
    };
    refuse_unknown(&reader);
    if (!has_failed(&reader))
        read_rotation(&reader);
    return has_failed(&reader) ? -1 : huggingface_layers_read(hf);
}
