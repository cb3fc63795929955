/* huggingface_merges: see huggingface_tokens.h; the merges of a tokenizer.json, "left right" or
 * ["left", "right"]. */
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "model/huggingface/huggingface_tokens.h"

/* A token's text is looked at in all its parts. */
enum { PIECE_BYTES_MAX = 1024 };

static int refuse(struct json_object *model, size_t number, const char *what)
{
    model->failed = true;
    return error_set(model->err, "%s: \"model.merges\": number %zu %s", model->place, number, what);
}

static int read_merge(struct json_object *model, const cJSON *item, size_t number,
                      struct text *left, struct text *right)
{
    const char *first = NULL, *second = NULL;
    *left = *right = (struct text){"", 0};
    if (cJSON_IsString(item)) {
        first = item->valuestring;
        const char *space = strchr(first, ' ');
        *left = (struct text){first, space ? (size_t)(space - first) : 0};
        second = space ? space + 1 : "";
    } else if (cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2 &&
               cJSON_IsString(item->child) && cJSON_IsString(item->child->next)) {
        first = item->child->valuestring;
        second = item->child->next->valuestring;
        *left = (struct text){first, strlen(first)};
    }
    if (second)
        *right = (struct text){second, strlen(second)};
    if (left->length == 0 || right->length == 0 || memchr(left->bytes, ' ', left->length) ||
        strchr(second, ' '))
        return refuse(model, number, "is not two tokens without spaces");
    return 0;
}

static size_t count(const cJSON *list)
{
    size_t n = 0;
    for (const cJSON *item = list->child; item; item = item->next)
        n++;
    return n;
}

/* --- byte-level ------------------------------------------------------------------------------- */

/* "left right" for every merge, the bytes of the texts in `buffer`; NULL: only their number. */
static int join_merges(struct json_object *model, const cJSON *merges, struct text *texts,
                       char *buffer, size_t *n_bytes)
{
    size_t used = 0, i = 0;
    for (const cJSON *item = merges->child; item; item = item->next, i++) {
        struct text left, right;
        if (read_merge(model, item, i, &left, &right) != 0)
            return -1;
        if (buffer) {
            texts[i] = (struct text){buffer + used, left.length + 1 + right.length};
            memcpy(buffer + used, left.bytes, left.length);
            buffer[used + left.length] = ' ';
            memcpy(buffer + used + left.length + 1, right.bytes, right.length);
        }
        used += left.length + 1 + right.length; /* fewer than the file has */
    }
    *n_bytes = used;
    return 0;
}

int huggingface_merges_write(struct json_object *model, const cJSON *merges,
                             struct key_writer *writer)
{
    size_t n = count(merges), n_bytes;
    if (join_merges(model, merges, NULL, NULL, &n_bytes) != 0)
        return -1;
    struct text *texts = size_alloc(n, sizeof *texts);
    char *buffer = size_alloc(n_bytes, 1);
    int result = -1;
    if (!texts || !buffer)
        error_memory(model->err, "the merges", n * sizeof *texts + n_bytes);
    else
        result = join_merges(model, merges, texts, buffer, &n_bytes);
    if (result == 0)
        key_writer_texts(writer, "merges", texts, n);
    free(texts);
    free(buffer);
    return result == 0 && !writer->failed ? 0 : -1;
}

/* --- SentencePiece-like ----------------------------------------------------------------------- */

/* From text to id: open addressing. */
struct index {
    const struct huggingface_tokens *tokens;
    int32_t *slots; /* -1: empty */
    size_t mask;
};

static size_t hash_text(size_t hash, struct text text)
{
    for (size_t i = 0; i < text.length; i++)
        hash = (hash ^ (unsigned char)text.bytes[i]) * 0x100000001B3u;
    return hash;
}

/* The slot of the token whose text is these two, or where it belongs. */
static int32_t *find_slot(const struct index *index, struct text left, struct text right)
{
    size_t hash = hash_text(hash_text(0xCBF29CE484222325u, left), right);
    for (size_t at = (hash ^ hash >> 29) & index->mask;; at = (at + 1) & index->mask) {
        int32_t id = index->slots[at];
        if (id < 0)
            return &index->slots[at];
        struct text text = index->tokens->texts[id];
        if (text.length == left.length + right.length &&
            memcmp(text.bytes, left.bytes, left.length) == 0 &&
            memcmp(text.bytes + left.length, right.bytes, right.length) == 0)
            return &index->slots[at];
    }
}

static int32_t find_token(const struct index *index, struct text left, struct text right)
{
    return *find_slot(index, left, right);
}

/* Whether plain text may become the token. */
static bool is_piece(const struct huggingface_tokens *tokens, size_t id)
{
    return tokens->texts[id].length > 0 && (tokens->types[id] == HUGGINGFACE_NORMAL ||
                                            tokens->types[id] == HUGGINGFACE_USER_DEFINED);
}

static int make_index(struct index *index, const struct huggingface_tokens *tokens,
                      struct error *err)
{
    size_t n_slots = 16;
    while (n_slots < 2 * tokens->n)
        n_slots *= 2;
    index->tokens = tokens;
    index->mask = n_slots - 1;
    index->slots = size_alloc(n_slots, sizeof *index->slots);
    if (!index->slots)
        return error_memory(err, "the index of tokens", n_slots * sizeof *index->slots);
    memset(index->slots, 0xFF, n_slots * sizeof *index->slots);
    for (size_t id = 0; id < tokens->n; id++) {
        if (!is_piece(tokens, id))
            continue;
        int32_t *slot = find_slot(index, tokens->texts[id], (struct text){"", 0});
        if (*slot < 0)
            *slot = (int32_t)id;
    }
    return 0;
}

static size_t character_bytes(const char *bytes, size_t left)
{
    size_t n = 1;
    while (n < left && ((unsigned char)bytes[n] & 0xC0) == 0x80)
        n++;
    return n;
}

/* In how many ways the tokenizer would make the token from two: of tokens, or of characters that
 * are none. */
static uint32_t count_ways(const struct index *index, struct text whole)
{
    static const struct text nothing = {"", 0};
    uint32_t ways = 0;
    size_t first = character_bytes(whole.bytes, whole.length);
    for (size_t at = first, step; at < whole.length; at += step) {
        struct text left = {whole.bytes, at}, right = {whole.bytes + at, whole.length - at};
        step = character_bytes(right.bytes, right.length);
        if ((at == first || find_token(index, left, nothing) >= 0) &&
            (step == right.length || find_token(index, right, nothing) >= 0))
            ways++;
    }
    return ways;
}

/* What a merge makes. */
struct join {
    int32_t id;
    uint32_t left; /* bytes of the left token */
};

struct ranking {
    const struct index *index;
    struct json_object *model;
    struct join *joins; /* (n_joins) */
    size_t n_joins;
    size_t *last;   /* (n tokens) the number of the last merge that makes it */
    uint32_t *ways; /* (n tokens) how many do */
    float *scores;  /* (n tokens) falling in the order of the merges */
};

static int read_joins(struct ranking *ranking, const cJSON *merges)
{
    static const struct text nothing = {"", 0};
    const struct index *index = ranking->index;
    size_t number = 0;
    for (const cJSON *item = merges->child; item; item = item->next, number++) {
        struct text left, right;
        if (read_merge(ranking->model, item, number, &left, &right) != 0)
            return -1;
        int32_t id = find_token(index, left, right);
        if (id < 0 || find_token(index, left, nothing) < 0 || find_token(index, right, nothing) < 0)
            return refuse(ranking->model, number, "is of texts that are no tokens");
        if (index->tokens->types[id] == HUGGINGFACE_USER_DEFINED)
            return refuse(ranking->model, number,
                          "makes a token that is matched whole as well, which is not supported");
        ranking->joins[number] = (struct join){id, (uint32_t)left.length};
        ranking->last[id] = number;
        ranking->ways[id]++;
    }
    return 0;
}

/* How often a text repeats its first character; 0: there are others in it. */
static size_t count_run(struct text text)
{
    size_t step = character_bytes(text.bytes, text.length), n = 0;
    for (size_t at = 0; at < text.length; at += step, n++)
        if (text.length - at < step || memcmp(text.bytes + at, text.bytes, step) != 0)
            return 0;
    return n;
}

/* Whether these merges make the runs of up to K of one character, and those of three or more before
 * that of two: then a run grows from its left, as it does where the tokens share a score. */
static bool are_runs(const struct ranking *ranking, size_t first, size_t last)
{
    const struct index *index = ranking->index;
    struct text start = index->tokens->texts[ranking->joins[first].id];
    start.length = character_bytes(start.bytes, start.length);
    int32_t two = find_token(index, start, start);
    size_t longest = 0, n_merges = last - first + 1;
    for (size_t i = first; i <= last; i++) {
        struct text text = index->tokens->texts[ranking->joins[i].id];
        size_t n = count_run(text);
        if (n < 2 || text.length != n * start.length ||
            memcmp(text.bytes, start.bytes, start.length) != 0)
            return false;
        longest = n > longest ? n : longest;
    }
    if (two < 0 || ranking->ways[two] != 1 || ranking->last[two] < last)
        return false;
    return n_merges + (ranking->last[two] > last) == longest * (longest - 1) / 2;
}

/* A score for every stretch of merges that make one token, or runs. */
static int rank_joins(struct ranking *ranking)
{
    const struct join *joins = ranking->joins;
    float score = 0;
    for (size_t first = 0, last; first < ranking->n_joins; first = last + 1, score--) {
        bool one = true;
        last = ranking->last[joins[first].id];
        for (size_t i = first; i <= last; i++) {
            size_t end = ranking->last[joins[i].id];
            last = end > last ? end : last;
            one = one && joins[i].id == joins[first].id;
            ranking->scores[joins[i].id] = score;
        }
        if (!one && !are_runs(ranking, first, last))
            return refuse(ranking->model, first,
                          "makes a token that later ones make, too, with others between: no score "
                          "of the token says that");
    }
    return 0;
}

static int compare_joins(const void *a, const void *b)
{
    const struct join *left = a, *right = b;
    if (left->id != right->id)
        return left->id < right->id ? -1 : 1;
    return (left->left > right->left) - (left->left < right->left);
}

/* All merges that the tokenizer would do, and each once. */
static int check_joins(struct ranking *ranking)
{
    const struct huggingface_tokens *tokens = ranking->index->tokens;
    const char *place = ranking->model->place;
    struct error *err = ranking->model->err;
    qsort(ranking->joins, ranking->n_joins, sizeof *ranking->joins, compare_joins);
    for (size_t i = 1; i < ranking->n_joins; i++)
        if (compare_joins(&ranking->joins[i - 1], &ranking->joins[i]) == 0)
            return error_set(err,
                             "%s: \"model.merges\" make token \"%s\" twice from the same parts",
                             place, text_printable(tokens->texts[ranking->joins[i].id]).chars);
    for (size_t id = 0; id < tokens->n; id++) {
        struct text text = tokens->texts[id];
        if (tokens->types[id] != HUGGINGFACE_NORMAL || text.length == 0)
            continue;
        if (text.length > PIECE_BYTES_MAX)
            return error_set(err, "%s: token %zu has %zu bytes, expected at most %d", place, id,
                             text.length, PIECE_BYTES_MAX);
        uint32_t ways = count_ways(ranking->index, text);
        if (ways != ranking->ways[id])
            return error_set(err,
                             "%s: \"model.merges\" make token \"%s\" in %u ways, but by its parts "
                             "there are %u: no score of the token says that",
                             place, text_printable(text).chars, (unsigned)ranking->ways[id],
                             (unsigned)ways);
    }
    return 0;
}

static int check_bytes(const struct huggingface_tokens *tokens, struct json_object *model)
{
    size_t n = 0;
    for (size_t id = 0; id < tokens->n; id++)
        n += tokens->types[id] == HUGGINGFACE_BYTE;
    if (n == 256)
        return 0;
    return error_set(model->err, "%s: \"model.vocab\" has %zu tokens of bytes, expected 256",
                     model->place, n);
}

int huggingface_merges_score(const struct huggingface_tokens *tokens, struct json_object *model,
                             const cJSON *merges, struct key_writer *writer)
{
    struct index index = {0};
    if (check_bytes(tokens, model) != 0 || make_index(&index, tokens, model->err) != 0)
        return -1;
    size_t n = count(merges);
    struct ranking ranking = {
        .index = &index,
        .model = model,
        .joins = size_alloc(n, sizeof *ranking.joins),
        .n_joins = n,
        .last = calloc(tokens->n, sizeof *ranking.last),
        .ways = calloc(tokens->n, sizeof *ranking.ways),
        .scores = calloc(tokens->n, sizeof *ranking.scores),
    };
    int result = -1;
    if (!ranking.joins || !ranking.last || !ranking.ways || !ranking.scores)
        error_memory(model->err, "the merges", n * sizeof *ranking.joins);
    else if (read_joins(&ranking, merges) == 0 && rank_joins(&ranking) == 0)
        result = check_joins(&ranking);
    if (result == 0)
        key_writer_floats(writer, "scores", ranking.scores, tokens->n);
    free(index.slots);
    free(ranking.joins);
    free(ranking.last);
    free(ranking.ways);
    free(ranking.scores);
    return result == 0 && !writer->failed ? 0 : -1;
}
