/* keep: see keep.h. */
#include "commands/chat/keep.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "commands/array.h"
#include "commands/chat/transcript.h"
#include "commands/output.h"
#include "model/identity.h"

/* --- restoring ------------------------------------------------------------------------------ */

struct reading {
    struct conversation *conversation;
    const struct context *policy;
    int64_t n_ids;  /* in the file */
    int64_t before; /* where the turn before begins */
    bool out_of_order;
    struct error *err;
    int result;
};

/* The first turn begins the conversation. */
static void read_turn(void *context, enum chat_role role, const char *text, size_t length,
                      int64_t at)
{
    struct reading *reading = context;
    struct conversation *c = reading->conversation;
    struct text content = {text, length};
    bool first = c->session.model == NULL;
    bool system = role == CHAT_SYSTEM;
    bool users = first || arrlen(c->turns) == 0 || arrlast(c->turns).role != CHAT_USER;
    reading->out_of_order = reading->out_of_order || (system && !first) ||
                            (!system && role != (users ? CHAT_USER : CHAT_ASSISTANT)) ||
                            at < reading->before || at > reading->n_ids ||
                            (role == CHAT_ASSISTANT && at == 0);
    if (reading->result || reading->out_of_order)
        return;
    if (first)
        reading->result =
            conversation_begin(c, system ? &content : NULL, reading->policy, reading->err);
    if (reading->result == 0 && !system)
        conversation_add(c, role, text, length, at);
    reading->before = at;
}

static int read_turns(const struct restore *from, struct conversation *c, struct error *err)
{
    struct context own;
    struct reading reading = {.conversation = c, .n_ids = from->n_ids, .err = err};
    if (!c->asked && identity_context(from->identity, &own, err))
        return error_prefix(err, "%s", from->place);
    reading.policy = c->asked ? NULL : &own;
    if (transcript_read(from->transcript, from->place, read_turn, &reading, err) || reading.result)
        return -1;
    if (reading.out_of_order || (arrlen(c->turns) > 0 && arrlast(c->turns).role == CHAT_USER))
        return error_set(err, "%s: the turns of the transcript are out of order", from->place);
    return c->session.model ? 0 : conversation_begin(c, NULL, reading.policy, err);
}

static int fill(const struct restore *from, struct conversation *c, struct error *err)
{
    if (read_turns(from, c, err) ||
        restore_session(from, &c->engine->checkpoint, &c->session, &c->sampler, err))
        return -1;
    for (int64_t i = 0; i < from->n_ids; i++) {
        if (token_list_add(&c->ids, from->ids[i], err))
            return -1;
        lookup_add(&c->lookup, from->ids[i]);
    }
    return 0;
}

static bool has_transcript(const char *path)
{
    struct error ignored;
    char *text;
    size_t length;
    int found = restore_transcript(path, &text, &length, &ignored);
    free(text);
    return found >= 0;
}

int keep_check(const char *path, struct error *err)
{
    struct replace file;
    if (replace_open(&file, path, err))
        return -1;
    replace_close(&file);
    return 0;
}

int keep_restore(const char *path, struct conversation *c, struct error *err)
{
    struct restore from;
    int result = restore_open(&from, path, err) || fill(&from, c, err) ? -1 : 0;
    restore_close(&from);
    if (result && has_transcript(path)) {
        struct error reason = *err;
        error_set(err, "%s (chat --session %s --export FILE writes what was said)", reason.text,
                  path);
    }
    return result;
}

/* --- saving --------------------------------------------------------------------------------- */

static int write_session(const struct conversation *c, const char *path, struct error *err)
{
    char *transcript = transcript_print(c->turns, c->starts);
    if (!transcript)
        return error_memory(err, "the transcript", 0);
    struct save save = {.checkpoint = &c->engine->checkpoint,
                        .session = &c->session,
                        .sampler = &c->sampler,
                        .ids = c->ids.ids,
                        .n_ids = (int64_t)c->ids.n,
                        .transcript = {transcript, strlen(transcript)}};
    int result = save_write(&save, path, err);
    free(transcript);
    return result;
}

int keep_write(const struct conversation *c, const char *path, struct error *err)
{
    return access(path, F_OK) == 0 && !has_transcript(path)
               ? error_set(err, "%s: exists and is no saved session: name another file", path)
               : write_session(c, path, err);
}

static int save_own(struct keep *keep, const struct conversation *c, struct error *err)
{
    double start = output_now();
    if (write_session(c, keep->path, err))
        return -1;
    keep->written = output_now();
    keep->seconds = keep->written - start;
    keep->changed = false;
    return 0;
}

int keep_save_turn(struct keep *keep, const struct conversation *c, struct error *err)
{
    keep->changed = true;
    bool cheap = output_now() - keep->written >= 9 * keep->seconds;
    return keep->path && cheap ? save_own(keep, c, err) : 0;
}

int keep_save_last(struct keep *keep, const struct conversation *c, struct error *err)
{
    return keep->path && keep->changed ? save_own(keep, c, err) : 0;
}
