/* reply: a turn of the user's, and what the model says to it, on standard output as it comes. */
#ifndef LONGHAND_COMMANDS_CHAT_REPLY_H
#define LONGHAND_COMMANDS_CHAT_REPLY_H

#include "commands/chat/chat.h"

/* Adds text[length] as a turn, replies and saves. On failure the turn is taken back. */
int chat_turn(struct chat *chat, const char *text, size_t length, struct error *err);
/* Another reply to the last turn, whose reply has been taken back; on failure so is the turn. */
int chat_reply(struct chat *chat, struct error *err);

#endif
