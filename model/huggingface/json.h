/* json: the JSON files of a model's directory, through cJSON; and reading the members of an object
 * with the first failure remembered, so that a list of them reads without a test a line. */
#ifndef LONGHAND_MODEL_JSON_H
#define LONGHAND_MODEL_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/metadata.h"

/* Parses text[size], an object, of which the caller frees the result with cJSON_Delete. `place` is
 * for messages. Refuses what is far too large, and strings that hold a NUL. */
int json_parse(cJSON **root, const char *place, const void *text, size_t size, struct error *err);

/* The same of a whole file. */
int json_open(cJSON **root, const char *path, struct error *err);

/* The member of that name (of several the last, as everybody has it), or NULL, also for null. */
cJSON *json_find(const cJSON *object, const char *key);

/* An object whose members are read. */
struct json_object {
    const cJSON *json;
    const char *place;  /* file name, for messages */
    const char *within; /* "rope_parameters.", for messages; or NULL */
    struct error *err;
    bool failed; /* set once; every later read does nothing */
};

/* An absent OPTIONAL member leaves *out as it was; an absent REQUIRED one, one of another type or
 * out of range is an error that names it. */
void json_int(struct json_object *object, const char *key, enum presence presence, int min, int max,
              int *out);
void json_double(struct json_object *object, const char *key, enum presence presence, double *out);
void json_bool(struct json_object *object, const char *key, bool *out);
void json_text(struct json_object *object, const char *key, enum presence presence,
               const char **out);
/* A list or an object: NULL when absent. */
const cJSON *json_array(struct json_object *object, const char *key, enum presence presence);
const cJSON *json_child(struct json_object *object, const char *key, enum presence presence);

/* Whether `item`, which may be NULL, is a whole number of 0 to max. */
bool json_is_count(const cJSON *item, double max, uint64_t *out);

/* Fails with: place: "key" is FOUND, expected EXPECTED. Returns -1. */
int json_refuse(struct json_object *object, const char *key, const cJSON *found,
                const char *expected);

#endif
