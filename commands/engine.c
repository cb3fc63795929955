/* engine: see engine.h. */
#include "commands/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands/commands.h"
#include "model/weights.h"
#include "tokenizer/utf8.h"

enum { MAX_PATH = 4096 };

static const char shipped_model[] = "longhand.gguf";

/* Where the shipped model lies, seen from the executable. */
static int find_shipped_model(char *path, size_t size, struct error *err)
{
    static const char *const places[] = {"models", "../share/longhand"};
    char executable[MAX_PATH];
    ssize_t length = readlink("/proc/self/exe", executable, sizeof executable - 1);
    if (length <= 0)
        return error_set(err, "no model given (-m), and the place of the executable is unknown");
    executable[length] = '\0';
    *strrchr(executable, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int n = snprintf(path, size, "%s/%s/%s", executable, places[i], shipped_model);
        if (n > 0 && (size_t)n < size && access(path, R_OK) == 0)
            return 0;
    }
    return error_set(
        err, "no model given (-m), and %s is neither in %s/models nor in %s/../share/longhand",
        shipped_model, executable, executable);
}

int engine_open_checkpoint(struct engine *engine, const struct options *options, struct error *err)
{
    char path[2 * MAX_PATH];
    if (!options->model && find_shipped_model(path, sizeof path, err))
        return -1;
    return checkpoint_open(&engine->checkpoint, options->model ? options->model : path, err);
}

static int open_tokenizer_file(struct engine *engine, const char *path, struct error *err)
{
    int vocab_size = weights_vocab_size(&engine->checkpoint, err);
    if (vocab_size < 0)
        return -1;
    return tokenizer_open_llama2c(&engine->tokenizer, path, vocab_size, err);
}

int engine_open_tokenizer(struct engine *engine, const struct options *options, struct error *err)
{
    if (options->tokenizer)
        return open_tokenizer_file(engine, options->tokenizer, err);
    if (!metadata_find(&engine->checkpoint.metadata, "tokenizer.ggml.model"))
        return error_set(err, "%s: holds no tokenizer; name its file with --tokenizer",
                         engine->checkpoint.path);
    return tokenizer_open(&engine->tokenizer, &engine->checkpoint.metadata, err);
}

enum { PREFAULT_BYTES = 16 << 20 };

static void prefault_piece(void *context, int begin, int end, int thread)
{
    (void)thread;
    for (int i = begin; i < end; i++)
        file_prefault(context, (size_t)i * PREFAULT_BYTES, PREFAULT_BYTES);
}

/* The first token reads all weights: thousands of page faults, unless they are mapped in at one go.
 * A model that might not fit in memory is left alone, since later pages would push out earlier
 * ones. */
static void prefault_weights(struct checkpoint *checkpoint)
{
    size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < checkpoint->n_files; i++) {
        size_t size = checkpoint->files[i].size;
        if (size <= memory / 2 / (size_t)checkpoint->n_files)
            parallel_for((int)((size + PREFAULT_BYTES - 1) / PREFAULT_BYTES), 1, prefault_piece,
                         &checkpoint->files[i]);
    }
}

/* Options of rotation mean nothing to a model that has none, and are not ignored in silence. */
static int check_rope(const struct engine *engine, const struct rope_override *rope,
                      struct error *err)
{
    const struct model *model = &engine->model;
    bool scales = false;
    bool rotates = false;
    for (int i = 0; i < model->n_positions; i++) {
        const struct layer_config *layer = model->positions[i].layer;
        scales = scales || (layer->position == POSITION_ROPE && layer->rope_scaling);
        rotates = rotates || model->positions[i].rotated > 0;
    }
    const char *name = rope->kind >= 0 && !scales    ? "--rope-scaling"
                       : rope->factor > 0 && !scales ? "--rope-factor"
                       : rope->base > 0 && !rotates  ? "--rope-base"
                                                     : NULL;
    if (!name)
        return 0;
    return error_set(err, "%s: %s: the model's position scheme is \"%s\", expected rope",
                     engine->checkpoint.path, name, model->positions[0].scheme->name);
}

int engine_open_model(struct engine *engine, const struct options *options, struct error *err)
{
    struct model_options model = {.isa = options->isa, .rope = &options->rope};
    if (model_open(&engine->model, &engine->checkpoint, &model, err) ||
        check_rope(engine, &options->rope, err))
        return -1;
    engine->train_length = options->rope.train_length > 0 ? options->rope.train_length
                                                          : engine->model.config.train_length;
    engine->misused = options->context && context_parse(&engine->context, options->context,
                                                        engine->train_length, err) != 0;
    return engine->misused ? -1 : 0;
}

int engine_open(struct engine *engine, const struct options *options, struct error *err)
{
    *engine = (struct engine){0};
    if (engine_open_checkpoint(engine, options, err) || engine_open_model(engine, options, err) ||
        engine_open_tokenizer(engine, options, err))
        return -1;
    if (tokenizer_size(engine->tokenizer) > engine->model.config.vocab_size)
        return error_set(err, "%s: the tokenizer has %d tokens, the embedding %d rows",
                         engine->checkpoint.path, (int)tokenizer_size(engine->tokenizer),
                         engine->model.config.vocab_size);
    prefault_weights(&engine->checkpoint);
    return 0;
}

int engine_open_session(const struct engine *engine, const struct options *options,
                        struct session *session, struct error *err)
{
    struct session_options wanted = {
        .kv = options->kv_type, .context = engine->context, .max_bytes = options->max_memory};
    return session_open(session, &engine->model, &wanted, err);
}

int engine_exit_code(const struct engine *engine, int result)
{
    return engine->misused ? EXIT_USAGE : result;
}

void engine_close(struct engine *engine)
{
    tokenizer_close(engine->tokenizer);
    model_close(&engine->model);
    checkpoint_close(&engine->checkpoint);
    *engine = (struct engine){0};
}

static int read_stream(FILE *f, const char *name, char **text, size_t *length, struct error *err)
{
    size_t capacity = 0;
    *text = NULL;
    *length = 0;
    for (;;) {
        if (*length == capacity) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            char *grown = realloc(*text, capacity);
            if (!grown)
                return error_memory(err, "the text", capacity);
            *text = grown;
        }
        size_t n = fread(*text + *length, 1, capacity - *length, f);
        *length += n;
        if (n == 0)
            break;
    }
    return ferror(f) ? error_set(err, "%s: cannot read: %s", name, strerror(errno)) : 0;
}

/* The text from where the options say, as it is, and as much of it as there is on failure. */
static int read_text(const struct options *options, char **text, size_t *length, struct error *err)
{
    if (options->prompt) {
        *length = strlen(options->prompt);
        *text = strdup(options->prompt);
        return *text ? 0 : error_memory(err, "the text", *length);
    }
    if (!options->file) {
        if (isatty(STDIN_FILENO) == 1)
            return error_set(err, "no text: give -p TEXT, -f FILE or standard input");
        return read_stream(stdin, "standard input", text, length, err);
    }
    FILE *f = fopen(options->file, "re");
    if (!f)
        return error_set(err, "%s: cannot open: %s", options->file, strerror(errno));
    int result = read_stream(f, options->file, text, length, err);
    fclose(f);
    return result == 0 && *length == 0 ? error_set(err, "%s: is empty", options->file) : result;
}

int engine_check_text(const char *name, const char *text, size_t length, struct error *err)
{
    size_t valid = utf8_valid_prefix(text, length);
    if (valid == length)
        return 0;
    return error_set(err,
                     "%s: byte %zu is 0x%02x, which begins no UTF-8 character: expected UTF-8 text",
                     name, valid, (unsigned)(unsigned char)text[valid]);
}

int engine_read_text(const struct options *options, char **text, size_t *length, struct error *err)
{
    const char *name = options->prompt ? "--prompt"
                       : options->file ? options->file
                                       : "standard input";
    *text = NULL;
    if (read_text(options, text, length, err) == 0 &&
        engine_check_text(name, *text, *length, err) == 0)
        return 0;
    free(*text);
    *text = NULL;
    return -1;
}

/* A family's name, or else a file with a template. */
static int choose_template(struct engine *engine, const char *choice, time_t now,
                           struct chat_template *template, struct error *err)
{
    if (chat_named(template, choice, now, err) == 0)
        return 0;
    engine->misused = access(choice, F_OK) != 0;
    if (engine->misused)
        return error_prefix(err, "--template %s", choice);
    struct file file;
    if (file_open(&file, choice, err))
        return -1;
    struct text text = {(const char *)file.data, file.size};
    int result = chat_recognise(template, text, now, err);
    file_close(&file);
    return result ? error_prefix(err, "%s", choice) : 0;
}

int engine_open_template(struct engine *engine, const struct options *options,
                         struct chat_template *template, struct error *err)
{
    struct text text = {0};
    time_t now = time(NULL);
    if (options->template)
        return choose_template(engine, options->template, now, template, err);
    if (metadata_text(&engine->checkpoint.metadata, "tokenizer.chat_template", OPTIONAL, &text,
                      err))
        return -1;
    if (text.length == 0)
        return 0;
    return chat_recognise(template, text, now, err)
               ? error_prefix(err, "%s", engine->checkpoint.path)
               : 0;
}
