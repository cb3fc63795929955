/* reply: a turn of the user's, and what the model says to it, on standard output as it comes. */
#ifndef LONGHAND_COMMANDS_CHAT_REPLY_H
#define LONGHAND_COMMANDS_CHAT_REPLY_H

#include "commands/chat/chat.h"

/* Adds text[length] as a turn, replies and saves. On failure the turn is taken back. */
int reply_to(struct chat *chat, const char *text, size_t length, struct error *err);
/* Another reply to the last turn, whose reply has been taken back; on failure so is the turn. */
int reply_again(struct chat *chat, struct error *err);

#endif
