/* keys: reads the keys "<architecture>.<name>" of a checkpoint and remembers the first failure, so
 * that a list of them reads without a test a line. */
#ifndef LONGHAND_MODEL_KEYS_H
#define LONGHAND_MODEL_KEYS_H

#include <stdbool.h>

#include "base/error.h"
#include "base/metadata.h"

struct keys {
    const struct metadata *metadata;
    const char *prefix; /* the architecture */
    struct error *err;
    bool failed;   /* set once; every later read does nothing */
    char key[128]; /* the last key asked for */
};

/* "<architecture>.<name>", until the next call. */
const char *keys_name(struct keys *keys, const char *name);

/* As the metadata functions of the same names: an absent OPTIONAL key leaves *out as it was. */
void keys_int(struct keys *keys, const char *name, enum presence presence, int min, int max,
              int *out);
void keys_double(struct keys *keys, const char *name, enum presence presence, double *out);
void keys_bool(struct keys *keys, const char *name, bool *out);
void keys_text(struct keys *keys, const char *name, enum presence presence, struct text *out);

/* One of names[n] by its text, as an index; OPTIONAL, leaves *out as it was when absent. */
void keys_choice(struct keys *keys, const char *name, const char *const *names, int n, int *out);

/* The same, where the file may also have an array with one name for each of n_layers layers. */
void keys_layer_choice(struct keys *keys, const char *name, const char *const *names, int n,
                       int layer, int n_layers, int *out);

/* Item `layer` of an array with one number a layer, or the number that all layers share. OPTIONAL.
 * The array must have n_layers items. Integers and floats of the file both do. */
void keys_layer_double(struct keys *keys, const char *name, int layer, int n_layers, double *out);

/* Fails with: place: key is FOUND, allowed: ALLOWED. Returns -1. */
int keys_refuse(struct keys *keys, const char *name, double found, const char *allowed);

#endif
