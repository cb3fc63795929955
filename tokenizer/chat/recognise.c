/* recognise: which row of the table a template is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/chat/canonical.h"
#include "tokenizer/chat/families.h"

enum { KNOWN = 480 };

/* strftime's names of months are the locale's, transformers' are English. */
static int set_date(struct chat_template *template, time_t now, struct error *err)
{
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    const char *format = template->family->date;
    struct tm day;
    template->date[0] = '\0';
    if (!format)
        return 0;
    if (!localtime_r(&now, &day) || day.tm_mon < 0 || day.tm_mon > 11)
        return error_set(err, "chat: the date is not known");
    size_t n = 0;
    for (; *format && n + 12 < sizeof template->date; format++) {
        char *out = template->date + n;
        size_t left = sizeof template->date - n;
        if (*format != '%')
            n += (size_t)snprintf(out, left, "%c", *format);
        else if (*++format == 'd')
            n += (size_t)snprintf(out, left, "%02d", day.tm_mday);
        else if (*format == 'Y')
            n += (size_t)snprintf(out, left, "%d", day.tm_year + 1900);
        else
            n += (size_t)snprintf(out, left, "%.*s", *format == 'b' ? 3 : 9, months[day.tm_mon]);
    }
    return 0;
}

static bool matches(const struct chat_family *family, const char *canonical)
{
    if (!family->signs[0])
        return false;
    const char *at = canonical;
    for (int i = 0; i < CHAT_SIGNS && family->signs[i]; i++) {
        at = strstr(at, family->signs[i]);
        if (!at)
            return false;
        at += strlen(family->signs[i]);
    }
    for (int i = 0; i < CHAT_LACKS && family->lacks[i]; i++) {
        if (strstr(canonical, family->lacks[i]))
            return false;
    }
    return true;
}

/* "a, b, c" */
static void list_names(char *out, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < n_chat_families && used < capacity; i++) {
        if (i == 0 || strcmp(chat_families[i].name, chat_families[i - 1].name) != 0)
            used += (size_t)snprintf(out + used, capacity - used, "%s%s", i > 0 ? ", " : "",
                                     chat_families[i].name);
    }
}

int chat_recognise(struct chat_template *template, struct text text, time_t now, struct error *err)
{
    char *canonical, known[KNOWN];
    if (canonical_make(&canonical, text, err) != 0)
        return -1;
    const struct chat_family *family = NULL;
    for (size_t i = 0; i < n_chat_families && !family; i++) {
        if (matches(&chat_families[i], canonical))
            family = &chat_families[i];
    }
    /* One that asks whether BOS is added is not told so, and adds none. */
    bool bos = strstr(canonical, "bos_token") && !strstr(canonical, "add_bos_token");
    free(canonical);
    if (!family) {
        list_names(known, sizeof known);
        return error_set(err, "chat template of no known form, expected one of: %s", known);
    }
    *template = (struct chat_template){.family = family,
                                       .bos = bos && !strchr(family->before[CHAT_USER], '\1')};
    return set_date(template, now, err);
}

int chat_named(struct chat_template *template, const char *name, time_t now, struct error *err)
{
    for (size_t i = 0; i < n_chat_families; i++) {
        if (strcmp(chat_families[i].name, name) != 0)
            continue;
        *template =
            (struct chat_template){.family = &chat_families[i], .bos = chat_families[i].bos};
        return set_date(template, now, err);
    }
    char known[KNOWN];
    list_names(known, sizeof known);
    return error_set(err, "no such chat template, expected one of: %s", known);
}

const char *chat_name(const struct chat_template *template)
{
    return template->family->name;
}
