/* info_query: --at: which keys one query sees, stored how, and at which distances. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands/info/info.h"

/* A segment that has keys, in numbers for people. */
struct view {
    int64_t first, last;        /* keys */
    double key_first, key_last; /* their lowest and highest place */
    double place;               /* of the query */
    double nearest, farthest;   /* distances */
    const char *stored;
};

static const char *stored_form(const struct info *info, const struct position *position, int form)
{
    const struct context *context = &info->engine.context;
    if (position->rotated == 0)
        return "as they are";
    if (position->follows_length)
        return "unturned, turned as they are read";
    if (form == 0)
        return context->kind == CONTEXT_DUAL_CHUNK ? "turned to their place in the chunk"
                                                   : "turned to their place";
    if (context->kind == CONTEXT_SELF_EXTEND)
        return "turned to their group";
    return context->factor > 0 ? "turned to a fraction of their place" : "unturned";
}

static struct view look(const struct info *info, const struct position *position,
                        const struct segment *segment)
{
    const struct context *context = &info->engine.context;
    struct view view = {
        .first = segment->begin,
        .last = segment->end - 1,
        .key_first = context_key_place(context, segment->form, segment->begin),
        .key_last = context_key_place(context, segment->form, segment->end - 1),
        .place = segment->place,
        .stored = stored_form(info, position, segment->form),
    };
    /* Where the places of a chunk begin again, all of them are there. */
    if (context->kind == CONTEXT_DUAL_CHUNK &&
        view.first / context->chunk != view.last / context->chunk) {
        view.key_first = 0;
        view.key_last = (double)(context->chunk - 1);
    }
    view.nearest = view.place - view.key_last;
    view.farthest = view.place - view.key_first;
    return view;
}

/* The views of the query in a group of layers; returns how many. */
static int look_all(const struct info *info, int group, struct view views[SEGMENTS_MAX])
{
    const struct model *model = &info->engine.model;
    const struct context *context = &info->engine.context;
    int first = info->groups[group].first;
    struct segment segments[SEGMENTS_MAX];
    int n = 0;
    context_segments(context, &model->config.layers[first], info->options->at, segments);
    for (int s = 0; s < context_n_segments(context); s++)
        if (segments[s].begin < segments[s].end)
            views[n++] = look(info, model->layers[first].position, &segments[s]);
    return n;
}

int info_check(struct info *info, struct error *err)
{
    const struct engine *engine = &info->engine;
    for (int i = 0; i < engine->model.n_positions; i++) {
        int64_t limit = engine->model.positions[i].limit;
        info->engine.misused = info->options->at >= limit;
        if (info->engine.misused)
            return error_set(
                err, "--at: %" PRId64 " found, but the model's %s positions end at %" PRId64,
                info->options->at, engine->model.positions[i].scheme->name, limit - 1);
    }
    return session_allows(&engine->model, &engine->context, err);
}

static void print_group(const struct info *info, int group)
{
    struct view views[SEGMENTS_MAX];
    int n = look_all(info, group, views);
    if (info->n_groups > 1) {
        char layers[LAYER_LIST_BYTES];
        info_layer_list(info, group, layers);
        printf("%s %s\n", strpbrk(layers, "-,") ? "layers" : "layer", layers);
    }
    for (int i = 0; i < n; i++) {
        const struct view *v = &views[i];
        printf("  keys %" PRId64 " to %" PRId64 ", %s: at %.10g to %.10g, seen from %.10g at "
               "distances %.10g to %.10g\n",
               v->first, v->last, v->stored, v->key_first, v->key_last, v->place, v->nearest,
               v->farthest);
    }
}

void info_print_query(const struct info *info)
{
    char text[CONTEXT_TEXT_BYTES];
    context_text(&info->engine.context, text, sizeof text);
    printf("\nthe token at position %" PRId64 " sees, by context %s:\n", info->options->at, text);
    for (int group = 0; group < info->n_groups; group++)
        print_group(info, group);
}

static cJSON *view_json(const struct view *view)
{
    const double keys[] = {(double)view->first, (double)view->last};
    const double places[] = {view->key_first, view->key_last};
    const double distances[] = {view->nearest, view->farthest};
    cJSON *segment = cJSON_CreateObject();
    cJSON_AddItemToObject(segment, "keys", cJSON_CreateDoubleArray(keys, 2));
    cJSON_AddStringToObject(segment, "stored", view->stored);
    cJSON_AddItemToObject(segment, "key_places", cJSON_CreateDoubleArray(places, 2));
    cJSON_AddNumberToObject(segment, "query_place", view->place);
    cJSON_AddItemToObject(segment, "distances", cJSON_CreateDoubleArray(distances, 2));
    return segment;
}

void info_add_query(const struct info *info, cJSON *object)
{
    cJSON *query = cJSON_AddObjectToObject(object, "query");
    cJSON_AddNumberToObject(query, "at", (double)info->options->at);
    cJSON *layers = cJSON_AddArrayToObject(query, "layers");
    for (int group = 0; group < info->n_groups; group++) {
        struct view views[SEGMENTS_MAX];
        int n = look_all(info, group, views);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(layers, item);
        cJSON_AddNumberToObject(item, "layer", info->groups[group].first);
        cJSON *segments = cJSON_AddArrayToObject(item, "segments");
        for (int i = 0; i < n; i++)
            cJSON_AddItemToArray(segments, view_json(&views[i]));
    }
}
