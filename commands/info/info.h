/* info: what the files of the command share: the model at hand, and its layers grouped by how they
 * treat positions. Each part prints itself, or adds itself to an object. */
#ifndef LONGHAND_COMMANDS_INFO_H
#define LONGHAND_COMMANDS_INFO_H

#include <cjson/cJSON.h>

#include "commands/engine.h"

enum { LAYER_TEXT_BYTES = 320, LAYER_LIST_BYTES = 80 };

/* Layers with the same scheme, in words, and the same windows. */
struct layer_group {
    int first; /* the first of them */
    char text[LAYER_TEXT_BYTES];
};

struct info {
    struct engine engine;
    const struct options *options;
    struct layer_group *groups; /* (n_groups) */
    int n_groups;
    int *group_of; /* (n_layers) */
};

/* Fills the groups; the model must be open. info_close_groups accepts zeroed ones. */
int info_open_groups(struct info *info, struct error *err);
void info_close_groups(struct info *info);

/* "0-2, 4-6": the layers of a group; what does not fit is cut and marked with "...". */
void info_layer_list(const struct info *info, int group, char text[LAYER_LIST_BYTES]);

/* Schemes, scaling, training length. */
void info_print_positions(const struct info *info);
void info_add_positions(const struct info *info, cJSON *object);

/* Adds "curves": what each group's scheme makes of distances, for plots. */
void info_add_curves(const struct info *info, cJSON *object);

/* Cache types, and what every context policy would do to the model. */
int info_print_contexts(const struct info *info, struct error *err);
int info_add_contexts(const struct info *info, cJSON *object, struct error *err);

/* Fails where the model cannot do what --context asks for, or has no position --at. */
int info_check(struct info *info, struct error *err);

/* What the query --at sees. */
void info_print_query(const struct info *info);
void info_add_query(const struct info *info, cJSON *object);

#endif
