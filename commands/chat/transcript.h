/* transcript: what was said, as text: JSON within a saved session, Markdown or JSON for people.
 *
 * The JSON is {"turns": [{"role": "user", "content": "...", "at": 0}, ...]}; "at", the number of
 * tokens before the turn, is there in sessions only. A text with zero bytes in it, which JSON's
 * strings cannot have, is an array of what is between them. */
#ifndef LONGHAND_COMMANDS_CHAT_TRANSCRIPT_H
#define LONGHAND_COMMANDS_CHAT_TRANSCRIPT_H

#include "base/error.h"
#include "tokenizer/chat.h"

/* The turns (stb_ds) as JSON, which the caller frees; `starts` NULL: without "at". NULL: no memory.
 */
char *transcript_print(const struct chat_turn *turns, const int64_t *starts);

/* Called for every turn; at is -1 where the transcript does not say. */
typedef void transcript_turn(void *context, enum chat_role role, const char *text, size_t length,
                             int64_t at);
/* Reads what transcript_print wrote; `place` names it. Turns before what cannot be read have been
 * given then. */
int transcript_read(struct text json, const char *place, transcript_turn *add, void *context,
                    struct error *err);

/* Writes the turns to a file that does not exist yet: Markdown, or JSON where its name ends in
 * ".json". */
int transcript_export(const struct chat_turn *turns, const char *path, struct error *err);
/* The same of a saved session, whose cache and model do not matter. Of a transcript that is cut or
 * damaged the file gets what is there, as it is, and the error says so. */
int transcript_rescue(const char *session, const char *path, struct error *err);

#endif
