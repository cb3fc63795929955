/* tokenizer: opening from metadata, the ids and rules that frame a text, and the walk over a text
 * that hands special tokens and plain stretches on. */
#include "tokenizer/tokenizer.h"

#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "tokenizer/internal.h"

/* Tokens by these names are control tokens whatever the file calls them: converters get some wrong,
 * and a user's text must not end a turn or begin one. */
static const char *const end_names[] = {
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<|end|>",
    "</s>",
    "<EOT>",
    "[EOS]",
    "<eos>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<end_of_utterance>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|EOT|>",
    "<\xEF\xBD\x9C\x65nd\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>", /* DeepSeek; \x65 is e */
};
static const char *const begin_names[] = {
    "<s>",
    "<bos>",
    "<|im_start|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|begin_of_text|>",
    "<start_of_turn>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "[INST]",
    "[/INST]",
    "<|im_sep|>",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "<|START_OF_TURN_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<\xEF\xBD\x9CUser\xEF\xBD\x9C>", /* DeepSeek; \x41 is A */
    "<\xEF\xBD\x9C\x41ssistant\xEF\xBD\x9C>",
};

struct tokenizer *tokenizer_alloc(enum tokenizer_model model, struct error *err)
{
    struct tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (!tokenizer) {
        error_memory(err, "the tokenizer", sizeof *tokenizer);
        return NULL;
    }
    tokenizer->model = model;
    tokenizer->bos = tokenizer->eos = tokenizer->unknown = -1;
    return tokenizer;
}

void tokenizer_close(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    vocabulary_free(&tokenizer->vocabulary);
    special_free(&tokenizer->special);
    pretokenizer_close(&tokenizer->pretokenizer);
    free(tokenizer->joins);
    free(tokenizer->merges);
    file_close(&tokenizer->file);
    free(tokenizer);
}

/* ---- opening ---- */

/* "▁the" -> " the" */
static size_t unescape_spaces(struct text raw, char *out)
{
    static const char mark[] = "\xE2\x96\x81";
    size_t n = 0;
    for (size_t at = 0; at < raw.length;) {
        if (raw.length - at >= 3 && memcmp(raw.bytes + at, mark, 3) == 0) {
            out[n++] = ' ';
            at += 3;
        } else {
            out[n++] = raw.bytes[at++];
        }
    }
    return n;
}

/* The bytes that a token written `raw` in the file stands for. Tokens that are matched whole are
 * taken as they are, and so is byte-level text that is none. */
static struct text make_piece(struct tokenizer *tokenizer, int32_t id, struct text raw)
{
    struct vocabulary *vocabulary = &tokenizer->vocabulary;
    char *out = vocabulary->arena + vocabulary->arena_used;
    uint8_t kind = vocabulary->kinds[id];
    size_t n;
    if (kind == TOKEN_BYTE) {
        out[0] = (char)vocabulary_parse_byte(raw);
        n = 1;
    } else if (kind == TOKEN_CONTROL || kind == TOKEN_UNKNOWN || kind == TOKEN_USER_DEFINED) {
        return raw;
    } else {
        n = tokenizer->model == TOKENIZER_SPM ? unescape_spaces(raw, out) : bpe_decode(raw, out);
        if (n == SIZE_MAX || (n == raw.length && memcmp(out, raw.bytes, n) == 0))
            return raw;
    }
    vocabulary->arena_used += n;
    return (struct text){out, n};
}

/* Kinds as the file says; a file that does not say has byte tokens by their form. */
static int read_kind(struct tokenizer *tokenizer, int32_t id, struct text raw, struct cursor *types,
                     const char *place, struct error *err)
{
    bool typed = types->data != NULL;
    int byte = tokenizer->model == TOKENIZER_SPM || typed ? vocabulary_parse_byte(raw) : -1;
    uint32_t kind = typed ? cursor_u32(types) : byte >= 0 ? TOKEN_BYTE : TOKEN_NORMAL;
    if (kind >= TOKEN_KINDS)
        return error_set(
            err, "%s: \"tokenizer.ggml.token_type\": token %d has type %u, expected 0 to %d", place,
            id, kind, TOKEN_KINDS - 1);
    if (kind == TOKEN_BYTE && byte < 0)
        return error_set(err, "%s: token %d is a byte token \"%s\", expected <0x00> to <0xFF>",
                         place, id, text_printable(raw).chars);
    tokenizer->vocabulary.kinds[id] = (uint8_t)kind;
    return 0;
}

static int read_tokens(struct tokenizer *tokenizer, const struct metadata *metadata,
                       struct error *err)
{
    static const char tokens_key[] = "tokenizer.ggml.tokens",
                      types_key[] = "tokenizer.ggml.token_type";
    const char *place = metadata->place;
    struct cursor tokens, types;
    uint64_t n_tokens, n_types;
    if (metadata_array(metadata, tokens_key, REQUIRED, METADATA_STRING, &tokens, &n_tokens, err) !=
            0 ||
        metadata_array(metadata, types_key, OPTIONAL, METADATA_I32, &types, &n_types, err) != 0)
        return -1;
    if (n_tokens == 0 || n_tokens > INT32_MAX || n_tokens > cursor_left(&tokens) / sizeof(uint64_t))
        return error_set(err, "%s: \"%s\" has %llu tokens in %zu bytes, expected at least one",
                         place, tokens_key, (unsigned long long)n_tokens, cursor_left(&tokens));
    if (types.data && n_types != n_tokens)
        return error_set(err, "%s: \"%s\" has %llu items, expected one for each of %llu tokens",
                         place, types_key, (unsigned long long)n_types,
                         (unsigned long long)n_tokens);
    struct vocabulary *vocabulary = &tokenizer->vocabulary;
    if (vocabulary_init(vocabulary, (int32_t)n_tokens, cursor_left(&tokens), err) != 0)
        return -1;
    for (int32_t id = 0; id < vocabulary->n_tokens; id++) {
        struct text raw = metadata_next_text(&tokens);
        if (read_kind(tokenizer, id, raw, &types, place, err) != 0)
            return -1;
        vocabulary->pieces[id] = make_piece(tokenizer, id, raw);
    }
    if (tokens.failed || types.failed)
        return error_set(err, "%s: \"%s\" is cut short", place,
                         tokens.failed ? tokens_key : types_key);
    return vocabulary_index(vocabulary, err);
}

/* The first tokens of a SentencePiece vocabulary are <unk>, <s> and </s> where the file does not
 * say. */
static int32_t default_id(const struct tokenizer *tokenizer, int32_t id, enum token_kind kind,
                          bool typed)
{
    if (tokenizer->model != TOKENIZER_SPM || id >= tokenizer->vocabulary.n_tokens)
        return -1;
    return !typed || tokenizer->vocabulary.kinds[id] == kind ? id : -1;
}

static int read_ids(struct tokenizer *tokenizer, const struct metadata *metadata, struct error *err)
{
    struct vocabulary *vocabulary = &tokenizer->vocabulary;
    bool typed = metadata_find(metadata, "tokenizer.ggml.token_type") != NULL;
    int last = vocabulary->n_tokens - 1, turn_end = -1, message_end = -1;
    tokenizer->unknown = default_id(tokenizer, 0, TOKEN_UNKNOWN, typed);
    tokenizer->bos = default_id(tokenizer, 1, TOKEN_CONTROL, typed);
    tokenizer->eos = default_id(tokenizer, 2, TOKEN_CONTROL, typed);
    struct {
        const char *key;
        int *id;
    } ids[] = {
        {"tokenizer.ggml.unknown_token_id", &tokenizer->unknown},
        {"tokenizer.ggml.bos_token_id", &tokenizer->bos},
        {"tokenizer.ggml.eos_token_id", &tokenizer->eos},
        {"tokenizer.ggml.eot_token_id", &turn_end},
        {"tokenizer.ggml.eom_token_id", &message_end},
    };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (metadata_int(metadata, ids[i].key, OPTIONAL, 0, last, ids[i].id, err) != 0)
            return -1;
    }
    if (turn_end >= 0)
        vocabulary->ends[turn_end] = true;
    if (message_end >= 0)
        vocabulary->ends[message_end] = true;
    if (!typed && tokenizer->unknown >= 0)
        vocabulary->kinds[tokenizer->unknown] = TOKEN_UNKNOWN;
    if (!typed && tokenizer->bos >= 0)
        vocabulary->kinds[tokenizer->bos] = TOKEN_CONTROL;
    if (!typed && tokenizer->eos >= 0)
        vocabulary->kinds[tokenizer->eos] = TOKEN_CONTROL;
    return 0;
}

/* A rule about a token that the file does not name is off by default and an error when asked for.
 */
static int read_rule(const struct metadata *metadata, const char *key, const char *id_key,
                     int32_t id, bool usual, bool *rule, struct error *err)
{
    bool asked = false;
    *rule = usual && id >= 0;
    if (metadata_bool(metadata, key, OPTIONAL, &asked, err) != 0)
        return -1;
    if (metadata_find(metadata, key))
        *rule = asked;
    if (*rule && id < 0)
        return error_set(err, "%s: \"%s\" is true but \"%s\" is missing", metadata->place, key,
                         id_key);
    return 0;
}

static int read_rules(struct tokenizer *tokenizer, const struct metadata *metadata,
                      struct error *err)
{
    bool spm = tokenizer->model == TOKENIZER_SPM;
    bool adds_bos = spm || pretokenizer_adds_bos(&tokenizer->pretokenizer);
    if (read_rule(metadata, "tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id",
                  tokenizer->bos, adds_bos, &tokenizer->add_bos, err) != 0 ||
        read_rule(metadata, "tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id",
                  tokenizer->eos, false, &tokenizer->add_eos, err) != 0)
        return -1;
    tokenizer->add_space_prefix = spm;
    return spm ? metadata_bool(metadata, "tokenizer.ggml.add_space_prefix", OPTIONAL,
                               &tokenizer->add_space_prefix, err)
               : 0;
}

/* The pre-tokenizer of a byte-level file; one that names none is split by llama.cpp's default rule.
 */
static int open_pretokenizer(struct tokenizer *tokenizer, const struct metadata *metadata,
                             struct error *err)
{
    struct text name = {"default", 7};
    if (metadata_text(metadata, "tokenizer.ggml.pre", OPTIONAL, &name, err) != 0)
        return -1;
    if (pretokenizer_open(&tokenizer->pretokenizer, name, err) != 0)
        return error_prefix(err, "%s", metadata->place);
    tokenizer->ignore_merges = pretokenizer_ignores_merges(&tokenizer->pretokenizer);
    snprintf(tokenizer->description, sizeof tokenizer->description, "bpe (%.*s)", (int)name.length,
             name.bytes);
    return 0;
}

static void mark_names(struct vocabulary *vocabulary, const char *const *names, size_t n, bool ends)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id = vocabulary_find(vocabulary, names[i], strlen(names[i]));
        if (id < 0)
            continue;
        vocabulary->kinds[id] = TOKEN_CONTROL;
        vocabulary->ends[id] |= ends;
    }
}

int tokenizer_finish(struct tokenizer *tokenizer, struct error *err)
{
    struct vocabulary *vocabulary = &tokenizer->vocabulary;
    mark_names(vocabulary, end_names, sizeof end_names / sizeof end_names[0], true);
    mark_names(vocabulary, begin_names, sizeof begin_names / sizeof begin_names[0], false);
    if (tokenizer->eos >= 0)
        vocabulary->ends[tokenizer->eos] = true;
    for (int32_t id = vocabulary->n_tokens - 1; id >= 0; id--) {
        if (vocabulary->kinds[id] == TOKEN_BYTE)
            vocabulary->bytes[(unsigned char)vocabulary->pieces[id].bytes[0]] = id;
    }
    for (int byte = 0; byte < 256 && tokenizer->model == TOKENIZER_BPE; byte++) {
        char one = (char)byte;
        int32_t id = vocabulary_find_text(vocabulary, &one, 1);
        if (id >= 0)
            vocabulary->bytes[byte] = id;
    }
    if (merge_find_joins(tokenizer, err) != 0)
        return -1;
    return special_init(&tokenizer->special, vocabulary, err);
}

static int open_metadata(struct tokenizer *tokenizer, const struct metadata *metadata,
                         struct error *err)
{
    bool spm = tokenizer->model == TOKENIZER_SPM;
    snprintf(tokenizer->description, sizeof tokenizer->description, "spm");
    if (!spm && open_pretokenizer(tokenizer, metadata, err) != 0)
        return -1;
    if (read_tokens(tokenizer, metadata, err) != 0 || read_ids(tokenizer, metadata, err) != 0 ||
        read_rules(tokenizer, metadata, err) != 0 || tokenizer_finish(tokenizer, err) != 0)
        return -1;
    return spm ? spm_open(tokenizer, metadata, err) : bpe_open(tokenizer, metadata, err);
}

int tokenizer_open(struct tokenizer **tokenizer, const struct metadata *metadata, struct error *err)
{
    *tokenizer = NULL;
    struct text model;
    if (metadata_text(metadata, "tokenizer.ggml.model", REQUIRED, &model, err) != 0)
        return -1;
    bool spm = text_equals(model, "llama");
    if (!spm && !text_equals(model, "gpt2"))
        return error_set(
            err,
            "%s: \"tokenizer.ggml.model\" is \"%s\", which is not supported, expected llama "
            "(SentencePiece-style BPE) or gpt2 (byte-level BPE)",
            metadata->place, text_printable(model).chars);
    struct tokenizer *opened = tokenizer_alloc(spm ? TOKENIZER_SPM : TOKENIZER_BPE, err);
    if (!opened)
        return -1;
    if (open_metadata(opened, metadata, err) != 0) {
        tokenizer_close(opened);
        return -1;
    }
    *tokenizer = opened;
    return 0;
}
