/* keep: see keep.h. */
#include "commands/keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands/array.h"
#include "commands/output.h"

static const char *const roles[] = {
    [CHAT_SYSTEM] = "system", [CHAT_USER] = "user", [CHAT_ASSISTANT] = "assistant"};
enum { N_ROLES = sizeof roles / sizeof roles[0] };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* --- the transcript ------------------------------------------------------------------------ */

/* JSON's strings end at a zero byte, which a model may well write: a text that has any is an array
 * of what is between them. */
static cJSON *content_of(struct text text)
{
    cJSON *parts = cJSON_CreateArray();
    while (true) {
        const char *zero = memchr(text.bytes, '\0', text.length);
        size_t length = zero ? (size_t)(zero - text.bytes) : text.length;
        char *part = strndup(text.bytes, length);
        cJSON_AddItemToArray(parts, cJSON_CreateString(part ? part : ""));
        free(part);
        if (!zero)
            break;
        text = (struct text){zero + 1, text.length - length - 1};
    }
    if (cJSON_GetArraySize(parts) > 1)
        return parts;
    cJSON *only = cJSON_DetachItemFromArray(parts, 0);
    cJSON_Delete(parts);
    return only;
}

/* Appends the content to the stb_ds array *text; false where it is neither. */
static bool read_content(const cJSON *content, char **text)
{
    const cJSON *part = cJSON_IsArray(content) ? content->child : content;
    for (bool first = true; part; part = part->next, first = false) {
        const char *string = cJSON_GetStringValue(part);
        if (!string)
            return false;
        if (!first)
            arrput(*text, '\0');
        size_t length = strlen(string);
        memcpy(arraddnptr(*text, length + 1), string, length);
        (void)arrpop(*text);
        if (!cJSON_IsArray(content))
            break;
    }
    return arrcap(*text) > 0;
}

static char *print_turns(const struct chat_turn *turns)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(object, "turns");
    for (ptrdiff_t i = 0; i < arrlen(turns); i++) {
        cJSON *turn = cJSON_CreateObject();
        cJSON_AddStringToObject(turn, "role", roles[turns[i].role]);
        cJSON_AddItemToObject(turn, "content", content_of(turns[i].content));
        cJSON_AddItemToArray(list, turn);
    }
    char *printed = cJSON_Print(object);
    cJSON_Delete(object);
    return printed;
}

static int read_turns(const struct restore *from, keep_turn *add, void *context, struct error *err)
{
    cJSON *object = cJSON_ParseWithLength(from->transcript.bytes, from->transcript.length);
    const cJSON *list = cJSON_GetObjectItem(object, "turns");
    const cJSON *turn;
    int result = cJSON_IsArray(list) ? 0 : -1;
    cJSON_ArrayForEach(turn, list)
    {
        const char *role = cJSON_GetStringValue(cJSON_GetObjectItem(turn, "role"));
        char *text = NULL;
        bool ok = read_content(cJSON_GetObjectItem(turn, "content"), &text);
        int r = 0;
        while (role && r < N_ROLES && strcmp(roles[r], role) != 0)
            r++;
        ok = ok && role && r < N_ROLES;
        if (ok)
            add(context, (enum chat_role)r, text, arrlenu(text));
        else
            result = -1;
        arrfree(text);
    }
    cJSON_Delete(object);
    return result ? error_set(err, "%s: the transcript is not that of a chat", from->place) : 0;
}

/* --- restoring ----------------------------------------------------------------------------- */

static int fill(struct keep *keep, const struct restore *from, struct error *err)
{
    if (restore_session(from, keep->checkpoint, keep->session, keep->sampler, err))
        return -1;
    for (int64_t i = 0; i < from->n_ids; i++) {
        if (token_list_add(keep->fed, from->ids[i], err))
            return -1;
        if (keep->lookup)
            lookup_add(keep->lookup, from->ids[i]);
    }
    return 0;
}

int keep_restore(struct keep *keep, keep_turn *add, void *context, struct error *err)
{
    if (!keep->path || (access(keep->path, F_OK) != 0 && errno == ENOENT))
        return 0;
    struct restore from;
    int result = restore_open(&from, keep->path, err);
    if (result == 0)
        result = fill(keep, &from, err) || read_turns(&from, add, context, err) ? -1 : 1;
    restore_close(&from);
    return result;
}

/* --- saving -------------------------------------------------------------------------------- */

int keep_save(struct keep *keep, const char *path, struct error *err)
{
    char *transcript = print_turns(*keep->turns);
    if (!transcript)
        return error_memory(err, "the transcript", 0);
    struct save save = {.checkpoint = keep->checkpoint,
                        .session = keep->session,
                        .sampler = keep->sampler,
                        .ids = keep->fed->ids,
                        .n_ids = (int64_t)keep->fed->n,
                        .transcript = {transcript, strlen(transcript)}};
    int result = save_write(&save, path, err);
    free(transcript);
    return result;
}

static int save_own(struct keep *keep, struct error *err)
{
    double start = now();
    if (keep_save(keep, keep->path, err))
        return -1;
    keep->written = now();
    keep->seconds = keep->written - start;
    keep->changed = false;
    return 0;
}

int keep_save_turn(struct keep *keep, struct error *err)
{
    keep->changed = true;
    bool cheap = now() - keep->written >= 9 * keep->seconds;
    return keep->path && cheap ? save_own(keep, err) : 0;
}

int keep_save_last(struct keep *keep, struct error *err)
{
    return keep->path && keep->changed ? save_own(keep, err) : 0;
}
