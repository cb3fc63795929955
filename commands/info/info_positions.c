/* info_positions: the layers grouped by how they treat positions, and what these groups are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/info/info.h"

/* --- groups ----------------------------------------------------------------------------------- */

static const struct position *scheme_of(const struct info *info, int group)
{
    return info->engine.model.layers[info->groups[group].first].position;
}

/* "rope, base 10000, ...; yarn, ..., window 1024". */
static void describe_layer(const struct model *model, int l, char text[LAYER_TEXT_BYTES])
{
    const struct layer_config *layer = &model->config.layers[l];
    const struct {
        const char *format;
        double number;
    } parts[] = {
        {", window %.0f", (double)layer->window},
        {", chunks of %.0f", (double)layer->chunk},
        {" and %.0f before", (double)layer->memory},
        {", queries grow by %g", layer->temperature_scale},
        {" every %.0f", layer->temperature_scale != 0 ? layer->temperature_floor : 0},
    };
    position_describe(model->layers[l].position, text, LAYER_TEXT_BYTES / 2);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t used = strlen(text);
        if (parts[i].number != 0)
            snprintf(text + used, LAYER_TEXT_BYTES - used, parts[i].format, parts[i].number);
    }
}

int info_open_groups(struct info *info, struct error *err)
{
    const struct model *model = &info->engine.model;
    size_t n_layers = (size_t)model->config.n_layers;
    info->groups = malloc(n_layers * sizeof *info->groups);
    info->group_of = malloc(n_layers * sizeof *info->group_of);
    if (!info->groups || !info->group_of)
        return error_memory(err, "the groups of layers", n_layers * sizeof *info->groups);
    for (int l = 0; l < model->config.n_layers; l++) {
        struct layer_group *new = &info->groups[info->n_groups];
        describe_layer(model, l, new->text);
        new->first = l;
        int group = 0;
        while (strcmp(info->groups[group].text, new->text) != 0)
            group++;
        info->group_of[l] = group;
        info->n_groups += group == info->n_groups;
    }
    return 0;
}

void info_close_groups(struct info *info)
{
    free(info->groups);
    free(info->group_of);
}

void info_layer_list(const struct info *info, int group, char text[LAYER_LIST_BYTES])
{
    enum { ROOM = 24 }; /* for one more range and the mark */
    int n_layers = info->engine.model.config.n_layers;
    size_t used = 0;
    text[0] = '\0';
    for (int l = 0; l < n_layers; l++) {
        int begin = l;
        while (l < n_layers && info->group_of[l] == group)
            l++;
        if (l == begin)
            continue;
        const char *comma = used > 0 ? ", " : "";
        if (used + ROOM > LAYER_LIST_BYTES) {
            snprintf(text + used, LAYER_LIST_BYTES - used, "%s...", comma);
            return;
        }
        used += (size_t)(l - 1 > begin ? snprintf(text + used, LAYER_LIST_BYTES - used, "%s%d-%d",
                                                  comma, begin, l - 1)
                                       : snprintf(text + used, LAYER_LIST_BYTES - used, "%s%d",
                                                  comma, begin));
    }
}

/* --- what they are ---------------------------------------------------------------------------- */

/* What is in force in a group that rotates, by its description: "yarn, factor 4 ...", "none". */
static void scaling_text(const struct position *position, char text[LAYER_TEXT_BYTES])
{
    char description[LAYER_TEXT_BYTES];
    position_describe(position, description, sizeof description);
    const char *scaling = strchr(description, ';');
    snprintf(text, LAYER_TEXT_BYTES, "%s", scaling ? scaling + 2 : "none");
}

/* Local layers may do without the scaling that others have. */
static void print_scaling(const struct info *info)
{
    char scaling[LAYER_TEXT_BYTES] = "";
    for (int g = 0; g < info->n_groups; g++)
        if (scheme_of(info, g)->layer->position == POSITION_ROPE &&
            (!scaling[0] || strcmp(scaling, "none") == 0))
            scaling_text(scheme_of(info, g), scaling);
    if (scaling[0])
        printf("rope scaling     %s\n", scaling);
}

void info_print_positions(const struct info *info)
{
    const struct engine *engine = &info->engine;
    int in_file = engine->model.config.train_length;
    for (int g = 0; g < info->n_groups; g++) {
        char layers[LAYER_LIST_BYTES];
        info_layer_list(info, g, layers);
        printf("%-16s %s", g == 0 ? "position" : "", info->groups[g].text);
        if (info->n_groups > 1)
            printf(": %s %s", strpbrk(layers, "-,") ? "layers" : "layer", layers);
        printf("\n");
    }
    print_scaling(info);
    if (engine->train_length == 0)
        printf("training length  not known (see --train-length)\n");
    else if (engine->train_length == in_file)
        printf("training length  %d tokens\n", in_file);
    else
        printf("training length  %d tokens, as --train-length says\n", engine->train_length);
}

static void add_group(const struct info *info, int g, cJSON *groups)
{
    const struct position *position = scheme_of(info, g);
    const struct layer_config *layer = &info->engine.model.config.layers[info->groups[g].first];
    char text[LAYER_TEXT_BYTES];
    cJSON *group = cJSON_CreateObject();
    cJSON_AddItemToArray(groups, group);
    cJSON *layers = cJSON_AddArrayToObject(group, "layers");
    for (int l = 0; l < info->engine.model.config.n_layers; l++)
        if (info->group_of[l] == g)
            cJSON_AddItemToArray(layers, cJSON_CreateNumber(l));
    cJSON_AddStringToObject(group, "scheme", position->scheme->name);
    position_describe(position, text, sizeof text);
    cJSON_AddStringToObject(group, "description", text);
    if (position->layer->position == POSITION_ROPE) {
        scaling_text(position, text);
        cJSON_AddStringToObject(group, "rope_scaling", text);
    }
    cJSON_AddNumberToObject(group, "window", (double)layer->window);
    cJSON_AddNumberToObject(group, "chunk", (double)layer->chunk);
    cJSON_AddNumberToObject(group, "memory", (double)layer->memory);
    if (position->limit < INT64_MAX)
        cJSON_AddNumberToObject(group, "places", (double)position->limit);
}

void info_add_positions(const struct info *info, cJSON *object)
{
    cJSON_AddStringToObject(object, "position", info->groups[0].text);
    cJSON *groups = cJSON_AddArrayToObject(object, "positions");
    for (int g = 0; g < info->n_groups; g++)
        add_group(info, g, groups);
    cJSON_AddNumberToObject(object, "training_length", info->engine.train_length);
}
