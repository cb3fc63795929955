/* conversation: turns and the tokens that they are.
 *
 * The tokens are the truth: a reply stays as it was generated, and a new turn is rendered behind
 * it, so that a turn costs what it adds, however much came before and whatever of it the context
 * policy has let go of. Only where the template itself changes what came before (chat_rewrites),
 * and the session can go back to there, what has changed is read again. */
#ifndef LONGHAND_COMMANDS_CHAT_CONVERSATION_H
#define LONGHAND_COMMANDS_CHAT_CONVERSATION_H

#include "commands/engine.h"
#include "longhand.h"
#include "tokenizer/chat.h"

struct conversation {
    const struct engine *engine;
    const struct options *options;
    const struct chat_template *template; /* ->family NULL: none, turns are paragraphs */
    const struct context *asked;          /* what --context means; NULL: not given */
    struct chat_turn *turns; /* stb_ds arrays: user and assistant take turns, perhaps behind a
                                system message; every content is one, too */
    int64_t *starts;         /* (turns) how many tokens came before */
    struct token_list ids;   /* all turns */
    struct session session;  /* has been fed the first session.position of them */
    struct sampler sampler;
    struct lookup lookup; /* knows all that was fed, also what has been taken back */
    int64_t lead;         /* tokens that come before anything a user says */
    bool chosen;          /* the context policy is chat's own choice, and not all */
};

/* The pointers must outlive the conversation. conversation_begin comes next. */
int conversation_open(struct conversation *conversation, const struct engine *engine,
                      const struct options *options, const struct chat_template *template,
                      const struct context *asked, struct error *err);
void conversation_close(struct conversation *conversation); /* accepts a zeroed struct */

/* From the beginning, with a system message (NULL: none), under a context policy (NULL: the one
 * that --context and the system message ask for); random numbers go on. On failure the conversation
 * is as it was. */
int conversation_begin(struct conversation *conversation, const struct text *system,
                       const struct context *policy, struct error *err);

/* Adds text[length] as the user's turn, which is to be replied to. On failure nothing has changed.
 */
int conversation_ask(struct conversation *conversation, const char *text, size_t length,
                     struct error *err);
/* Before a reply is generated: sees to it that some token is left to be fed. */
int conversation_prepare(struct conversation *conversation, struct error *err);
/* Adds a turn, a reply for instance, whose tokens are there: those from `start` on. */
void conversation_add(struct conversation *conversation, enum chat_role role, const char *text,
                      size_t length, int64_t start);
/* The system message, the last turn of the user; NULL: there is none. */
const struct text *conversation_system(const struct conversation *conversation);
const struct text *conversation_last_user(const struct conversation *conversation);

/* Takes the last reply back, so that another one can be generated, or the last turn of the user
 * with its reply, if there is one. There must be such a turn. What the session has let go of
 * meanwhile will be read again with the next turn. */
int conversation_take_reply(struct conversation *conversation, struct error *err);
int conversation_take_turn(struct conversation *conversation, struct error *err);
/* Takes tokens of the last reply back, down to n of all, where the session can. */
void conversation_shorten(struct conversation *conversation, int64_t n);

/* How many of the user's turns, counted from the first, no later token will see any more, reply
 * included. */
int conversation_turns_left(const struct conversation *conversation);
int conversation_n_turns(const struct conversation *conversation); /* of the user */

#endif
