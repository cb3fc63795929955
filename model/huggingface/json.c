/* json: see json.h. */
#include "model/huggingface/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

/* The largest file of this kind, a tokenizer.json of 262144 tokens, has half of it. A parsed text
 * takes up to forty times its size. */
enum { BYTES_MAX = 64 << 20 };

/* Whether a string has the character U+0000, where cJSON would take it to end. */
static bool has_nul(const char *text, size_t size)
{
    for (size_t at = 0; at + 6 <= size; at++) {
        if (text[at] != '\\')
            continue;
        if (memcmp(text + at, "\\u0000", 6) == 0)
            return true;
        at++; /* past what it escapes */
    }
    return false;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

int json_parse(cJSON **root, const char *place, const void *text, size_t size, struct error *err)
{
    const char *bytes = text, *end = NULL;
    *root = NULL;
    if (size > BYTES_MAX)
        return error_set(err, "%s: has %zu bytes of JSON, expected at most %d", place, size,
                         BYTES_MAX);
    if (has_nul(bytes, size))
        return error_set(err, "%s: has a string with \\u0000, which is not supported", place);
    *root = cJSON_ParseWithLengthOpts(bytes, size, &end, 0);
    if (!*root)
        return error_set(err, "%s: is not JSON at its byte %zu", place,
                         end ? (size_t)(end - bytes) : 0);
    size_t at = (size_t)(end - bytes);
    while (at < size && is_space(bytes[at]))
        at++;
    if (at == size && cJSON_IsObject(*root))
        return 0;
    cJSON_Delete(*root);
    *root = NULL;
    return at < size ? error_set(err, "%s: is not JSON at its byte %zu", place, at)
                     : error_set(err, "%s: holds no JSON object, expected { ... }", place);
}

int json_open(cJSON **root, const char *path, struct error *err)
{
    struct file file;
    *root = NULL;
    if (file_open(&file, path, err) != 0)
        return -1;
    int result = json_parse(root, path, file.data, file.size, err);
    file_close(&file);
    return result;
}

cJSON *json_find(const cJSON *object, const char *key)
{
    cJSON *found = NULL;
    for (cJSON *item = cJSON_IsObject(object) ? object->child : NULL; item; item = item->next)
        if (strcmp(item->string, key) == 0)
            found = item;
    return cJSON_IsNull(found) ? NULL : found;
}

int json_refuse(struct json_object *object, const char *key, const cJSON *found,
                const char *expected)
{
    char text[PRINTABLE_BYTES + 8] = "missing";
    object->failed = true;
    if (cJSON_IsString(found))
        snprintf(
            text, sizeof text, "\"%s\"",
            text_printable((struct text){found->valuestring, strlen(found->valuestring)}).chars);
    else if (cJSON_IsNumber(found))
        snprintf(text, sizeof text, "%.10g", found->valuedouble);
    else if (found)
        snprintf(text, sizeof text, "%s",
                 cJSON_IsArray(found)    ? "a list"
                 : cJSON_IsObject(found) ? "an object"
                 : cJSON_IsNull(found)   ? "null"
                 : cJSON_IsTrue(found)   ? "true"
                                         : "false");
    return error_set(object->err, "%s: \"%s%s\" is %s, expected %s", object->place,
                     object->within ? object->within : "",
                     text_printable((struct text){key, strlen(key)}).chars, text, expected);
}

/* The member, if it is there and `right` of it. */
static const cJSON *member(struct json_object *object, const char *key, enum presence presence,
                           cJSON_bool (*right)(const cJSON *), const char *expected)
{
    if (object->failed)
        return NULL;
    const cJSON *item = json_find(object->json, key);
    if (item ? right(item) : presence == OPTIONAL)
        return item;
    json_refuse(object, key, item, expected);
    return NULL;
}

bool json_is_count(const cJSON *item, double max, uint64_t *out)
{
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(value >= 0 && value <= max && value == floor(value)))
        return false;
    *out = (uint64_t)value;
    return true;
}

void json_int(struct json_object *object, const char *key, enum presence presence, int min, int max,
              int *out)
{
    char expected[64];
    uint64_t value;
    snprintf(expected, sizeof expected, "a whole number from %d to %d", min, max);
    const cJSON *item = member(object, key, presence, cJSON_IsNumber, expected);
    if (!item)
        return;
    if (json_is_count(item, max, &value) && (int)value >= min)
        *out = (int)value;
    else
        json_refuse(object, key, item, expected);
}

void json_double(struct json_object *object, const char *key, enum presence presence, double *out)
{
    const cJSON *item = member(object, key, presence, cJSON_IsNumber, "a number");
    if (item)
        *out = item->valuedouble;
}

void json_bool(struct json_object *object, const char *key, bool *out)
{
    const cJSON *item = member(object, key, OPTIONAL, cJSON_IsBool, "true or false");
    if (item)
        *out = cJSON_IsTrue(item);
}

void json_text(struct json_object *object, const char *key, enum presence presence,
               const char **out)
{
    const cJSON *item = member(object, key, presence, cJSON_IsString, "a text");
    if (item)
        *out = item->valuestring;
}

const cJSON *json_array(struct json_object *object, const char *key, enum presence presence)
{
    return member(object, key, presence, cJSON_IsArray, "a list");
}

const cJSON *json_child(struct json_object *object, const char *key, enum presence presence)
{
    return member(object, key, presence, cJSON_IsObject, "an object");
}
