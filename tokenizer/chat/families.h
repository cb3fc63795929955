/* families: the forms of conversation that are known, as data.
 *
 * In markup, \1 stands for the BOS token and \2 for EOS, by the model's names of them, and \3 for
 * the date. A turn is before[role] content after[role]; a system turn that stands inside a user
 * turn is before[USER] before[SYSTEM] system after[SYSTEM] content after[USER]. */
#ifndef LONGHAND_TOKENIZER_CHAT_FAMILIES_H
#define LONGHAND_TOKENIZER_CHAT_FAMILIES_H

#include "tokenizer/chat.h"

enum { CHAT_SIGNS = 5, CHAT_LACKS = 2 };

enum chat_system {
    SYSTEM_TURN,    /* a turn of its own */
    SYSTEM_IF_SAID, /* the same, but none at all where it is empty */
    SYSTEM_IN_FIRST,
    SYSTEM_IN_LAST, /* inside the first or the last user turn */
    SYSTEM_REFUSED
};

enum chat_trim {
    TRIM_NONE,
    TRIM_BOTH,
    TRIM_RIGHT,
    TRIM_NEWLINES /* in front */
};

/* What becomes of a reply's <think>...</think> once the reply is a part of the conversation. */
enum chat_thought {
    THOUGHT_KEPT,
    THOUGHT_CUT,
    THOUGHT_CUT_CLEAN /* and with it the line ends that follow */
};

struct chat_family {
    const char *name;              /* rows of one name are alternatives */
    const char *signs[CHAT_SIGNS]; /* a canonical template that has these in this order; \4 in the
                                      first stands for a text: the default system text */
    const char *lacks[CHAT_LACKS]; /* and none of these; the first row in the table wins */
    enum chat_system system;
    enum chat_trim trims[3]; /* by role */
    bool trims_whole;        /* a system text and the user's around it are trimmed as one */
    enum chat_thought thought;
    bool alternates; /* user and assistant take turns, or the template refuses */
    bool bos;        /* in front of all, where no template says; before[] may have it, too */
    const char *before[3], *after[3]; /* by role */
    const char *reply;                /* the beginning of the assistant's turn */
    const char *default_system;       /* markup: what stands where there is no system turn */
    const char *date;                 /* strftime's format of \3 */
    /* Words in the system text that are no part of it. The row named `switched` takes over where
     * the first of them is there; a text that is empty without them is the default. */
    const char *words[2];
    const char *switched;
    const char *refused_word; /* one that changes more than the table tells */
};

extern const struct chat_family chat_families[];
extern const size_t n_chat_families;

#endif
