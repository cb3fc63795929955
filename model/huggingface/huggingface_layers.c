/* huggingface_layers: what config.json says of single layers -> keys: which have a window, and
 * which no positions. */
#include <string.h>

#include "base/size.h"
#include "model/huggingface/huggingface.h"
#include "model/huggingface/key_writer.h"

struct reader {
    struct huggingface *hf;
    struct json_object config; /* config.json */
    struct key_writer writer;
};

struct layers {
    int window; /* 0: none */
    bool *windowed, *rotated;
};

static void read_window(struct reader *r, struct layers *layers)
{
    const struct huggingface_family *family = r->hf->family;
    bool used = family->windows != WINDOWS_UPPER && family->windows != WINDOWS_NOPE;
    layers->window = family->window;
    for (const cJSON *item = r->hf->config->child; item; item = item->next)
        if (strcmp(item->string, "sliding_window") == 0 && cJSON_IsNull(item))
            layers->window = 0;
    if (family->windows == WINDOWS_NONE)
        return;
    json_int(&r->config, "sliding_window", OPTIONAL, 0, INT32_MAX, &layers->window);
    json_bool(&r->config, "use_sliding_window", &used);
    if (!used)
        layers->window = 0;
}

/* SmolLM3's list has 1 for layers with positions. */
static void read_nope(struct reader *r, struct layers *layers)
{
    int interval = 4, l = 0;
    json_int(&r->config, "no_rope_layer_interval", OPTIONAL, 1, INT32_MAX, &interval);
    for (l = 0; l < r->hf->n_layers; l++)
        layers->rotated[l] = (l + 1) % interval != 0;
    const cJSON *list = json_array(&r->config, "no_rope_layers", OPTIONAL);
    if (!list || !list->child)
        return;
    l = 0;
    for (const cJSON *item = list->child; item && l < r->hf->n_layers; item = item->next, l++) {
        uint64_t rotated;
        if (!json_is_count(item, 1, &rotated))
            json_refuse(&r->config, "no_rope_layers", item, "a list of 0 and 1");
        else
            layers->rotated[l] = rotated != 0;
    }
    if (l < r->hf->n_layers && !r->config.failed)
        json_refuse(&r->config, "no_rope_layers", list, "an item for every layer");
}

/* Which layers have a window where no list says so. */
static void guess_windows(struct reader *r, struct layers *layers)
{
    const struct huggingface_family *family = r->hf->family;
    int interval = family->window_interval, first = 28;
    if (family->windows == WINDOWS_INTERVAL) {
        json_int(&r->config, "_sliding_window_pattern", OPTIONAL, 1, INT32_MAX, &interval);
        json_int(&r->config, "sliding_window_pattern", OPTIONAL, 1, INT32_MAX, &interval);
    }
    if (family->windows == WINDOWS_UPPER)
        json_int(&r->config, "max_window_layers", OPTIONAL, 0, INT32_MAX, &first);
    for (int l = 0; l < r->hf->n_layers; l++) {
        bool by_rule[] = {[WINDOWS_NONE] = false,
                          [WINDOWS_ALL] = true,
                          [WINDOWS_UPPER] = l >= first,
                          [WINDOWS_NOPE] = !layers->rotated[l],
                          [WINDOWS_INTERVAL] = interval > 0 && (l + 1) % interval != 0};
        bool needs = family->windows == WINDOWS_INTERVAL;
        layers->windowed[l] = by_rule[family->windows] && (layers->window > 0 || needs);
    }
}

/* "layer_types" has the last word; a list that asks for windows needs their length. */
static void read_layer_types(struct reader *r, struct layers *layers)
{
    const cJSON *list = json_array(&r->config, "layer_types", OPTIONAL);
    int l = 0;
    for (const cJSON *item = list ? list->child : NULL; item && !r->config.failed;
         item = item->next, l++) {
        bool windowed = cJSON_IsString(item) && strcmp(item->valuestring, "sliding_attention") == 0;
        bool full = cJSON_IsString(item) && strcmp(item->valuestring, "full_attention") == 0;
        if (!windowed && !full)
            json_refuse(&r->config, "layer_types", item, "full_attention or sliding_attention");
        else if (l >= r->hf->n_layers)
            json_refuse(&r->config, "layer_types", list, "an item for every layer, and no more");
        else if (r->hf->family->windows == WINDOWS_ALL && windowed != layers->windowed[l])
            json_refuse(&r->config, "layer_types", item, "the same window in all layers");
        else
            layers->windowed[l] = windowed;
    }
    if (list && l < r->hf->n_layers && !r->config.failed)
        json_refuse(&r->config, "layer_types", list, "an item for every layer, and no more");
    for (l = 0; l < r->hf->n_layers && !r->config.failed; l++)
        if (layers->windowed[l] && layers->window == 0)
            json_refuse(&r->config, "sliding_window", json_find(r->hf->config, "sliding_window"),
                        "a number of tokens in use, since some layers have a window");
}

static void write_layers(struct reader *r, const struct layers *layers, uint32_t *windows,
                         struct text *types)
{
    size_t n = (size_t)r->hf->n_layers;
    bool all_rotated = true;
    for (size_t l = 0; l < n; l++) {
        windows[l] = layers->windowed[l] ? (uint32_t)layers->window : 0;
        types[l] = layers->rotated[l] ? (struct text){"rope", 4} : (struct text){"none", 4};
        all_rotated = all_rotated && layers->rotated[l];
    }
    key_writer_uints(&r->writer, "attention.sliding_window", windows, n);
    key_writer_uint(&r->writer, "attention.sliding_window_pattern", 0);
    if (!all_rotated)
        key_writer_texts(&r->writer, "position.type", types, n);
}

static void read_layers(struct reader *r)
{
    size_t n = (size_t)r->hf->n_layers;
    uint32_t *windows = size_alloc(n, sizeof *windows);
    struct text *types = size_alloc(n, sizeof *types);
    struct layers layers = {.windowed = size_alloc(n, 1), .rotated = size_alloc(n, 1)};
    if (!windows || !types || !layers.windowed || !layers.rotated) {
        error_memory(r->config.err, "the configuration of layers", n * sizeof *types);
        r->config.failed = true;
    } else {
        memset(layers.rotated, true, n);
        if (r->hf->family->windows == WINDOWS_NOPE)
            read_nope(r, &layers);
        read_window(r, &layers);
        guess_windows(r, &layers);
        read_layer_types(r, &layers);
        if (r->hf->family->set == FAMILY_COHERE2)
            memcpy(layers.rotated, layers.windowed, n);
        if (!r->config.failed)
            write_layers(r, &layers, windows, types);
    }
    free(windows);
    free(types);
    free(layers.windowed);
    free(layers.rotated);
}

int huggingface_layers_read(struct huggingface *hf)
{
    struct reader reader = {
        .hf = hf,
        .config = {.json = hf->config, .place = hf->config_path, .err = hf->err},
        .writer = {.checkpoint = hf->checkpoint,
                   .prefix = hf->family->architecture,
                   .err = hf->err},
    };
    read_layers(&reader);
    return reader.config.failed || reader.writer.failed ? -1 : 0;
}
