/* chat_files: the commands that have to do with files: /read, /save, /load, /export. */
#include <stdlib.h>
#include <string.h>

#include "commands/array.h"
#include "commands/chat/chat_commands.h"
#include "commands/chat/transcript.h"
#include "commands/interrupt.h"

int slash_read(struct chat *chat, const char *argument, struct error *err)
{
    struct options source = {.file = argument};
    struct token_list ids = {0};
    char *text;
    size_t length;
    if (engine_read_text(&source, &text, &length, err))
        return -1;
    int result = tokenizer_encode(chat->engine.tokenizer, text, length, (struct encode_options){0},
                                  &ids, err);
    if (result == 0) {
        if (arrlen(chat->attached) > 0)
            memcpy(arraddnptr(chat->attached, 2), "\n\n", 2);
        memcpy(arraddnptr(chat->attached, length), text, length);
        chat_say(chat,
                 "%s: %zu bytes, %zu tokens: in front of your next turn (an empty line sends it "
                 "alone, /reset forgets it)",
                 argument, length, ids.n);
    }
    token_list_free(&ids);
    free(text);
    return result;
}

int slash_save(struct chat *chat, const char *argument, struct error *err)
{
    if (keep_write(&chat->conversation, argument, err))
        return -1;
    chat_say(chat, "saved; go on with chat --session %s, or /load %s", argument, argument);
    return 0;
}

int slash_load(struct chat *chat, const char *argument, struct error *err)
{
    struct conversation loaded;
    char *path = strdup(argument);
    if (!path)
        return error_memory(err, "a file name", strlen(argument));
    if (keep_save_last(&chat->keep, &chat->conversation, err) ||
        conversation_open(&loaded, &chat->engine, &chat->options, &chat->template,
                          chat->conversation.asked, err)) {
        free(path);
        return -1;
    }
    if (keep_restore(path, &loaded, err) || keep_check(path, err)) {
        conversation_close(&loaded);
        free(path);
        return error_prefix(err, "the conversation stays as it is");
    }
    conversation_close(&chat->conversation);
    chat->conversation = loaded;
    free(chat->keep.path);
    chat->keep = (struct keep){.path = path};
    arrsetlen(chat->attached, 0);
    interrupt_watch_end();
    chat_changed(chat);
    chat_say(chat, "%s: %d turns, %lld tokens; it is kept there from now on", path,
             conversation_n_turns(&loaded), (long long)loaded.session.position);
    return 0;
}

int slash_export(struct chat *chat, const char *argument, struct error *err)
{
    if (transcript_export(chat->conversation.turns, argument, err))
        return -1;
    chat_say(chat, "wrote %s: %td turns", argument, arrlen(chat->conversation.turns));
    return 0;
}
