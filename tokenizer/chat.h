/* chat: a conversation to token ids, in the form that a model was trained on.
 *
 * The form is recognised by what the checkpoint's template (metadata tokenizer.chat_template, a
 * Jinja program) contains, and is then rendered from a table, token for token what transformers'
 * apply_chat_template makes of it (add_generation_prompt, no tools). The template itself is not
 * run: the engines there are for it are in Python, Rust and C++, none usable from C. Markup becomes
 * control tokens; what the turns say never does, whatever it spells. */
#ifndef LONGHAND_TOKENIZER_CHAT_H
#define LONGHAND_TOKENIZER_CHAT_H

#include <time.h>

#include "base/error.h"
#include "base/text.h"
#include "tokenizer/tokenizer.h"

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT };

struct chat_turn {
    enum chat_role role;
    struct text content;
};

struct chat_family; /* a row of the table in chat/families.c */

/* One model's template. Zeroed, it is none. */
struct chat_template {
    const struct chat_family *family;
    bool bos;             /* BOS in front of all */
    char date[32];        /* for the families that tell the model the day; local time */
    char *default_system; /* the template's own text where there is no system turn, or NULL: the
                             family's */
};

/* The form that the text describes. One that fits none is an error that names those known. `now`
 * stays the day of the whole conversation. Release with chat_template_free. */
int chat_recognise(struct chat_template *template, struct text text, time_t now, struct error *err);
/* The form of the family `name`; an unknown name is an error that lists them. */
int chat_named(struct chat_template *template, const char *name, time_t now, struct error *err);
void chat_template_free(struct chat_template *template);
const char *chat_name(const struct chat_template *template);

/* Appends the tokens of the turns and after them the beginning of the assistant's turn. A system
 * turn can only be the first, the last turn is the user's, and where the template has user and
 * assistant take turns, or no place for a system turn, so must these. On failure ids is as it was.
 */
int chat_render(const struct chat_template *template, const struct tokenizer *tokenizer,
                const struct chat_turn *turns, size_t n_turns, struct token_list *ids,
                struct error *err);

/* The same for the last turn alone: appends what follows the tokens of a reply as it was generated,
 * the end of the assistant's turn, the user's turn and the beginning of the next reply. (White
 * space that a template puts in front of an end token is the reply's own affair.) n_turns >= 3. */
int chat_render_next(const struct chat_template *template, const struct tokenizer *tokenizer,
                     const struct chat_turn *turns, size_t n_turns, struct token_list *ids,
                     struct error *err);

/* Whether the last turn changes what the template makes of those before it: a system text that goes
 * with the last turn, thoughts that are cut from a reply once it is not the last. What the last
 * turn says does not matter: it may be one to come. */
bool chat_rewrites(const struct chat_template *template, const struct chat_turn *turns,
                   size_t n_turns);

#endif
