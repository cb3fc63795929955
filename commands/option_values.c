/* option_values: see option_values.h. */
#include "commands/option_values.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/cache.h"

static int parse_whole(const struct option_row *row, const char *text, int64_t *out,
                       struct error *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno == ERANGE || (double)value < row->min ||
        (double)value > row->max)
        return error_set(err, "--%s: \"%s\" found, expected a whole number from %.0f to %.0f",
                         row->name, text, row->min, row->max);
    *out = value;
    return 0;
}

/* Numbers with commas between them replace the default. */
static int parse_wholes(const struct option_row *row, const char *text, struct number_list *list,
                        struct error *err)
{
    char number[24];
    list->n = 0;
    for (const char *c = text;; c++) {
        size_t length = strcspn(c, ",");
        int64_t whole = 0;
        snprintf(number, sizeof number, "%.*s", (int)(length < 23 ? length : 23), c);
        if (list->n == MAX_NUMBERS)
            return error_set(err, "--%s: more than %d numbers", row->name, MAX_NUMBERS);
        if (parse_whole(row, number, &whole, err))
            return -1;
        list->at[list->n++] = (int)whole;
        c += length;
        if (!*c)
            return 0;
    }
}

static int parse_number(const struct option_row *row, const char *text, double *out,
                        struct error *err)
{
    bool bounded = row->min < row->max;
    char *end;
    double value = strtod(text, &end);
    bool number = end != text && !*end && value >= -1e30 && value <= 1e30;
    if (number && (!bounded || (value >= row->min && value <= row->max))) {
        *out = value;
        return 0;
    }
    return bounded ? error_set(err, "--%s: \"%s\" found, expected a number from %g to %g",
                               row->name, text, row->min, row->max)
                   : error_set(err, "--%s: \"%s\" found, expected a number", row->name, text);
}

static int parse_format(const struct option_row *row, const char *text, enum format *out,
                        struct error *err)
{
    int format = format_from_name(text);
    if (format < 0 || !cache_supports((enum format)format))
        return error_set(err, "--%s: \"%s\" found, expected one of %s", row->name, text,
                         cache_formats());
    *out = (enum format)format;
    return 0;
}

static int parse_scaling(const struct option_row *row, const char *text, int *out,
                         struct error *err)
{
    *out = rope_scaling_from_name(text);
    if (*out >= 0)
        return 0;
    char names[128] = "";
    size_t length = 0;
    for (int kind = 0; kind < ROPE_SCALING_COUNT && length < sizeof names; kind++)
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", kind ? ", " : "",
                                   rope_scaling_name((enum rope_scaling_kind)kind));
    return error_set(err, "--%s: \"%s\" found, expected one of %s", row->name, text, names);
}

/* Units are decimal, as in all that the program says of memory. */
static int parse_size(const struct option_row *row, const char *text, size_t *out,
                      struct error *err)
{
    static const char units[] = "KMGT";
    char *end;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    for (const char *u = units; unit && u <= unit; u++)
        value *= 1000;
    if (*text < '0' || *text > '9' || end[unit ? 1 : 0] || !(value >= 1 && value <= 0x1p60))
        return error_set(err,
                         "--%s: \"%s\" found, expected a number of bytes, 1 or more, or one with "
                         "K, M, G or T behind it",
                         row->name, text);
    *out = (size_t)value;
    return 0;
}

static int parse_seed(const struct option_row *row, const char *text, uint64_t *out,
                      struct error *err)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (end == text || *end || errno == ERANGE || strchr(text, '-'))
        return error_set(err, "--%s: \"%s\" found, expected a whole number from 0 to 2^64 - 1",
                         row->name, text);
    return 0;
}

static int add_listed(const struct option_row *row, const char *text, struct option_list *list,
                      struct error *err)
{
    if (list->n == (int)row->max || (row->min > 0 && !*text))
        return error_set(err, "--%s: expected at most %d of them%s", row->name, (int)row->max,
                         row->min > 0 ? ", none empty" : "");
    list->items[list->n++] = text;
    return 0;
}

int option_take(const struct option_row *row, const char *text, void *target, struct error *err)
{
    int64_t whole = 0;
    double number = 0;
    switch (row->kind) {
    case FLAG:
        *(bool *)target = true;
        return 0;
    case TEXT:
        *(const char **)target = text;
        return 0;
    case WHOLE:
        return parse_whole(row, text, target, err);
    case INTEGER:
        if (parse_whole(row, text, &whole, err))
            return -1;
        *(int *)target = (int)whole;
        return 0;
    case INTEGERS:
        return parse_wholes(row, text, target, err);
    case REAL:
        return parse_number(row, text, target, err);
    case NUMBER:
        if (parse_number(row, text, &number, err))
            return -1;
        *(float *)target = (float)number;
        return 0;
    case FORMAT:
        return parse_format(row, text, target, err);
    case SCALING:
        return parse_scaling(row, text, target, err);
    case SIZE:
        return parse_size(row, text, target, err);
    case SEED:
        return parse_seed(row, text, target, err);
    case LIST:
        return add_listed(row, text, target, err);
    }
    return 0;
}

void option_text(const struct option_row *row, const void *target, char *text, size_t size)
{
    text[0] = '\0';
    switch (row->kind) {
    case FLAG:
        snprintf(text, size, "%s", *(const bool *)target ? "yes" : "no");
        return;
    case INTEGER:
        snprintf(text, size, "%d", *(const int *)target);
        return;
    case WHOLE:
        snprintf(text, size, "%lld", (long long)*(const int64_t *)target);
        return;
    case SEED:
        snprintf(text, size, "%llu", (unsigned long long)*(const uint64_t *)target);
        return;
    case NUMBER:
        snprintf(text, size, "%g", (double)*(const float *)target);
        return;
    case LIST:
        for (int i = 0; i < ((const struct option_list *)target)->n; i++) {
            size_t used = strlen(text);
            snprintf(text + used, size - used, "%s\"%s\"", used ? " " : "",
                     ((const struct option_list *)target)->items[i]);
        }
        return;
    default:
        return;
    }
}
