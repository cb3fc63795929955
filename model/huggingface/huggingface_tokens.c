/* huggingface_tokens: see huggingface_tokens.h; the tokens. */
#include "model/huggingface/huggingface_tokens.h"

#include <string.h>

#include "base/size.h"

struct reader {
    struct huggingface_tokens *tokens;
    struct json_object *file;
    size_t limit; /* ids are below */
    bool spm;
    bool *strips;
};

void huggingface_tokens_free(struct huggingface_tokens *tokens)
{
    free(tokens->texts);
    free(tokens->types);
    *tokens = (struct huggingface_tokens){0};
}

/* Rows of the embedding. */
static size_t count_rows(const struct checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        if (text_equals(checkpoint->tensors[i].name, "token_embd.weight"))
            return (size_t)checkpoint->tensors[i].shape[1];
    return 0;
}

static int refuse_id(struct reader *r, const char *text, const char *what)
{
    r->file->failed = true;
    return error_set(r->file->err, "%s: token \"%s\": %s", r->file->place,
                     text_printable((struct text){text, strlen(text)}).chars, what);
}

static bool is_byte(const char *text)
{
    static const char digits[] = "0123456789ABCDEFabcdef";
    return strlen(text) == 6 && memcmp(text, "<0x", 3) == 0 && strchr(digits, text[3]) &&
           strchr(digits, text[4]) && text[5] == '>';
}

static int place_token(struct reader *r, size_t id, const char *text, int32_t type)
{
    struct huggingface_tokens *tokens = r->tokens;
    struct text *place = &tokens->texts[id];
    if (place->length > 0 && !text_equals(*place, text))
        return refuse_id(r, text, "another token has its id");
    *place = (struct text){text, strlen(text)};
    tokens->types[id] = type;
    if (id >= tokens->n)
        tokens->n = id + 1;
    return 0;
}

static int read_vocabulary(struct reader *r, const cJSON *vocabulary)
{
    for (const cJSON *item = vocabulary->child; item; item = item->next) {
        uint64_t id;
        if (!json_is_count(item, (double)r->limit - 1, &id))
            return refuse_id(r, item->string, "its id is no row of the embedding");
        bool byte = r->spm && is_byte(item->string);
        if (place_token(r, (size_t)id, item->string,
                        byte ? HUGGINGFACE_BYTE : HUGGINGFACE_NORMAL) != 0)
            return -1;
    }
    return 0;
}

/* Tokens that are matched whole: control tokens, and others, which users' texts have, too. What
 * their flags ask for beyond that is not there. */
static int read_added_token(struct reader *r, const cJSON *item)
{
    const cJSON *content = json_find(item, "content"), *number = json_find(item, "id");
    uint64_t id;
    if (!cJSON_IsString(content) || !json_is_count(number, INT32_MAX, &id))
        return json_refuse(r->file, "added_tokens", content,
                           "a list of tokens with id and content");
    const char *text = content->valuestring;
    bool special = cJSON_IsTrue(json_find(item, "special"));
    bool strips =
        cJSON_IsTrue(json_find(item, "lstrip")) || cJSON_IsTrue(json_find(item, "rstrip"));
    bool normalized = r->spm && cJSON_IsTrue(json_find(item, "normalized"));
    if (special && id >= r->limit)
        return 0;
    if (id >= r->limit)
        return refuse_id(r, text, "its id is no row of the embedding");
    if (special) {
        *r->strips = *r->strips || strips;
        return place_token(r, (size_t)id, text, HUGGINGFACE_CONTROL);
    }
    if (strips || normalized || cJSON_IsTrue(json_find(item, "single_word")))
        return refuse_id(r, text,
                         "single_word, lstrip, rstrip and normalized are not supported with tokens "
                         "that are not special");
    return place_token(r, (size_t)id, text, HUGGINGFACE_USER_DEFINED);
}

int huggingface_tokens_read(struct huggingface_tokens *tokens, struct huggingface *hf,
                            struct json_object *file, const cJSON *model, bool spm, bool *strips)
{
    struct json_object object = {
        .json = model, .place = file->place, .within = "model.", .err = file->err};
    const cJSON *vocabulary = json_child(&object, "vocab", REQUIRED);
    const cJSON *added = json_array(file, "added_tokens", OPTIONAL);
    struct reader r = {.tokens = tokens,
                       .file = file,
                       .limit = count_rows(hf->checkpoint),
                       .spm = spm,
                       .strips = strips};
    if (object.failed || file->failed)
        return -1;
    tokens->texts = calloc(r.limit + 1, sizeof *tokens->texts);
    tokens->types = calloc(r.limit + 1, sizeof *tokens->types);
    if (!tokens->texts || !tokens->types)
        return error_memory(file->err, "the vocabulary", r.limit * sizeof *tokens->texts);
    for (size_t i = 0; i < r.limit; i++) {
        tokens->texts[i].bytes = "";
        tokens->types[i] = HUGGINGFACE_UNUSED;
    }
    if (read_vocabulary(&r, vocabulary) != 0)
        return -1;
    for (const cJSON *item = added ? added->child : NULL; item; item = item->next)
        if (read_added_token(&r, item) != 0)
            return -1;
    if (tokens->n == 0)
        return json_refuse(&object, "vocab", vocabulary, "at least one token");
    return 0;
}
