/* notices: see notices.h. */
#include "commands/notices.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAST_BYTES = 400, LONG_PROMPT = 4096 };

/* A text that is longer than any. */
static const int64_t FOREVER = INT64_C(1) << 40;

/* --- what is done past the training length ---------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void append(char *text, size_t size,
                                                         const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

/* The longest distance in a text of n tokens, of layers whose schemes know distances; -1: none. */
static int64_t longest_distance(const struct engine *engine, int64_t n)
{
    const struct config *config = &engine->model.config;
    int64_t longest = -1;
    for (int l = 0; l < config->n_layers; l++) {
        enum position_nature nature = engine->model.layers[l].position->scheme->nature;
        if (nature != POSITION_WHOLE && nature != POSITION_REAL)
            continue;
        int64_t distance = context_max_distance(&engine->context, &config->layers[l], n);
        longest = distance > longest ? distance : longest;
    }
    return longest;
}

/* What the policy does, which is not `all`. */
static void append_policy(const struct context *c, char *text, size_t size)
{
    long long window = c->window;
    switch (c->kind) {
    case CONTEXT_LM_INFINITE:
    case CONTEXT_WINDOW:
        append(text, size, "the window keeps the last %lld tokens", window);
        if (c->sinks > 0)
            append(text, size, " and the first %lld", (long long)c->sinks);
        break;
    case CONTEXT_REROPE:
        if (c->factor > 0)
            append(text, size,
                   "leaky-rerope takes what is over %lld tokens back to be %g times "
                   "nearer",
                   window, c->factor);
        else
            append(text, size, "rerope takes all tokens over %lld back to be %lld back", window,
                   window);
        break;
    case CONTEXT_SELF_EXTEND:
        append(text, size, "self-extend counts what is %lld or more tokens back in groups of %lld",
               window, (long long)c->group);
        break;
    default:
        append(text, size, "dual-chunk takes no token to be over %lld back", (long long)c->cap);
    }
}

/* How the distances that the policy leaves compare with those trained on. */
static void append_distances(const struct engine *engine, char *text, size_t size)
{
    int64_t trained = engine->train_length;
    if (longest_distance(engine, FOREVER) < trained) {
        append(text, size, "; distances stay below %lld", (long long)trained);
        return;
    }
    int64_t within = 1;
    int64_t beyond = FOREVER;
    while (beyond - within > 1) {
        int64_t n = within + (beyond - within) / 2;
        if (longest_distance(engine, n) < trained)
            within = n;
        else
            beyond = n;
    }
    int64_t longest = longest_distance(engine, FOREVER);
    if (longest == longest_distance(engine, FOREVER / 2))
        append(text, size, "; distances grow to %lld", (long long)longest);
    else if (within > trained)
        append(text, size, "; distances stay below %lld up to %lld tokens", (long long)trained,
               (long long)within);
    else
        append(text, size, "; distances grow on");
}

static void append_rope(const struct position *position, char *text, size_t size)
{
    char description[PAST_BYTES];
    position_describe(position, description, sizeof description);
    const char *scaling = strchr(description, ';');
    if (!scaling)
        append(text, size,
               "rope goes on to places it was not trained on (see --context, "
               "--rope-scaling)");
    else if (position->follows_length)
        append(text, size, "rope is stretched as the text grows (%s)", scaling + 2);
    else
        append(text, size, "rope goes on, stretched (%s)", scaling + 2);
}

/* What a scheme does with places or distances that were not trained on. */
static void append_scheme(const struct position *position, char *text, size_t size)
{
    const char *name = position->scheme->name;
    switch (position->layer->position) {
    case POSITION_NONE:
        append(text, size, "there are no positions that could run out");
        break;
    case POSITION_LEARNED:
        append(text, size, "learned positions end at %lld", (long long)position->limit);
        break;
    case POSITION_SINUSOIDAL:
        append(text, size, "%s goes on to places it was not trained on", name);
        break;
    case POSITION_ROPE:
        append_rope(position, text, size);
        break;
    case POSITION_ALIBI:
    case POSITION_KERPLE:
    case POSITION_SANDWICH:
        append(text, size, "%s goes on: made for it", name);
        break;
    case POSITION_FIRE:
        append(text, size, "%s goes on: it sees distances as shares of the text", name);
        break;
    case POSITION_COPE:
        append(text, size, "%s goes on: it counts by content", name);
        break;
    default:
        if (position->last_distance < INT64_MAX)
            append(text, size, "%s goes on: all distances from %lld on are alike", name,
                   (long long)position->last_distance);
        else
            append(text, size, "%s goes on to distances it was not trained on (see --context)",
                   name);
    }
}

/* Whether layers of this scheme meet, with every key in sight, what was not trained on. */
static bool is_outgrown(const struct engine *engine, const struct position *position)
{
    const struct model *model = &engine->model;
    for (int l = 0; l < model->config.n_layers; l++)
        if (model->layers[l].position == position &&
            context_max_distance(&engine->context, &model->config.layers[l], FOREVER) >=
                engine->train_length)
            return true;
    return false;
}

void notices_past_text(const struct engine *engine, char *text, size_t size)
{
    const struct model *model = &engine->model;
    bool all = engine->context.kind == CONTEXT_ALL;
    bool relative = longest_distance(engine, FOREVER) >= 0;
    text[0] = '\0';
    if (!all)
        append_policy(&engine->context, text, size);
    for (int i = 0; i < model->n_positions; i++) {
        const struct position *position = &model->positions[i];
        enum position_nature nature = position->scheme->nature;
        bool matters = nature == POSITION_ABSOLUTE;
        if (nature == POSITION_PLACELESS)
            matters = all && !relative;
        else if (!matters)
            matters = all && is_outgrown(engine, position);
        char scheme[PAST_BYTES] = "";
        append_scheme(position, scheme, sizeof scheme);
        if (matters && !strstr(text, scheme))
            append(text, size, "%s%s", text[0] ? "; " : "", scheme);
    }
    bool windows = !text[0];
    if (windows)
        append(text, size, "the model's own windows hold");
    if (relative && (!all || windows))
        append_distances(engine, text, size);
}

/* --- what leaves the cache, and what it takes ------------------------------------------------- */

int64_t notices_left(const struct engine *engine, int64_t n, int64_t *sinks, int64_t *first)
{
    const struct config *config = &engine->model.config;
    *sinks = 0;
    *first = n;
    for (int l = 0; l < config->n_layers; l++) {
        int64_t layer_sinks;
        int64_t layer_first;
        context_kept_any(&engine->context, &config->layers[l], n, &layer_sinks, &layer_first);
        *sinks = layer_sinks > *sinks ? layer_sinks : *sinks;
        *first = layer_first < *first ? layer_first : *first;
    }
    return *first > *sinks ? *first - *sinks : 0;
}

/* Bytes of memory that the system can give without swapping; 0: it does not say. */
static double available_memory(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    double kilobytes = 0;
    while (f && fgets(line, sizeof line, f) && kilobytes == 0)
        if (strncmp(line, "MemAvailable:", 13) == 0)
            kilobytes = strtod(line + 13, NULL);
    if (f)
        fclose(f);
    return kilobytes * 1024;
}

int notices_plan(struct notices *notices, int64_t n, int64_t more, struct error *err)
{
    const struct session *session = notices->session;
    const char *format = format_info[session->cache.format].name;
    int64_t total = session->position + n + more;
    double bytes = session_cache_bytes(session, total);
    double available = available_memory();
    size_t allowed = notices->options->max_memory;
    notices->planned_bytes = bytes;
    if (allowed > 0 && bytes > (double)allowed)
        return error_set(err,
                         "the cache of %lld tokens needs %s as %s, --max-memory allows %s (see "
                         "--context, --kv-type)",
                         (long long)total, output_size(bytes).text, format,
                         output_size((double)allowed).text);
    if (notices->options->verbose || n >= LONG_PROMPT)
        output_note(notices->output, "cache: up to %s for %lld tokens, %.0f bytes each as %s",
                    output_size(bytes).text, (long long)total, cache_token_bytes(&session->cache),
                    format);
    if (available > 0 && bytes > available)
        output_note(notices->output,
                    "the cache of %lld tokens needs %s, but this machine has %s of memory left "
                    "(see --context, --kv-type, --max-memory)",
                    (long long)total, output_size(bytes).text, output_size(available).text);
    return 0;
}

/* --- while the text grows --------------------------------------------------------------------- */

static bool is_past(const struct notices *notices, int64_t n)
{
    return notices->engine->train_length > 0 && n > notices->engine->train_length;
}

static void note(const struct notices *notices, bool mid_line, const char *text)
{
    bool new_line = mid_line && notices->output->terminal && !notices->options->json;
    output_note(notices->output, "%s[%s]", new_line ? "\n" : "", text);
}

static void note_past_training(struct notices *notices, bool mid_line)
{
    char past[PAST_BYTES];
    char text[PAST_BYTES + 64];
    notices_past_text(notices->engine, past, sizeof past);
    snprintf(text, sizeof text, "past the training length of %d tokens: %s",
             notices->engine->train_length, past);
    note(notices, mid_line, text);
    notices->past_training = true;
}

static void note_leaving(struct notices *notices, int64_t n, bool mid_line)
{
    int64_t sinks;
    int64_t first;
    char text[PAST_BYTES];
    if (notices_left(notices->engine, n - 1, &sinks, &first) == 0)
        return;
    if (sinks > 0)
        snprintf(text, sizeof text,
                 "tokens begin to leave the cache: it keeps the last %lld and the first %lld",
                 (long long)(n - first), (long long)sinks);
    else
        snprintf(text, sizeof text, "tokens begin to leave the cache: it keeps the last %lld",
                 (long long)(n - first));
    note(notices, mid_line, text);
    notices->leaving = true;
}

/* LongRoPE: a text of n tokens turns all keys by other factors than the session has so far. */
static void note_switch(struct notices *notices, int64_t n, bool mid_line)
{
    const struct session *session = notices->session;
    for (int i = 0; i < session->model->n_positions && !notices->switched; i++) {
        const struct position *position = &session->model->positions[i];
        int64_t seen = context_max_distance(&session->context, position->layer, n) + 1;
        seen = seen < n ? seen : n;
        if (position->switch_length == 0 || seen <= position->switch_length ||
            session_length(session, position, 0) > position->switch_length)
            continue;
        char text[PAST_BYTES];
        snprintf(text, sizeof text,
                 "past %lld tokens %s turns keys by its factors for long texts%s",
                 (long long)position->switch_length, position->scheme->name,
                 session->position > 0 ? ": reading the text so far again" : "");
        note(notices, mid_line, text);
        notices->switched = true;
    }
}

void notices_watch(struct notices *notices, int64_t n, bool mid_line)
{
    bool window = notices->engine->context.kind == CONTEXT_WINDOW ||
                  notices->engine->context.kind == CONTEXT_LM_INFINITE;
    if (!notices->past_training && is_past(notices, n)) {
        note_past_training(notices, mid_line);
        notices->leaving = notices->leaving || window; /* it has just said what is kept */
        mid_line = false;
    }
    if (!notices->leaving)
        note_leaving(notices, n, mid_line);
    if (!notices->switched)
        note_switch(notices, n, mid_line);
}

void notices_json(const struct notices *notices, cJSON *object)
{
    const struct session *session = notices->session;
    char text[PAST_BYTES];
    int64_t sinks;
    int64_t first;
    context_text(&session->context, text, sizeof text);
    cJSON_AddStringToObject(object, "context", text);
    position_describe(&session->model->positions[0], text, sizeof text);
    cJSON_AddStringToObject(object, "position_scheme", text);
    cJSON_AddNumberToObject(object, "training_length", notices->engine->train_length);
    cJSON_AddBoolToObject(object, "past_training_length", notices->past_training);
    if (notices->past_training) {
        notices_past_text(notices->engine, text, sizeof text);
        cJSON_AddStringToObject(object, "past_training_note", text);
    }
    int64_t left = notices_left(notices->engine, session->position, &sinks, &first);
    cJSON_AddNumberToObject(object, "tokens_evicted", (double)left);
    cJSON_AddNumberToObject(object, "tokens_kept", (double)(session->position - left));
    cJSON_AddStringToObject(object, "cache_type", format_info[session->cache.format].name);
    cJSON_AddNumberToObject(object, "cache_bytes", (double)cache_bytes(&session->cache));
    cJSON_AddNumberToObject(object, "cache_bytes_planned", notices->planned_bytes);
}
