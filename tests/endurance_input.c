/* endurance_input: see endurance_input.h. */
#include "tests/endurance_input.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/size.h"

void endurance_demand(int result, const struct error *err)
{
    if (result == 0)
        return;
    fprintf(stderr, "endurance: %s\n", err->text);
    exit(1);
}

void *endurance_alloc(size_t n, size_t item)
{
    struct error err;
    void *memory = size_alloc(n, item);
    endurance_demand(memory ? 0 : error_memory(&err, "the run", n * item), &err);
    return memset(memory, 0, n * item);
}

void input_open(struct input *input, const char *path)
{
    struct error err;
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    snprintf(input->name, sizeof input->name, "%.*s", (int)strcspn(base, "."), base);
    endurance_demand(checkpoint_open(&input->checkpoint, path, &err), &err);
    endurance_demand(model_open(&input->model, &input->checkpoint, NULL, &err), &err);
    int vocab_size = input->model.config.vocab_size;
    if (metadata_find(&input->checkpoint.metadata, "tokenizer.ggml.model")) {
        endurance_demand(tokenizer_open(&input->tokenizer, &input->checkpoint.metadata, &err),
                         &err);
    } else {
        char beside[512];
        snprintf(beside, sizeof beside, "%.*stok%d.bin", (int)(base - path), path, vocab_size);
        endurance_demand(tokenizer_open_llama2c(&input->tokenizer, beside, vocab_size, &err), &err);
    }
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

bool input_read_text(struct input *input, size_t n_tokens)
{
    struct error err;
    struct dirent **entries;
    char folder[256];
    const char *root = getenv("LONGHAND_SHARED");
    snprintf(folder, sizeof folder, "%s/data/novels/test", root ? root : "../shared");
    int n = scandir(folder, &entries, visible, alphasort);
    for (int i = 0; n > 0 && input->text.n < n_tokens; i = (i + 1) % n) {
        char path[sizeof folder + sizeof entries[i]->d_name];
        struct file file;
        struct encode_options options = {.add_special = input->text.n == 0};
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        endurance_demand(file_open(&file, path, &err), &err);
        endurance_demand(tokenizer_encode(input->tokenizer, (const char *)file.data, file.size,
                                          options, &input->text, &err),
                         &err);
        file_close(&file);
    }
    for (int i = 0; i < n; i++)
        free(entries[i]);
    if (n >= 0)
        free(entries);
    if (n <= 0)
        printf("skipped: %s is absent\n", folder);
    return n > 0;
}

void input_close(struct input *input)
{
    token_list_free(&input->text);
    tokenizer_close(input->tokenizer);
    model_close(&input->model);
    checkpoint_close(&input->checkpoint);
    *input = (struct input){0};
}
