/* context_notation: context policies as text: "sinks=4,window=1024".
 *
 * A policy is one row of a table and a number one row of another; reading, writing and every
 * message go through the two. What is left out follows the papers' own settings for a training
 * length L: C = L slots for sinks and window, 10 global keys, chunks of 3/4 L less 1/8 L. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "model/context.h"

#define NUMBER_MAX ((INT64_C(1) << 40) - 1)

/* In the order in which they are written. */
enum {
    KEY_SINKS,
    KEY_GLOBAL,
    KEY_GROUP,
    KEY_WINDOW,
    KEY_CHUNK,
    KEY_CAP,
    KEY_FACTOR, /* the one that is a real number */
    KEY_LOG_LENGTH,
    KEY_COUNT
};

static const struct {
    const char *name;
    size_t target;
    int64_t min;
} keys[KEY_COUNT] = {
    [KEY_SINKS] = {"sinks", offsetof(struct context, sinks), 0},
    [KEY_GLOBAL] = {"global", offsetof(struct context, sinks), 0},
    [KEY_GROUP] = {"group", offsetof(struct context, group), 1},
    [KEY_WINDOW] = {"window", offsetof(struct context, window), 1},
    [KEY_CHUNK] = {"chunk", offsetof(struct context, chunk), 1},
    [KEY_CAP] = {"cap", offsetof(struct context, cap), 1},
    [KEY_FACTOR] = {"factor", offsetof(struct context, factor), 1},
    [KEY_LOG_LENGTH] = {"log-length", offsetof(struct context, log_length), 2},
};

#define KEY(name) (1u << KEY_##name)

static const struct policy {
    const char *name;
    const char *example;
    enum context_kind kind;
    unsigned keys; /* and log-length */
} policies[] = {
    {"all", "all", CONTEXT_ALL, 0},
    {"window", "window=1024", CONTEXT_WINDOW, KEY(SINKS) | KEY(WINDOW)},
    {"sinks", "sinks=4", CONTEXT_WINDOW, KEY(SINKS) | KEY(WINDOW)},
    {"lm-infinite", "lm-infinite", CONTEXT_LM_INFINITE, KEY(GLOBAL) | KEY(WINDOW) | KEY(CAP)},
    {"rerope", "rerope", CONTEXT_REROPE, KEY(WINDOW)},
    {"leaky-rerope", "leaky-rerope", CONTEXT_REROPE, KEY(WINDOW) | KEY(FACTOR)},
    {"self-extend", "self-extend,group=4", CONTEXT_SELF_EXTEND, KEY(GROUP) | KEY(WINDOW)},
    {"dual-chunk", "dual-chunk", CONTEXT_DUAL_CHUNK, KEY(CHUNK) | KEY(CAP)},
};

enum { N_POLICIES = sizeof policies / sizeof policies[0], LIST_BYTES = 256 };

const char *context_example(int i)
{
    return i >= 0 && i < N_POLICIES ? policies[i].example : NULL;
}

static int64_t key_integer(const struct context *context, int key)
{
    const void *value = (const char *)context + keys[key].target;
    return *(const int64_t *)value;
}

static bool name_is(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && memcmp(name, text, length) == 0;
}

static void list_add(char *list, const char *name)
{
    size_t used = strlen(list);
    snprintf(list + used, LIST_BYTES - used, "%s%s", used ? ", " : "", name);
}

static void list_keys(char *list, unsigned mask)
{
    list[0] = 0;
    for (int key = 0; key < KEY_COUNT; key++)
        if (mask & 1u << key)
            list_add(list, keys[key].name);
}

static int read_real(const char *text, size_t length, double *out, struct error *err)
{
    char *end;
    bool plain = strspn(text, "0123456789.e+-") >= length && *text >= '0' && *text <= '9';
    double value = plain ? strtod(text, &end) : 0;
    if (!plain || end != text + length || !(value > 1 && value <= (double)NUMBER_MAX))
        return error_set(err, "factor is \"%s\", allowed is a number greater than 1, up to %lld",
                         text_printable((struct text){text, length}).chars, (long long)NUMBER_MAX);
    *out = value;
    return 0;
}

static int read_integer(int key, const char *text, size_t length, int64_t *out, struct error *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*text < '0' || *text > '9' || end != text + length || errno || value < keys[key].min ||
        value > NUMBER_MAX)
        return error_set(err, "%s is \"%s\", allowed is a whole number from %lld to %lld",
                         keys[key].name, text_printable((struct text){text, length}).chars,
                         (long long)keys[key].min, (long long)NUMBER_MAX);
    *out = value;
    return 0;
}

/* Reads "key=number" and moves *item past the comma behind it, or to NULL. */
static int read_item(struct context *context, const struct policy *policy, const char **item,
                     unsigned *given, struct error *err)
{
    const char *name = *item;
    size_t length = strcspn(name, ",=");
    unsigned allowed = policy->keys | KEY(LOG_LENGTH);
    int key = 0;
    while (key < KEY_COUNT && !((allowed & 1u << key) && name_is(keys[key].name, name, length)))
        key++;
    if (key == KEY_COUNT) {
        char list[LIST_BYTES];
        list_keys(list, allowed);
        return error_set(err, "unknown key \"%s\", allowed with %s: %s",
                         text_printable((struct text){name, length}).chars, policy->name, list);
    }
    if (name[length] != '=')
        return error_set(err, "%s has no number, expected %s=NUMBER", keys[key].name,
                         keys[key].name);
    if (*given & 1u << key)
        return error_set(err, "%s is given twice", keys[key].name);
    *given |= 1u << key;

    const char *value = name + length + 1;
    size_t value_length = strcspn(value, ",");
    *item = value[value_length] ? value + value_length + 1 : NULL;
    void *target = (char *)context + keys[key].target;
    return key == KEY_FACTOR ? read_real(value, value_length, target, err)
                             : read_integer(key, value, value_length, target, err);
}

/* Fills in what is not given and can be had from the training length, 0 where there is none. */
static void set_defaults(struct context *context, unsigned missing, int64_t train_length)
{
    int64_t window = train_length / 2; /* of rerope */
    int64_t local = train_length / 8;
    if (missing & KEY(GLOBAL))
        context->sinks = 10;
    if (missing & KEY(GROUP))
        context->group = 4;
    if (missing & KEY(FACTOR))
        context->factor = 16;
    if (context->kind == CONTEXT_WINDOW)
        window = train_length - context->sinks;
    else if (context->kind == CONTEXT_LM_INFINITE)
        window = train_length;
    else if (context->kind == CONTEXT_SELF_EXTEND)
        window = train_length / 4 / context->group * context->group;
    if (missing & KEY(WINDOW))
        context->window = window;

    if (context->kind == CONTEXT_LM_INFINITE && (missing & KEY(CAP)))
        context->cap = context->window;
    if (context->kind == CONTEXT_DUAL_CHUNK && train_length > 0) {
        if (missing & KEY(CHUNK))
            context->chunk = (missing & KEY(CAP) ? train_length * 3 / 4 : context->cap) - local;
        if (missing & KEY(CAP))
            context->cap = context->chunk + local;
    }
}

static int check(const struct context *context, unsigned missing, int train_length,
                 struct error *err)
{
    char list[LIST_BYTES];
    unsigned wanted = 0;
    for (int key = 0; key < KEY_FACTOR; key++) {
        int64_t value = key_integer(context, key);
        if ((missing & 1u << key) && (value < keys[key].min || value > NUMBER_MAX))
            wanted |= 1u << key;
    }
    if (context->kind == CONTEXT_LM_INFINITE && (wanted & KEY(WINDOW)))
        wanted &= ~KEY(CAP); /* follows from window */
    list_keys(list, wanted);
    if (wanted && train_length > 0)
        return error_set(err, "%s must be given: a training length of %d tokens gives no default",
                         list, train_length);
    if (wanted)
        return error_set(err,
                         "%s must be given: the training length, which would give the "
                         "default, is not known",
                         list);
    if (context->kind == CONTEXT_SELF_EXTEND && context->window % context->group)
        return error_set(err, "window is %lld, allowed are multiples of group, %lld",
                         (long long)context->window, (long long)context->group);
    if (context->kind == CONTEXT_DUAL_CHUNK && context->cap < context->chunk)
        return error_set(err, "cap is %lld, allowed is chunk, %lld, or more",
                         (long long)context->cap, (long long)context->chunk);
    return 0;
}

static int parse(struct context *context, const char *text, int train_length, struct error *err)
{
    char list[LIST_BYTES] = "";
    size_t length = strcspn(text, ",=");
    const struct policy *policy = policies;
    const struct policy *end = policies + N_POLICIES;
    while (policy < end && !name_is(policy->name, text, length))
        list_add(list, policy++->example);
    if (policy == end)
        return error_set(err, "unknown, expected one of: %s", list);

    /* A window is named by its first key. */
    const char *item = text;
    if (policy->kind != CONTEXT_WINDOW) {
        if (text[length] == '=')
            return error_set(err, "%s takes no number itself, expected for instance \"%s\"",
                             policy->name, policy->example);
        item = text[length] ? text + length + 1 : NULL;
    }
    unsigned given = 0;
    context->kind = policy->kind;
    while (item)
        if (read_item(context, policy, &item, &given, err))
            return -1;
    unsigned missing = policy->keys & ~given;
    set_defaults(context, missing, train_length);
    return check(context, missing, train_length, err);
}

int context_parse(struct context *context, const char *text, int train_length, struct error *err)
{
    *context = (struct context){0};
    if (parse(context, text, train_length, err) == 0)
        return 0;
    *context = (struct context){0};
    return error_prefix(err, "context policy \"%s\"",
                        text_printable((struct text){text, strlen(text)}).chars);
}

void context_text(const struct context *context, char *text, size_t size)
{
    const struct policy *policy = policies;
    while (policy->kind != context->kind)
        policy++;
    /* Of two of a kind the second has one number more. */
    if (context->kind == CONTEXT_REROPE && context->factor > 0)
        policy++;
    unsigned mask = policy->keys;
    if (context->kind == CONTEXT_WINDOW && !context->sinks)
        mask &= ~KEY(SINKS);
    if (context->log_length)
        mask |= KEY(LOG_LENGTH);

    char all[LIST_BYTES] = "";
    size_t used = 0;
    if (context->kind != CONTEXT_WINDOW)
        used = (size_t)snprintf(all, sizeof all, "%s", policy->name);
    for (int key = 0; key < KEY_COUNT; key++) {
        if (!(mask & 1u << key))
            continue;
        char number[32];
        snprintf(number, sizeof number, "%.15g", context->factor);
        if (strtod(number, NULL) != context->factor)
            snprintf(number, sizeof number, "%.17g", context->factor);
        if (key != KEY_FACTOR)
            snprintf(number, sizeof number, "%lld", (long long)key_integer(context, key));
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s=%s", used ? "," : "",
                                 keys[key].name, number);
    }
    snprintf(text, size, "%s", all);
}
