/* chat: a conversation to token ids, in the form that a model was trained on.
 *
 * The form is recognised by what the checkpoint's template (metadata tokenizer.chat_template)
 * contains. Markup becomes control tokens; what the turns say never does, whatever it spells. */
#ifndef LONGHAND_TOKENIZER_CHAT_H
#define LONGHAND_TOKENIZER_CHAT_H

#include "base/error.h"
#include "base/text.h"
#include "tokenizer/tokenizer.h"

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT };

struct chat_turn {
    enum chat_role role;
    struct text content;
};

struct chat_family; /* a row of the table in chat.c */

/* *family = the form that the template describes. One that fits none is an error that names those
 * known. */
int chat_recognise(const struct chat_family **family, struct text template, struct error *err);
const char *chat_family_name(const struct chat_family *family);

/* Appends the tokens of the turns, with BOS in front where the model wants one, and after the last
 * the beginning of the assistant's turn. A system turn must come first. On failure ids is as it
 * was. */
int chat_render(const struct chat_family *family, const struct tokenizer *tokenizer,
                const struct chat_turn *turns, size_t n_turns, struct token_list *ids,
                struct error *err);

#endif
