/* logits: writes the logits of a token sequence, for scripts/compare.py.
 *
 * usage: logits MODEL IDS OUT [isa] [kv-type] [batch]
 * IDS: int32 little-endian; OUT: float32 (n, vocab_size); batch: tokens fed at a time (default:
 * all) */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "longhand.h"

static int run(int argc, char **argv, struct error *err)
{
    struct checkpoint checkpoint;
    struct model model;
    struct session session;
    struct file ids;
    struct model_options tier = {.isa = argc > 4 && argv[4][0] ? argv[4] : NULL};
    int kv = argc > 5 ? format_from_name(argv[5]) : FORMAT_F32;
    struct session_options options = {.kv = (enum format)kv};
    if (checkpoint_open(&checkpoint, argv[1], err) || model_open(&model, &checkpoint, &tier, err) ||
        session_open(&session, &model, &options, err) || file_open(&ids, argv[2], err))
        return -1;
    int64_t n = (int64_t)(ids.size / sizeof(int32_t));
    int64_t batch = argc > 6 ? strtoll(argv[6], NULL, 10) : n;
    size_t vocab_size = (size_t)model.config.vocab_size;
    float *logits = malloc((size_t)n * vocab_size * sizeof *logits);
    if (!logits)
        return error_set(err, "out of memory");
    for (int64_t i = 0; i < n; i += batch)
        if (session_feed(&session, (const int32_t *)(const void *)ids.data + i,
                         n - i < batch ? n - i : batch, logits + (size_t)i * vocab_size, err))
            return -1;
    FILE *out = fopen(argv[3], "wb");
    if (!out ||
        fwrite(logits, sizeof *logits, (size_t)n * vocab_size, out) != (size_t)n * vocab_size ||
        fclose(out))
        return error_set(err, "%s: cannot write", argv[3]);
    free(logits);
    file_close(&ids);
    session_close(&session);
    model_close(&model);
    checkpoint_close(&checkpoint);
    return 0;
}

int main(int argc, char **argv)
{
    struct error err;
    if (argc < 4) {
        fprintf(stderr, "usage: logits MODEL IDS OUT [isa] [kv-type] [batch]\n");
        return 2;
    }
    if (run(argc, argv, &err)) {
        fprintf(stderr, "logits: %s\n", err.text);
        return 1;
    }
    return 0;
}
