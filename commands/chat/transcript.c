/* transcript: see transcript.h. */
#include "commands/chat/transcript.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "commands/array.h"
#include "commands/output.h"
#include "model/restore.h"

static const char *const roles[] = {
    [CHAT_SYSTEM] = "system", [CHAT_USER] = "user", [CHAT_ASSISTANT] = "assistant"};
static const char *const headings[] = {[CHAT_SYSTEM] = "## System\n\n",
                                       [CHAT_USER] = "## User\n\n",
                                       [CHAT_ASSISTANT] = "## Assistant\n\n"};
enum { N_ROLES = sizeof roles / sizeof roles[0] };

/* --- JSON ----------------------------------------------------------------------------------- */

/* NULL: no memory. */
static cJSON *content_of(struct text text)
{
    cJSON *parts = cJSON_CreateArray();
    while (true) {
        const char *zero = memchr(text.bytes, '\0', text.length);
        size_t length = zero ? (size_t)(zero - text.bytes) : text.length;
        char *part = strndup(text.bytes, length);
        bool added = part && cJSON_AddItemToArray(parts, cJSON_CreateString(part));
        free(part);
        if (!added) {
            cJSON_Delete(parts);
            return NULL;
        }
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

char *transcript_print(const struct chat_turn *turns, const int64_t *starts)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(object, "turns");
    bool whole = list != NULL;
    for (ptrdiff_t i = 0; i < arrlen(turns) && whole; i++) {
        cJSON *turn = cJSON_CreateObject();
        cJSON *content = content_of(turns[i].content);
        whole = cJSON_AddItemToArray(list, turn) &&
                cJSON_AddStringToObject(turn, "role", roles[turns[i].role]);
        if (!whole || !cJSON_AddItemToObject(turn, "content", content)) {
            cJSON_Delete(content);
            whole = false;
        }
        whole = whole && (!starts || cJSON_AddNumberToObject(turn, "at", (double)starts[i]));
    }
    char *printed = whole ? cJSON_Print(object) : NULL;
    cJSON_Delete(object);
    return printed;
}

int transcript_read(struct text json, const char *place, transcript_turn *add, void *context,
                    struct error *err)
{
    cJSON *object = cJSON_ParseWithLength(json.bytes, json.length);
    const cJSON *list = cJSON_GetObjectItem(object, "turns");
    const cJSON *turn;
    int result = cJSON_IsArray(list) ? 0 : -1;
    cJSON_ArrayForEach(turn, list)
    {
        const char *role = cJSON_GetStringValue(cJSON_GetObjectItem(turn, "role"));
        const cJSON *at = cJSON_GetObjectItem(turn, "at");
        char *text = NULL;
        bool ok = read_content(cJSON_GetObjectItem(turn, "content"), &text);
        int r = 0;
        while (role && r < N_ROLES && strcmp(roles[r], role) != 0)
            r++;
        if (ok && role && r < N_ROLES)
            add(context, (enum chat_role)r, text, arrlenu(text),
                cJSON_IsNumber(at) && at->valuedouble >= 0 && at->valuedouble < 0x1p52
                    ? (int64_t)at->valuedouble
                    : -1);
        else
            result = -1;
        arrfree(text);
        if (result)
            break;
    }
    cJSON_Delete(object);
    return result ? error_set(err, "%s: the transcript is not that of a chat", place) : 0;
}

/* --- files ---------------------------------------------------------------------------------- */

static bool is_json(const char *path)
{
    size_t length = strlen(path);
    return length >= 5 && strcmp(path + length - 5, ".json") == 0;
}

static int write_markdown(struct replace *file, const struct chat_turn *turns, struct error *err)
{
    for (ptrdiff_t i = 0; i < arrlen(turns); i++) {
        const char *heading = headings[turns[i].role];
        struct text text = turns[i].content;
        if (replace_write(file, heading, strlen(heading), err) ||
            replace_write(file, text.bytes, text.length, err) ||
            replace_write(file, "\n\n", i + 1 < arrlen(turns) ? 2 : 1, err))
            return -1;
    }
    return 0;
}

static int write_json(struct replace *file, const struct chat_turn *turns, struct error *err)
{
    char *json = transcript_print(turns, NULL);
    if (!json)
        return error_memory(err, "the transcript", 0);
    int result = replace_write(file, json, strlen(json), err) || replace_write(file, "\n", 1, err);
    free(json);
    return result ? -1 : 0;
}

static int open_new(struct replace *file, const char *path, struct error *err)
{
    if (access(path, F_OK) == 0)
        return error_set(err, "%s: exists already, expected the name of a new file", path);
    return replace_open(file, path, err);
}

int transcript_export(const struct chat_turn *turns, const char *path, struct error *err)
{
    struct replace file = {0};
    int result = open_new(&file, path, err);
    if (result == 0)
        result = is_json(path) ? write_json(&file, turns, err) : write_markdown(&file, turns, err);
    if (result == 0)
        result = replace_finish(&file, err);
    replace_close(&file);
    return result;
}

static void collect(void *context, enum chat_role role, const char *text, size_t length, int64_t at)
{
    struct chat_turn **turns = context;
    char *copy = NULL;
    (void)at;
    memcpy(arraddnptr(copy, length + 1), text, length);
    struct chat_turn turn = {role, {copy, length}};
    arrput(*turns, turn);
}

static int write_as_it_is(const char *path, struct text text, struct error *err)
{
    struct replace file = {0};
    int result = open_new(&file, path, err);
    if (result == 0)
        result = replace_write(&file, text.bytes, text.length, err) || replace_finish(&file, err)
                     ? -1
                     : 0;
    replace_close(&file);
    return result;
}

int transcript_rescue(const char *session, const char *path, struct error *err)
{
    struct chat_turn *turns = NULL;
    struct error unwritten;
    char *text;
    size_t length;
    int result = restore_transcript(session, &text, &length, err);
    if (result < 0)
        return -1;
    struct text json = {text, length};
    if (result == 0)
        result = transcript_read(json, session, collect, &turns, err);
    if (result == 0)
        result = transcript_export(turns, path, err);
    else if (write_as_it_is(path, json, &unwritten))
        *err = unwritten;
    else
        error_prefix(err, "%s has what is left, as it is", path);
    while (arrlen(turns) > 0) {
        char *copy = (char *)(uintptr_t)arrpop(turns).content.bytes;
        arrfree(copy);
    }
    arrfree(turns);
    free(text);
    return result ? -1 : 0;
}
