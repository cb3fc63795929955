/* folds: see folds.h. */
#include "commands/chat/folds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/array.h"

static long count_lines(const char *text)
{
    long n = 1;
    for (; *text; text++)
        n += text[0] == '\n' && text[1];
    return n;
}

const char *folds_show(struct folds *folds, const char *text)
{
    size_t length = strlen(text);
    long lines = count_lines(text);
    if (lines <= FOLD_LINES && length <= FOLD_BYTES)
        return text;
    for (ptrdiff_t i = 0; i < arrlen(folds->texts); i++)
        if (strcmp(folds->texts[i], text) == 0)
            return folds->labels[i];
    char *copy = strdup(text);
    char *label = NULL;
    int number = (int)arrlen(folds->texts) + 1;
    int written = lines > 1 ? asprintf(&label, "[text %d: %ld lines]", number, lines)
                            : asprintf(&label, "[text %d: %zu bytes]", number, length);
    if (!copy || written < 0) { /* shown as it is, then */
        free(copy);
        return text;
    }
    arrput(folds->texts, copy);
    arrput(folds->labels, label);
    return label;
}

char *folds_expand(const struct folds *folds, const char *line)
{
    char *text = NULL;
    while (*line) {
        ptrdiff_t i = 0;
        while (i < arrlen(folds->labels) &&
               strncmp(line, folds->labels[i], strlen(folds->labels[i])) != 0)
            i++;
        if (i == arrlen(folds->labels)) {
            arrput(text, *line++);
            continue;
        }
        size_t length = strlen(folds->texts[i]);
        memcpy(arraddnptr(text, length), folds->texts[i], length);
        line += strlen(folds->labels[i]);
    }
    arrput(text, '\0');
    return text;
}

size_t folds_label_before(const struct folds *folds, const char *line, size_t n)
{
    for (ptrdiff_t i = 0; i < arrlen(folds->labels); i++) {
        size_t length = strlen(folds->labels[i]);
        if (length <= n && memcmp(line + n - length, folds->labels[i], length) == 0)
            return length;
    }
    return 0;
}

void folds_clear(struct folds *folds)
{
    while (arrlen(folds->texts) > 0)
        free(arrpop(folds->texts));
    while (arrlen(folds->labels) > 0)
        free(arrpop(folds->labels));
    arrfree(folds->texts);
    arrfree(folds->labels);
}
