/* llama2c: reads the legacy checkpoint of llama2.c and presents it with GGUF names and keys.
 *
 *   int32 dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len
 *   float32 weights in the order of `parts`, each kind for all layers before the next kind
 *
 * There is no magic: a file is one when its header is plausible and its size is exactly what the
 * header promises. A negative vocab_size says that the classifier has weights of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "model/formats.h"

enum { HEADER_BYTES = 7 * 4, NAME_BYTES = 32 };

/* Bounds that no real file reaches; within them no product or sum below can overflow 64 bits. */
enum { MAX_WIDTH = 1 << 18, MAX_LAYERS = 1 << 10, MAX_VOCAB = 1 << 24, MAX_SEQ_LEN = 1 << 28 };

struct header {
    uint64_t dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len;
    bool tied;
};

enum extent { ONE, DIM, KV_DIM, HIDDEN_DIM, HEAD_DIM, VOCAB, OWN_VOCAB, SEQ_LEN, EXTENT_COUNT };

static const struct {
    const char *name; /* NULL: skipped */
    enum extent columns, rows;
    bool per_layer;
} parts[] = {
    {"token_embd.weight", DIM, VOCAB, false},
    {"attn_norm.weight", DIM, ONE, true},
    {"attn_q.weight", DIM, DIM, true},
    {"attn_k.weight", DIM, KV_DIM, true},
    {"attn_v.weight", DIM, KV_DIM, true},
    {"attn_output.weight", DIM, DIM, true},
    {"ffn_norm.weight", DIM, ONE, true},
    {"ffn_gate.weight", DIM, HIDDEN_DIM, true},
    {"ffn_down.weight", HIDDEN_DIM, DIM, true},
    {"ffn_up.weight", DIM, HIDDEN_DIM, true},
    {"output_norm.weight", DIM, ONE, false},
    {NULL, HEAD_DIM, SEQ_LEN, false}, /* cosines and sines of RoPE */
    {"output.weight", DIM, OWN_VOCAB, false},
};
enum { N_PARTS = sizeof parts / sizeof parts[0] };

static bool within(int32_t value, int32_t max)
{
    return value >= 1 && value <= max;
}

static bool read_header(const struct file *file, struct header *header)
{
    int32_t raw[7];
    struct cursor in = cursor_over(file->data, file->size);
    for (int i = 0; i < 7; i++)
        raw[i] = (int32_t)cursor_u32(&in);
    int32_t vocab = raw[5] == INT32_MIN ? 0 : abs(raw[5]);
    if (in.failed || !within(raw[0], MAX_WIDTH) || !within(raw[1], MAX_WIDTH) ||
        !within(raw[2], MAX_LAYERS) || !within(raw[3], raw[0]) || !within(raw[4], raw[3]) ||
        !within(vocab, MAX_VOCAB) || !within(raw[6], MAX_SEQ_LEN))
        return false;
    if (raw[0] % (2 * raw[3]) != 0 || raw[3] % raw[4] != 0) /* RoPE turns pairs: heads are even */
        return false;
    *header = (struct header){
        .dim = (uint64_t)raw[0],
        .hidden_dim = (uint64_t)raw[1],
        .n_layers = (uint64_t)raw[2],
        .n_heads = (uint64_t)raw[3],
        .n_kv_heads = (uint64_t)raw[4],
        .vocab_size = (uint64_t)vocab,
        .seq_len = (uint64_t)raw[6],
        .tied = raw[5] > 0,
    };
    return true;
}

static void measure(const struct header *header, uint64_t extents[EXTENT_COUNT])
{
    uint64_t head_dim = header->dim / header->n_heads;
    extents[ONE] = 1;
    extents[DIM] = header->dim;
    extents[KV_DIM] = header->n_kv_heads * head_dim;
    extents[HIDDEN_DIM] = header->hidden_dim;
    extents[HEAD_DIM] = head_dim;
    extents[VOCAB] = header->vocab_size;
    extents[OWN_VOCAB] = header->tied ? 0 : header->vocab_size;
    extents[SEQ_LEN] = header->seq_len;
}

uint64_t llama2c_bytes(const struct file *file)
{
    struct header header;
    if (!read_header(file, &header))
        return 0;
    uint64_t extents[EXTENT_COUNT], weights = 0;
    measure(&header, extents);
    for (size_t i = 0; i < N_PARTS; i++)
        weights += extents[parts[i].columns] * extents[parts[i].rows] *
                   (parts[i].per_layer ? header.n_layers : 1);
    return HEADER_BYTES + weights * sizeof(float);
}

bool llama2c_matches(const struct file *file)
{
    uint64_t bytes = llama2c_bytes(file);
    return bytes > 0 && bytes == file->size;
}

static int add_metadata(struct metadata *metadata, const struct header *header, struct error *err)
{
    const struct {
        const char *key;
        uint64_t value;
    } integers[] = {
        {"llama.block_count", header->n_layers},
        {"llama.context_length", header->seq_len},
        {"llama.embedding_length", header->dim},
        {"llama.feed_forward_length", header->hidden_dim},
        {"llama.attention.head_count", header->n_heads},
        {"llama.attention.head_count_kv", header->n_kv_heads},
        {"llama.rope.dimension_count", header->dim / header->n_heads},
        {"llama.vocab_size", header->vocab_size},
    };
    const struct {
        const char *key;
        float value;
    } floats[] = {
        {"llama.attention.layer_norm_rms_epsilon", 1e-5f},
        {"llama.rope.freq_base", 10000.0f},
    };
    struct metadata_value value = {.type = METADATA_STRING, .text = {"llama", 5}};
    const char *key = "general.architecture";
    if (metadata_add(metadata, (struct text){key, strlen(key)}, value, err) != 0)
        return -1;
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        key = integers[i].key;
        value = (struct metadata_value){.type = METADATA_U32, .u = integers[i].value};
        if (metadata_add(metadata, (struct text){key, strlen(key)}, value, err) != 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        key = floats[i].key;
        value = (struct metadata_value){.type = METADATA_F32, .f = (double)floats[i].value};
        if (metadata_add(metadata, (struct text){key, strlen(key)}, value, err) != 0)
            return -1;
    }
    return metadata_sort(metadata, err);
}

static int add_tensors(struct checkpoint *checkpoint, const struct header *header,
                       struct error *err)
{
    size_t n = N_PARTS * (size_t)header->n_layers;
    char(*names)[NAME_BYTES] = checkpoint_own(checkpoint, n, sizeof *names, "tensor names", err);
    if (!names)
        return -1;
    if (checkpoint_reserve_tensors(checkpoint, n, err) != 0)
        return -1;
    uint64_t extents[EXTENT_COUNT];
    measure(header, extents);
    struct tensor_claim claim = {.format = FORMAT_F32, .offset = HEADER_BYTES};
    for (size_t i = 0; i < N_PARTS; i++) {
        uint64_t columns = extents[parts[i].columns], rows = extents[parts[i].rows];
        uint64_t copies = parts[i].per_layer ? header->n_layers : 1;
        claim.n_dims = parts[i].rows == ONE ? 1 : 2;
        claim.shape[0] = columns;
        claim.shape[1] = rows;
        for (uint64_t layer = 0; layer < copies && rows > 0; layer++) {
            if (parts[i].name) {
                char *name = *names++;
                if (parts[i].per_layer)
                    snprintf(name, NAME_BYTES, "blk.%d.%s", (int)layer, parts[i].name);
                else
                    snprintf(name, NAME_BYTES, "%s", parts[i].name);
                claim.name = (struct text){name, strlen(name)};
                if (checkpoint_add_tensor(checkpoint, &claim, err) != 0)
                    return -1;
            }
            claim.offset += columns * rows * sizeof(float);
        }
    }
    return 0;
}

int llama2c_read(struct checkpoint *checkpoint, struct error *err)
{
    struct header header;
    if (!read_header(&checkpoint->files[0], &header))
        return error_set(err, "%s: the header of a llama2.c checkpoint was expected",
                         checkpoint->path);
    checkpoint->container = "llama2.c";
    checkpoint->metadata.place = checkpoint->paths[0];
    if (add_metadata(&checkpoint->metadata, &header, err) != 0)
        return -1;
    return add_tensors(checkpoint, &header, err);
}
