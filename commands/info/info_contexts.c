/* info_contexts: what the cache takes, and what every context policy would do to a model. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands/info/info.h"
#include "commands/output.h"

/* --- policies --------------------------------------------------------------------------------- */

enum { N_LENGTHS = 2, REASON_BYTES = 512 };

/* One policy at the lengths of the table. */
struct outcome {
    char policy[CONTEXT_TEXT_BYTES];
    char reason[REASON_BYTES]; /* why not; "" where it is allowed */
    int64_t distance[N_LENGTHS];
    double bytes[N_LENGTHS];
};

/* How many positions the model has. */
static int64_t position_limit(const struct model *model)
{
    int64_t limit = INT64_MAX;
    for (int i = 0; i < model->n_positions; i++)
        limit = model->positions[i].limit < limit ? model->positions[i].limit : limit;
    return limit;
}

/* 4 and 64 times the training length, or half and all of the positions where those end before. */
static void table_lengths(const struct info *info, int64_t lengths[N_LENGTHS])
{
    int64_t trained = info->engine.train_length > 0 ? info->engine.train_length : 1024;
    int64_t limit = position_limit(&info->engine.model);
    lengths[0] = 4 * trained < limit / 2 ? 4 * trained : limit / 2;
    lengths[1] = 64 * trained < limit ? 64 * trained : limit;
}

/* The longest distance of a text of n tokens in layers that have positions, or else in any. */
static int64_t longest_distance(const struct model *model, const struct context *context, int64_t n)
{
    int64_t longest[2] = {-1, -1};
    for (int l = 0; l < model->config.n_layers; l++) {
        bool placed = model->layers[l].position->scheme->nature != POSITION_PLACELESS;
        int64_t distance = context_max_distance(context, &model->config.layers[l], n);
        longest[placed] = distance > longest[placed] ? distance : longest[placed];
    }
    return longest[longest[true] >= 0];
}

/* An error's text without the place that it begins with. */
static void set_reason(struct outcome *outcome, const struct error *err)
{
    const char *colon = strstr(err->text, ": ");
    snprintf(outcome->reason, sizeof outcome->reason, "%s", colon ? colon + 2 : err->text);
}

/* Fails only where memory does. */
static int find_outcome(const struct info *info, const struct context *context,
                        struct outcome *outcome, struct error *err)
{
    const struct model *model = &info->engine.model;
    struct session_options options = {.kv = info->options->kv_type, .context = *context};
    struct session session;
    int64_t lengths[N_LENGTHS];
    table_lengths(info, lengths);
    context_text(context, outcome->policy, sizeof outcome->policy);
    if (session_allows(model, context, err)) {
        set_reason(outcome, err);
        return 0;
    }
    if (session_open(&session, model, &options, err))
        return -1;
    for (int i = 0; i < N_LENGTHS; i++) {
        outcome->distance[i] = longest_distance(model, context, lengths[i]);
        outcome->bytes[i] = session_cache_bytes(&session, lengths[i]);
    }
    session_close(&session);
    return 0;
}

/* Row i of the table: the policy in force, where one was asked for, and then the examples. Returns
 * 1 past the last. */
static int table_row(const struct info *info, int i, struct outcome *outcome, struct error *err)
{
    *outcome = (struct outcome){.policy = ""};
    if (info->options->context && i == 0)
        return find_outcome(info, &info->engine.context, outcome, err);
    const char *example = context_example(info->options->context ? i - 1 : i);
    if (!example)
        return 1;
    struct context context;
    if (context_parse(&context, example, info->engine.train_length, err) == 0)
        return find_outcome(info, &context, outcome, err);
    snprintf(outcome->policy, sizeof outcome->policy, "%s", example);
    set_reason(outcome, err);
    return 0;
}

/* --- cache types ------------------------------------------------------------------------------ */

/* Bytes that a token takes in a cache of this type, under the policy in force. */
static int token_bytes(const struct info *info, enum format format, double *bytes,
                       struct error *err)
{
    struct session_options options = {.kv = format, .context = info->engine.context};
    struct session session;
    if (session_open(&session, &info->engine.model, &options, err))
        return -1;
    *bytes = cache_token_bytes(&session.cache);
    session_close(&session);
    return 0;
}

static int print_cache_types(const struct info *info, struct error *err)
{
    const char *comma = "";
    printf("cache            bytes a token: ");
    for (int format = 0; format < FORMAT_COUNT; format++) {
        double bytes;
        if (!cache_supports((enum format)format))
            continue;
        if (token_bytes(info, (enum format)format, &bytes, err))
            return -1;
        printf("%s%s %.0f", comma, format_info[format].name, bytes);
        comma = ", ";
    }
    printf("\n");
    return 0;
}

static int add_cache_types(const struct info *info, cJSON *object, struct error *err)
{
    double bytes;
    if (token_bytes(info, info->options->kv_type, &bytes, err))
        return -1;
    cJSON_AddStringToObject(object, "cache_type", format_info[info->options->kv_type].name);
    cJSON_AddNumberToObject(object, "cache_bytes_per_token", bytes);
    cJSON *types = cJSON_AddObjectToObject(object, "cache_types");
    for (int format = 0; format < FORMAT_COUNT; format++) {
        if (!cache_supports((enum format)format))
            continue;
        if (token_bytes(info, (enum format)format, &bytes, err))
            return -1;
        cJSON_AddNumberToObject(types, format_info[format].name, bytes);
    }
    return 0;
}

/* --- the table -------------------------------------------------------------------------------- */

static void print_outcome(const struct outcome *outcome)
{
    if (outcome->reason[0]) {
        printf("  %-38s  no: %s\n", outcome->policy, outcome->reason);
        return;
    }
    printf("  %-38s", outcome->policy);
    for (int i = 0; i < N_LENGTHS; i++)
        printf("  %11" PRId64, outcome->distance[i]);
    for (int i = 0; i < N_LENGTHS; i++)
        printf("  %11s", output_size(outcome->bytes[i]).text);
    printf("\n");
}

int info_print_contexts(const struct info *info, struct error *err)
{
    int64_t lengths[N_LENGTHS];
    struct outcome outcome;
    if (print_cache_types(info, err))
        return -1;
    table_lengths(info, lengths);
    printf("\n%-40s  %24s  %17s cache\n%-40s", "context policy, at a text of", "longest distance",
           format_info[info->options->kv_type].name,
           info->options->context ? "(first: the one asked for)" : "");
    for (int i = 0; i < 2 * N_LENGTHS; i++)
        printf("  %11" PRId64, lengths[i % N_LENGTHS]);
    printf("\n");
    for (int row = 0;; row++) {
        int result = table_row(info, row, &outcome, err);
        if (result)
            return result < 0 ? -1 : 0;
        print_outcome(&outcome);
    }
}

static cJSON *outcome_json(const struct outcome *outcome)
{
    cJSON *policy = cJSON_CreateObject();
    cJSON_AddStringToObject(policy, "policy", outcome->policy);
    cJSON_AddBoolToObject(policy, "allowed", outcome->reason[0] == '\0');
    if (outcome->reason[0]) {
        cJSON_AddStringToObject(policy, "reason", outcome->reason);
        return policy;
    }
    cJSON *distances = cJSON_AddArrayToObject(policy, "longest_distances");
    for (int i = 0; i < N_LENGTHS; i++)
        cJSON_AddItemToArray(distances, cJSON_CreateNumber((double)outcome->distance[i]));
    cJSON_AddItemToObject(policy, "cache_bytes",
                          cJSON_CreateDoubleArray(outcome->bytes, N_LENGTHS));
    return policy;
}

int info_add_contexts(const struct info *info, cJSON *object, struct error *err)
{
    char text[CONTEXT_TEXT_BYTES];
    int64_t lengths[N_LENGTHS];
    struct outcome outcome;
    if (add_cache_types(info, object, err))
        return -1;
    context_text(&info->engine.context, text, sizeof text);
    cJSON_AddStringToObject(object, "context", text);
    table_lengths(info, lengths);
    cJSON *at = cJSON_AddArrayToObject(object, "context_lengths");
    for (int i = 0; i < N_LENGTHS; i++)
        cJSON_AddItemToArray(at, cJSON_CreateNumber((double)lengths[i]));
    cJSON *contexts = cJSON_AddArrayToObject(object, "contexts");
    for (int row = 0;; row++) {
        int result = table_row(info, row, &outcome, err);
        if (result)
            return result < 0 ? -1 : 0;
        cJSON_AddItemToArray(contexts, outcome_json(&outcome));
    }
}
