/* fuzz_tokenizer: any bytes as a tokenizer's metadata and as a text. A tokenizer that opens encodes
 * any text or says where it cannot; ids lie in the vocabulary; where no unknown token is used, the
 * pieces spell the text; and what the stream of tokens prints is UTF-8.
 *
 *    1 byte of flags, 1 byte that picks the rule, the tokens (a length, a type, a score, bytes) up
 *    to a zero length, the merges (a length, bytes) up to a zero length, and the rest is the text.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/metadata.h"
#include "tokenizer/chat.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FLAG_BPE = 1,
    FLAG_NO_TYPES = 2,
    FLAG_NO_MERGES = 4,
    FLAG_PARSE = 8,
    FLAG_IDS = 16,
    FLAG_SPECIAL = 32,
    FLAG_WRONG_COUNT = 64,
    FLAG_NO_PREFIX = 128
};

static void require(bool truth)
{
    if (!truth)
        abort();
}

/* Arrays of the metadata, as large as their sources allow. */
struct arrays {
    uint8_t *tokens, *types, *scores, *merges;
    size_t tokens_size, merges_size, n_tokens, n_merges;
};

static void add_string(uint8_t *array, size_t *used, const uint8_t *bytes, uint8_t length)
{
    memset(array + *used, 0, 8);
    array[*used] = length;
    if (length > 0)
        memcpy(array + *used + 8, bytes, length);
    *used += 8 + (size_t)length;
}

static void read_arrays(struct arrays *arrays, struct cursor *input)
{
    for (uint8_t length; (length = (uint8_t)cursor_uint(input, 1)) > 0;) {
        uint8_t type = (uint8_t)cursor_uint(input, 1), score = (uint8_t)cursor_uint(input, 1);
        length = (uint8_t)(length - 1); /* a token may be empty */
        const uint8_t *bytes = cursor_bytes(input, length);
        if (!bytes)
            break;
        float value = (float)score - 128;
        memcpy(arrays->types + 4 * arrays->n_tokens, (const uint8_t[4]){type % 8}, 4);
        memcpy(arrays->scores + 4 * arrays->n_tokens, &value, 4);
        add_string(arrays->tokens, &arrays->tokens_size, bytes, length);
        arrays->n_tokens++;
    }
    for (uint8_t length; (length = (uint8_t)cursor_uint(input, 1)) > 0;) {
        const uint8_t *bytes = cursor_bytes(input, length);
        if (!bytes)
            break;
        add_string(arrays->merges, &arrays->merges_size, bytes, length);
        arrays->n_merges++;
    }
}

static void add(struct metadata *metadata, const char *key, struct metadata_value value)
{
    struct error err;
    require(metadata_add(metadata, (struct text){key, strlen(key)}, value, &err) == 0);
}

static void add_text(struct metadata *metadata, const char *key, const char *text)
{
    add(metadata, key,
        (struct metadata_value){.type = METADATA_STRING, .text = {text, strlen(text)}});
}

static void add_array(struct metadata *metadata, const char *key, enum metadata_type item,
                      const uint8_t *bytes, size_t size, size_t count)
{
    struct metadata_value value = {.type = METADATA_ARRAY};
    value.array.type = item;
    value.array.count = count;
    value.array.bytes = bytes;
    value.array.size = size;
    add(metadata, key, value);
}

static void fill_metadata(struct metadata *metadata, const struct arrays *arrays, uint8_t flags,
                          uint8_t pick)
{
    static const char *const rules[] = {"gpt-2",  "llama-bpe",    "qwen2",          "falcon",
                                        "smollm", "deepseek-llm", "deepseek-coder", "bloom",
                                        "dbrx",   "default",      "nonsense"};
    size_t n = arrays->n_tokens, n_types = n - (n > 0 && flags & FLAG_WRONG_COUNT && pick & 1);
    metadata->place = "fuzz";
    add_text(metadata, "tokenizer.ggml.model", flags & FLAG_BPE ? "gpt2" : "llama");
    add_text(metadata, "tokenizer.ggml.pre", rules[pick % (sizeof rules / sizeof rules[0])]);
    add_array(metadata, "tokenizer.ggml.tokens", METADATA_STRING, arrays->tokens,
              arrays->tokens_size, n + (flags & FLAG_WRONG_COUNT && pick & 2));
    add_array(metadata, "tokenizer.ggml.scores", METADATA_F32, arrays->scores, 4 * n, n);
    if (!(flags & FLAG_NO_TYPES))
        add_array(metadata, "tokenizer.ggml.token_type", METADATA_I32, arrays->types, 4 * n_types,
                  n_types);
    if (!(flags & FLAG_NO_MERGES))
        add_array(metadata, "tokenizer.ggml.merges", METADATA_STRING, arrays->merges,
                  arrays->merges_size, arrays->n_merges);
    if (flags & FLAG_IDS) {
        struct metadata_value id = {.type = METADATA_U32, .u = pick % 16};
        struct metadata_value yes = {.type = METADATA_BOOL, .u = 1};
        add(metadata, "tokenizer.ggml.bos_token_id", id);
        add(metadata, "tokenizer.ggml.eos_token_id", id);
        add(metadata, "tokenizer.ggml.add_bos_token", yes);
        add(metadata, "tokenizer.ggml.add_eos_token", yes);
    }
    if (flags & FLAG_NO_PREFIX)
        add(metadata, "tokenizer.ggml.add_space_prefix",
            (struct metadata_value){.type = METADATA_BOOL});
    struct error err;
    require(metadata_sort(metadata, &err) == 0);
}

/* Where nothing is added and no control token read, the pieces are the text, but for unknown
 * tokens (which are empty) and the spaces that SentencePiece puts in front. */
static void check_pieces(const struct tokenizer *tokenizer, const struct token_list *ids,
                         const char *text, size_t length)
{
    size_t at = 0;
    for (size_t i = 0; i < ids->n; i++) {
        struct text piece = tokenizer_piece(tokenizer, ids->ids[i], false);
        if (piece.length == 0)
            return;
        require(piece.length <= length - at);
        require(memcmp(piece.bytes, text + at, piece.length) == 0);
        at += piece.length;
    }
    require(at == length);
}

static void check_stream(const struct tokenizer *tokenizer, const struct token_list *ids)
{
    char *out = malloc(detokenizer_bound(tokenizer));
    require(out != NULL);
    struct detokenizer stream = {.tokenizer = tokenizer, .special = true};
    for (size_t i = 0; i <= ids->n; i++) {
        size_t n = i < ids->n ? detokenizer_feed(&stream, ids->ids[i], out)
                              : detokenizer_end(&stream, out);
        require(n <= detokenizer_bound(tokenizer));
        require(utf8_valid_prefix(out, n) == n);
    }
    free(out);
}

static void use(const struct tokenizer *tokenizer, uint8_t flags, const char *text, size_t length)
{
    struct error err;
    struct token_list ids = {0};
    struct encode_options options = {.add_special = flags & FLAG_SPECIAL,
                                     .parse_special = flags & FLAG_PARSE};
    if (tokenizer_encode(tokenizer, text, length, options, &ids, &err) == 0) {
        for (size_t i = 0; i < ids.n; i++)
            require(ids.ids[i] >= 0 && ids.ids[i] < tokenizer_size(tokenizer));
        bool exact = flags & FLAG_BPE || flags & FLAG_NO_PREFIX;
        if (exact && !options.add_special && !options.parse_special)
            check_pieces(tokenizer, &ids, text, length);
        check_stream(tokenizer, &ids);
    }
    struct chat_template template;
    if (chat_recognise(&template, (struct text){text, length}, 0, &err) == 0) {
        const struct chat_turn turns[] = {{CHAT_SYSTEM, {text, length}},
                                          {CHAT_USER, {text, length}}};
        (void)chat_render(&template, tokenizer, turns, 2, &ids, &err);
        chat_template_free(&template);
    }
    for (int32_t id = -1; id <= tokenizer_size(tokenizer); id++)
        (void)tokenizer_is_end(tokenizer, id);
    (void)tokenizer_find(tokenizer, text, length);
    token_list_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor input = cursor_over(data, size);
    uint8_t flags = (uint8_t)cursor_uint(&input, 1), pick = (uint8_t)cursor_uint(&input, 1);
    struct arrays arrays = {.tokens = malloc(9 * size + 8),
                            .types = malloc(4 * size + 4),
                            .scores = malloc(4 * size + 4),
                            .merges = malloc(9 * size + 8)};
    require(arrays.tokens && arrays.types && arrays.scores && arrays.merges);
    read_arrays(&arrays, &input);
    struct metadata metadata = {0};
    fill_metadata(&metadata, &arrays, flags, pick);
    size_t length = cursor_left(&input);
    const uint8_t *text = cursor_bytes(&input, length);
    struct tokenizer *tokenizer;
    struct error err;
    if (tokenizer_open(&tokenizer, &metadata, &err) == 0)
        use(tokenizer, flags, text ? (const char *)text : "", length);
    tokenizer_close(tokenizer);
    metadata_free(&metadata);
    free(arrays.tokens);
    free(arrays.types);
    free(arrays.scores);
    free(arrays.merges);
    return 0;
}
