/* info_curves: what schemes make of distances, as numbers for plots. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/array.h"
#include "commands/info/info.h"

/* Every distance up to NEAR, and from there on every power of two up to FAR. */
enum { NEAR = 512, FAR = 1 << 20 };

static int64_t next_distance(int64_t distance)
{
    return distance < NEAR ? distance + 1 : 2 * distance;
}

/* Numbers as a JSON array of floats: 17 digits of each would be noise. */
struct numbers {
    char *text; /* stb_ds array */
};

static void add_number(struct numbers *numbers, double value)
{
    char text[40];
    size_t n = (size_t)snprintf(text, sizeof text, "%s%.7g", numbers->text ? "," : "[", value);
    memcpy(arraddnptr(numbers->text, n), text, n);
}

static cJSON *finish_numbers(struct numbers *numbers)
{
    memcpy(arraddnptr(numbers->text, 2), "]", 2);
    cJSON *raw = cJSON_CreateRaw(numbers->text);
    arrfree(numbers->text);
    return raw;
}

/* The place of the query, and how long the text is: as short a text as has the distance, but at
 * least one of the training length. Few schemes care. */
static int64_t query_place(const struct info *info, int64_t distance)
{
    int64_t last = info->engine.train_length - 1;
    return distance > last ? distance : last;
}

static double bias_at(const struct info *info, const struct position *position, int head,
                      int64_t distance)
{
    if (position->scheme->bias)
        return position->scheme->bias(position, head, (double)distance);
    float score = 0;
    position->scheme->add_bias(position, head, (double)query_place(info, distance),
                               (double)distance, 1, 1, &score);
    return (double)score;
}

static cJSON *bias_of_heads(const struct info *info, const struct position *position)
{
    cJSON *heads = cJSON_CreateArray();
    for (int head = 0; head < info->engine.model.config.n_heads; head++) {
        struct numbers numbers = {0};
        for (int64_t d = 0; d <= FAR; d = next_distance(d))
            add_number(&numbers, bias_at(info, position, head, d));
        cJSON_AddItemToArray(heads, finish_numbers(&numbers));
    }
    return heads;
}

/* What rotation leaves of the product of two equal unit vectors: the mean of cos(angle) over the
 * pairs, each times its decay. */
static double rotation_at(const struct info *info, const struct position *position,
                          int64_t distance)
{
    double cosines[POSITION_PAIRS_MAX];
    double sines[POSITION_PAIRS_MAX];
    float decay[POSITION_PAIRS_MAX];
    int pairs = position->rotated / 2;
    for (int t = 0; t < pairs; t++)
        decay[t] = 1;
    position->scheme->angles(position, (double)distance, query_place(info, distance) + 1, cosines,
                             sines);
    if (position->scheme->decay)
        position->scheme->decay(position, (double)distance, decay);
    double sum = 0;
    for (int t = 0; t < pairs; t++)
        sum += cosines[t] * (double)decay[t];
    return sum / pairs;
}

static cJSON *rotation_of(const struct info *info, const struct position *position)
{
    struct numbers numbers = {0};
    for (int64_t d = 0; d <= FAR; d = next_distance(d))
        add_number(&numbers, rotation_at(info, position, d));
    return finish_numbers(&numbers);
}

/* How far every pair turns a place, in radians, in a text that ends at --at, or else at the end of
 * the training length. */
static cJSON *frequencies_of(const struct info *info, const struct position *position)
{
    double cosines[POSITION_PAIRS_MAX];
    double sines[POSITION_PAIRS_MAX];
    int64_t length = info->options->at >= 0 ? info->options->at + 1 : info->engine.train_length;
    struct numbers numbers = {0};
    position->scheme->angles(position, 1, length, cosines, sines);
    for (int t = 0; t < position->rotated / 2; t++)
        add_number(&numbers, atan2(sines[t], cosines[t]));
    return finish_numbers(&numbers);
}

void info_add_curves(const struct info *info, cJSON *object)
{
    cJSON *curves = cJSON_AddObjectToObject(object, "curves");
    struct numbers distances = {0};
    for (int64_t d = 0; d <= FAR; d = next_distance(d))
        add_number(&distances, (double)d);
    cJSON_AddItemToObject(curves, "distances", finish_numbers(&distances));
    cJSON *layers = cJSON_AddArrayToObject(curves, "layers");
    for (int g = 0; g < info->n_groups; g++) {
        int first = info->groups[g].first;
        const struct position *position = info->engine.model.layers[first].position;
        cJSON *curve = cJSON_CreateObject();
        cJSON_AddItemToArray(layers, curve);
        cJSON_AddNumberToObject(curve, "layer", first);
        cJSON_AddStringToObject(curve, "scheme", position->scheme->name);
        if (position->scheme->bias || position->scheme->add_bias)
            cJSON_AddItemToObject(curve, "bias", bias_of_heads(info, position));
        if (position->rotated > 0) {
            cJSON_AddItemToObject(curve, "rotation", rotation_of(info, position));
            cJSON_AddItemToObject(curve, "frequencies", frequencies_of(info, position));
        }
    }
}
