/* special: tokens that are found whole in a text before anything else: user-defined ones always,
 * control and unknown ones only where the caller lets markup be. Const once made. */
#ifndef LONGHAND_TOKENIZER_SPECIAL_H
#define LONGHAND_TOKENIZER_SPECIAL_H

#include "tokenizer/vocabulary.h"

struct special {
    int32_t *ids; /* sorted by piece */
    size_t n;
    size_t n_user_defined;
    bool first[256]; /* some piece starts with this byte */
};

int special_init(struct special *special, const struct vocabulary *vocabulary, struct error *err);
void special_free(struct special *special);

/* The longest special token at the start of text, or -1; control tokens within the first
 * markup_length bytes. */
int32_t special_match(const struct special *special, const struct vocabulary *vocabulary,
                      const char *text, size_t length, size_t markup_length);

#endif
