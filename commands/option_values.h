/* option_values: the argument of an option as the value that it stands for. Used by options only.
 */
#ifndef LONGHAND_COMMANDS_OPTION_VALUES_H
#define LONGHAND_COMMANDS_OPTION_VALUES_H

#include "commands/options.h"

/* WHOLE and REAL have a range and are an int64_t and a double; INTEGER is WHOLE in an int, INTEGERS
 * a list of them, NUMBER a float that is checked elsewhere; LIST gathers the texts of an option
 * that is repeated. */
enum option_kind {
    FLAG,
    INTEGER,
    INTEGERS,
    WHOLE,
    NUMBER,
    REAL,
    TEXT,
    FORMAT,
    SCALING,
    SIZE,
    SEED,
    LIST
};

/* One row per option; `target` is where its value goes in struct options. */
struct option_row {
    const char *name;
    char letter; /* 0: none */
    unsigned group;
    enum option_kind kind;
    size_t target;
    double min, max; /* of whole and REAL numbers */
    const char *argument;
    const char *help; /* lines of it, at most 72 columns */
};

/* Stores what `text` (NULL for a FLAG) means in *target, which has the type of the row's kind. */
int option_take(const struct option_row *row, const char *text, void *target, struct error *err);

/* What stands in a target, as a person would type it; kinds that no group shows are empty. */
void option_text(const struct option_row *row, const void *target, char *text, size_t size);

#endif
