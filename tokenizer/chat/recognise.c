/* recognise: which row of the table a template is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
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

/* Where the text behind `sign` goes on, or NULL. What stands for a \4 in it is *text: of one
 * literal and without markup. */
static const char *find_sign(const char *canonical, const char *sign, struct text *text)
{
    const char *gap = strchr(sign, '\4'), *at = canonical;
    if (!gap) {
        at = strstr(canonical, sign);
        return at ? at + strlen(sign) : NULL;
    }
    size_t length = (size_t)(gap - sign);
    while ((at = memmem(at, strlen(at), sign, length))) {
        at += length;
        const char *end = strstr(at, gap + 1);
        *text = (struct text){at, end ? (size_t)(end - at) : 0};
        if (text->length > 0 && !memmem(at, text->length, "<|", 2) &&
            !memmem(at, text->length, "}}", 2))
            return end + strlen(gap + 1);
    }
    return NULL;
}

/* Also *text, if a sign has one. */
static bool matches(const struct chat_family *family, const char *canonical, struct text *text)
{
    *text = (struct text){0};
    if (!family->signs[0])
        return false;
    const char *at = canonical;
    for (int i = 0; i < CHAT_SIGNS && family->signs[i] && at; i++)
        at = find_sign(at, family->signs[i], text);
    for (int i = 0; i < CHAT_LACKS && family->lacks[i] && at; i++) {
        if (strstr(canonical, family->lacks[i]))
            at = NULL;
    }
    return at != NULL;
}

/* What a literal's escapes stand for. */
static int unescape(char **out, struct text text, struct error *err)
{
    *out = size_alloc(text.length + 1, 1);
    if (!*out)
        return error_memory(err, "the chat template", text.length + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.length; i++) {
        static const char escapes[] = "n\nt\tr\r\\\\";
        const char *escape = NULL;
        if (text.bytes[i] == '\\' && i + 1 < text.length)
            escape = strchr(escapes, text.bytes[i + 1]);
        if (escape && (escape - escapes) % 2 == 0) {
            (*out)[n++] = escape[1];
            i++;
        } else {
            (*out)[n++] = text.bytes[i];
        }
    }
    (*out)[n] = '\0';
    return 0;
}

/* "a, b, c" */
static void list_names(char *out, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < n_chat_families && used < capacity; i++) {
        size_t first = 0;
        while (strcmp(chat_families[first].name, chat_families[i].name) != 0)
            first++;
        if (first == i)
            used += (size_t)snprintf(out + used, capacity - used, "%s%s", i > 0 ? ", " : "",
                                     chat_families[i].name);
    }
}

int chat_recognise(struct chat_template *template, struct text text, time_t now, struct error *err)
{
    char *canonical, known[KNOWN];
    *template = (struct chat_template){0};
    if (canonical_make(&canonical, text, err) != 0)
        return -1;
    struct text own;
    const struct chat_family *family = NULL;
    for (size_t i = 0; i < n_chat_families && !family; i++) {
        if (matches(&chat_families[i], canonical, &own))
            family = &chat_families[i];
    }
    int result = 0;
    if (!family) {
        list_names(known, sizeof known);
        result = error_set(err, "chat template of no known form, expected one of: %s", known);
    } else {
        /* One that asks whether BOS is added is not told so, and adds none. */
        bool bos = strstr(canonical, "bos_token") && !strstr(canonical, "add_bos_token");
        template->family = family;
        template->bos = bos && !strchr(family->before[CHAT_USER], '\1');
        result = set_date(template, now, err);
    }
    if (result == 0 && own.length > 0)
        result = unescape(&template->default_system, own, err);
    free(canonical);
    return result;
}

void chat_template_free(struct chat_template *template)
{
    free(template->default_system);
    *template = (struct chat_template){0};
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
