/* folds: texts that are too long to be shown while a turn is edited: a label stands for each, such
 * as "[text 1: 1000 lines]". */
#ifndef LONGHAND_COMMANDS_CHAT_FOLDS_H
#define LONGHAND_COMMANDS_CHAT_FOLDS_H

#include <stddef.h>

enum { FOLD_LINES = 10, FOLD_BYTES = 1000 }; /* at most, shown as they are */

struct folds {
    char **texts;  /* stb_ds arrays of malloc'ed strings */
    char **labels; /* one each */
};

/* What is shown for a text: itself or its label. Valid as long as both. */
const char *folds_show(struct folds *folds, const char *text);
/* What a line says: with texts in the place of their labels (stb_ds array, NUL-terminated). */
char *folds_expand(const struct folds *folds, const char *line);
/* The bytes of the label that the first n bytes of a line end with; 0: none. */
size_t folds_label_before(const struct folds *folds, const char *line, size_t n);
void folds_clear(struct folds *folds);

#endif
