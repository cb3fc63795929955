/* chat_context: the context policy of a conversation, which may go on for ever.
 *
 * The system message stays: the sinks of a policy that has any are at least the tokens that every
 * text of the conversation begins with. Without --context a model whose rotations (RoPE) were not
 * trained beyond some length gets a window of that length with such sinks, which changes nothing
 * before it is reached; a model that is made to go on sees all. */
#ifndef LONGHAND_COMMANDS_CHAT_CHAT_CONTEXT_H
#define LONGHAND_COMMANDS_CHAT_CHAT_CONTEXT_H

#include "commands/engine.h"

/* The policy where the conversation begins with `lead` tokens that are to stay. `asked`: what
 * --context means, or NULL where it is not given. With sinks=S,window=W more sinks are taken from
 * the window, so that distances and memory stay what they were; where it would lose more than half
 * of all, that is an error. */
int chat_context(const struct engine *engine, const struct options *options,
                 const struct context *asked, int64_t lead, struct context *context,
                 struct error *err);

#endif
