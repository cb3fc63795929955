/* tokenize: text to ids, or ids to text. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "commands/engine.h"
#include "commands/output.h"

static int write_ids(const struct options *options, const struct tokenizer *tokenizer,
                     const struct token_list *ids, struct error *err)
{
    if (options->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON *array = cJSON_AddArrayToObject(object, "ids");
        cJSON *pieces = cJSON_AddArrayToObject(object, "tokens");
        for (size_t i = 0; i < ids->n; i++) {
            char text[PRINTABLE_BYTES + 4];
            snprintf(text, sizeof text, "%s",
                     text_printable(tokenizer_piece(tokenizer, ids->ids[i], true)).chars);
            cJSON_AddItemToArray(array, cJSON_CreateNumber(ids->ids[i]));
            cJSON_AddItemToArray(pieces, cJSON_CreateString(text));
        }
        return output_json(object, err);
    }
    for (size_t i = 0; i < ids->n; i++)
        printf(i + 1 < ids->n ? "%" PRId32 " " : "%" PRId32, ids->ids[i]);
    return output_write("\n", 1, err);
}

static int encode(const struct options *options, const struct tokenizer *tokenizer,
                  const char *text, size_t length, struct error *err)
{
    struct token_list ids = {0};
    struct encode_options how = {.add_special = options->parse_special,
                                 .parse_special = options->parse_special};
    int result = tokenizer_encode(tokenizer, text, length, how, &ids, err);
    if (result == 0)
        result = write_ids(options, tokenizer, &ids, err);
    token_list_free(&ids);
    return result;
}

/* The ids are decimal numbers between white space and commas. */
static int decode(const struct options *options, const struct tokenizer *tokenizer,
                  const char *text, size_t length, struct error *err)
{
    struct detokenizer stream = {.tokenizer = tokenizer, .special = options->parse_special};
    char *out = malloc(detokenizer_bound(tokenizer));
    char *copy = malloc(length + 1); /* NUL-terminated, for strtol */
    int result = out && copy ? 0 : error_memory(err, "the text", length);
    if (result == 0) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    for (char *at = copy; result == 0;) {
        at += strspn(at, " \t\r\n,[]");
        if (at == copy + length)
            break;
        char *end;
        errno = 0;
        long id = strtol(at, &end, 10);
        if (end == at || errno == ERANGE || id < 0 || id >= tokenizer_size(tokenizer)) {
            result =
                error_set(err, "byte %td of the ids: \"%s\" found, expected a number from 0 to %d",
                          at - copy, text_printable((struct text){at, strnlen(at, 12)}).chars,
                          (int)tokenizer_size(tokenizer) - 1);
            break;
        }
        at = end;
        result = output_write(out, detokenizer_feed(&stream, (int32_t)id, out), err);
    }
    if (result == 0)
        result = output_write(out, detokenizer_end(&stream, out), err);
    free(out);
    free(copy);
    return result;
}

static int tokenize(struct engine *engine, const struct options *options, struct error *err)
{
    char *text;
    size_t length;
    if (engine_open_checkpoint(engine, options, err) ||
        engine_open_tokenizer(engine, options, err) ||
        engine_read_text(options, &text, &length, err))
        return -1;
    int result = (options->decode ? decode : encode)(options, engine->tokenizer, text, length, err);
    free(text);
    return result;
}

int command_tokenize(const struct options *options, struct error *err)
{
    struct engine engine = {0};
    int result = tokenize(&engine, options, err);
    engine_close(&engine);
    return result ? -1 : EXIT_OK;
}
