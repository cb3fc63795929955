/* passkey: finds out from where in how long a text a model still tells a key that it was shown. See
 * passkey.h. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "commands/commands.h"
#include "commands/hash.h"
#include "commands/interrupt.h"
#include "commands/passkey/passkey.h"
#include "commands/pictures/heatmap.h"

struct sweep {
    const struct options *options;
    struct passkey_plan plan;
    struct output output;
    struct engine engine;
    struct asker asker;
    struct wording wording;
    struct prompt prompt;
    struct passkey_record record;
    FILE *picture;
    char what[1024];        /* what the results depend on, as the first columns of the record */
    double *shares;         /* (n_depths, n_lengths) */
    double work_done, work; /* tokens, roughly */
};

/* ---- Cells ----------------------------------------------------------------------------------- */

/* A number that depends on the seed, the cell and its place there, and on no other cell. */
static void draw_key(const struct sweep *sweep, const struct cell *cell, int number, char *key)
{
    uint64_t depth = (uint64_t)llround(cell->depth * 1e6);
    uint64_t parts[] = {sweep->plan.seed, (uint64_t)cell->length, depth, (uint64_t)number};
    uint64_t hash = hash_bytes(HASH_START, parts, sizeof parts);
    int choices = sweep->wording.last_key - sweep->wording.first_key + 1;
    snprintf(key, KEY_BYTES, "%d", sweep->wording.first_key + (int)(hash % (unsigned)choices));
}

static int add_answer(cJSON *answers, const char *key, const struct answer *answer,
                      struct error *err)
{
    if (!answers)
        return 0;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "key", key);
    cJSON_AddStringToObject(object, "answer", answer->text);
    cJSON_AddBoolToObject(object, "right", answer->right);
    if (object && cJSON_AddItemToArray(answers, object))
        return 0;
    cJSON_Delete(object);
    return error_set(err, "out of memory: a line of JSON");
}

static int measure_cell(struct sweep *sweep, struct cell *cell, cJSON *answers, struct error *err)
{
    double started = output_now();
    for (int i = 0; i < cell->n_keys && !interrupt_seen(); i++) {
        char key[KEY_BYTES];
        struct answer answer;
        draw_key(sweep, cell, i, key);
        if (prompt_make(&sweep->prompt, &sweep->wording, sweep->engine.tokenizer, key, cell->length,
                        cell->depth, err) ||
            asker_ask(&sweep->asker, &sweep->prompt.ids, key, &answer, err) ||
            add_answer(answers, key, &answer, err))
            return -1;
        int64_t n = (int64_t)sweep->prompt.ids.n;
        cell->n_tokens = n > cell->n_tokens ? n : cell->n_tokens;
        cell->n_right += answer.right;
        sweep->work_done += (double)cell->length;
        if (sweep->work_done < sweep->work)
            output_progress(&sweep->output, "tokens of prompts", (int64_t)sweep->work_done,
                            (int64_t)sweep->work);
    }
    cell->seconds = output_now() - started;
    cell->done = !interrupt_seen();
    return 0;
}

static int report_cell(const struct sweep *sweep, const struct cell *cell, cJSON *answers,
                       struct error *err)
{
    char context[CONTEXT_TEXT_BYTES];
    if (!sweep->options->json)
        return 0;
    cJSON *object = cJSON_CreateObject();
    context_text(&sweep->engine.context, context, sizeof context);
    cJSON_AddStringToObject(object, "model", sweep->engine.checkpoint.path);
    cJSON_AddStringToObject(object, "context", context);
    cJSON_AddStringToObject(object, "wording", sweep->wording.name);
    cJSON_AddNumberToObject(object, "seed", (double)sweep->plan.seed);
    cJSON_AddNumberToObject(object, "length", (double)cell->length);
    cJSON_AddNumberToObject(object, "depth", cell->depth);
    cJSON_AddNumberToObject(object, "tokens", (double)cell->n_tokens);
    cJSON_AddNumberToObject(object, "keys", cell->n_keys);
    cJSON_AddNumberToObject(object, "right", cell->n_right);
    cJSON_AddNumberToObject(object, "share", (double)cell->n_right / cell->n_keys);
    cJSON_AddNumberToObject(object, "seconds", cell->seconds);
    if (cJSON_GetArraySize(answers) > 0)
        cJSON_AddItemReferenceToObject(object, "answers", answers);
    return output_json(object, err);
}

static int run_cell(struct sweep *sweep, int column, int row, struct error *err)
{
    struct cell cell = {.length = sweep->plan.lengths[column],
                        .depth = sweep->plan.depths[row],
                        .n_keys = sweep->plan.n_keys};
    char what[1200];
    snprintf(what, sizeof what, "%s,%lld,%.8g", sweep->what, (long long)cell.length, cell.depth);
    cJSON *answers = sweep->options->json ? cJSON_CreateArray() : NULL;
    bool found = passkey_record_find(&sweep->record, what, &cell);
    if (found)
        sweep->work -= (double)cell.length * cell.n_keys;
    int result = found ? 0 : measure_cell(sweep, &cell, answers, err);
    if (result)
        error_prefix(err, "at %lld tokens and %g %%", (long long)cell.length, cell.depth);
    if (result == 0 && cell.done) {
        sweep->shares[row * sweep->plan.n_lengths + column] = (double)cell.n_right / cell.n_keys;
        result = (!found && passkey_record_add(&sweep->record, what, &cell, err)) ||
                         report_cell(sweep, &cell, answers, err)
                     ? -1
                     : 0;
    }
    cJSON_Delete(answers);
    return result;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static void put_quoted(char *out, size_t size, const char *text)
{
    size_t used = strlen(out);
    if (used + 3 < size)
        out[used++] = '"';
    for (; *text && used + 4 < size; text++) {
        if (*text == '"')
            out[used++] = '"';
        out[used++] = *text < ' ' && *text >= 0 ? ' ' : *text;
    }
    out[used++] = '"';
    out[used++] = ',';
    out[used] = '\0';
}

enum { HASHED_BYTES = 1 << 20 };

/* Of the files' sizes and both ends: a model that was trained on or converted anew differs there.
 */
static uint64_t identity(const struct sweep *sweep)
{
    uint64_t hash = HASH_START;
    for (int i = 0; i < sweep->engine.checkpoint.n_files; i++) {
        const struct file *file = &sweep->engine.checkpoint.files[i];
        size_t n = file->size < HASHED_BYTES ? file->size : HASHED_BYTES;
        hash = hash_bytes(hash, &file->size, sizeof file->size);
        hash = hash_bytes(hash, file->data, n);
        hash = hash_bytes(hash, file->data + file->size - n, n);
    }
    struct text parts[] = {sweep->wording.head, sweep->wording.needle, sweep->wording.tail,
                           sweep->wording.filler};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        hash = hash_bytes(hash, parts[i].bytes, parts[i].length);
    return hash;
}

static void describe(struct sweep *sweep)
{
    char text[256] = "";
    const struct model *model = &sweep->engine.model;
    for (int i = 0; i < model->n_positions; i++) {
        char scheme[2 * POSITION_NAME_BYTES];
        size_t used = strlen(text);
        position_describe(&model->positions[i], scheme, sizeof scheme);
        snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? " | " : "", scheme);
    }
    put_quoted(sweep->what, sizeof sweep->what - 200, sweep->engine.checkpoint.path);
    size_t used = strlen(sweep->what);
    snprintf(sweep->what + used, sizeof sweep->what - used, "%016llx,",
             (unsigned long long)identity(sweep));
    put_quoted(sweep->what, sizeof sweep->what - 150, text);
    context_text(&sweep->engine.context, text, sizeof text);
    put_quoted(sweep->what, sizeof sweep->what - 150, text);
    used = strlen(sweep->what);
    snprintf(sweep->what + used, sizeof sweep->what - used, "%s,%s,",
             format_info[sweep->options->kv_type].name, model->kernels.name);
    put_quoted(sweep->what, sizeof sweep->what - 100, sweep->wording.name);
    used = strlen(sweep->what);
    snprintf(sweep->what + used, sizeof sweep->what - used, "%llu,%d",
             (unsigned long long)sweep->plan.seed, sweep->plan.n_keys);
}

static int open_picture(struct sweep *sweep, const char *path, struct error *err)
{
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    sweep->picture = file >= 0 ? fdopen(file, "w") : NULL;
    if (sweep->picture)
        return 0;
    return error_set(err, "%s: cannot open for writing: %s", path, strerror(errno));
}

static int open_all(struct sweep *sweep, struct error *err)
{
    const struct options *o = sweep->options;
    struct passkey_plan *plan = &sweep->plan;
    if (passkey_plan_make(plan, o, err))
        return EXIT_USAGE;
    if (wording_open(&sweep->wording, o, err))
        return o->wording ? EXIT_USAGE : -1;
    if (engine_open(&sweep->engine, o, err) ||
        session_allows(&sweep->engine.model, &sweep->engine.context, err) ||
        (o->plot && open_picture(sweep, o->plot, err)) ||
        (o->csv && passkey_record_open(&sweep->record, o->csv, err)))
        return -1;
    size_t cells = (size_t)plan->n_lengths * (size_t)plan->n_depths;
    sweep->shares = size_alloc(cells, sizeof *sweep->shares);
    if (!sweep->shares)
        return error_memory(err, "results", cells * sizeof *sweep->shares);
    for (size_t i = 0; i < cells; i++)
        sweep->shares[i] = NAN;
    for (int i = 0; i < plan->n_lengths; i++)
        sweep->work += (double)plan->lengths[i] * plan->n_depths * plan->n_keys;
    describe(sweep);
    return asker_open(&sweep->asker, &sweep->engine, o, err);
}

static int write_picture(struct sweep *sweep, const struct heatmap *map, struct error *err)
{
    FILE *file = sweep->picture;
    if (!file)
        return 0;
    sweep->picture = NULL;
    bool written = ftruncate(fileno(file), 0) == 0 || errno == EINVAL; /* no regular file */
    heatmap_write_svg(map, file);
    written = written && !ferror(file);
    if (fclose(file) == 0 && written)
        return 0;
    return error_set(err, "%s: cannot write: %s", sweep->options->plot, strerror(errno));
}

static int write_maps(struct sweep *sweep, struct error *err)
{
    char title[400];
    struct text path = {sweep->engine.checkpoint.path, strlen(sweep->engine.checkpoint.path)};
    struct text name = {sweep->wording.name, strlen(sweep->wording.name)};
    snprintf(title, sizeof title, "%s: keys told, in percent of %d; wording %s",
             text_printable(path).chars, sweep->plan.n_keys, text_printable(name).chars);
    int trained = 0;
    while (sweep->engine.train_length > 0 && trained < sweep->plan.n_lengths &&
           sweep->plan.lengths[trained] <= sweep->engine.train_length)
        trained++;
    struct heatmap map = {
        .title = title,
        .column_label = "tokens of the prompt",
        .row_label = "depth of the key, percent",
        .columns = sweep->plan.lengths,
        .rows = sweep->plan.depths,
        .shares = sweep->shares,
        .n_columns = sweep->plan.n_lengths,
        .n_rows = sweep->plan.n_depths,
        .boundary = trained,
        .boundary_label = "longer than it was trained for",
    };
    if (write_picture(sweep, &map, err))
        return -1;
    if (sweep->options->json)
        return 0;
    bool colour = isatty(STDOUT_FILENO) == 1 && !getenv("NO_COLOR");
    heatmap_write_text(&map, colour, stdout);
    return output_write("", 0, err);
}

static int run_all(struct sweep *sweep, struct error *err)
{
    int code = open_all(sweep, err);
    if (code != 0)
        return code;
    struct error failure;
    int failed = 0;
    for (int column = 0; column < sweep->plan.n_lengths && !failed; column++)
        for (int row = 0; row < sweep->plan.n_depths && !failed && !interrupt_seen(); row++)
            failed = run_cell(sweep, column, row, &failure);
    output_progress(&sweep->output, "", 0, 0);
    bool any = false;
    for (int i = 0; i < sweep->plan.n_lengths * sweep->plan.n_depths; i++)
        any = any || isfinite(sweep->shares[i]);
    if (any && write_maps(sweep, err))
        return -1;
    if (failed)
        *err = failure;
    if (failed)
        return -1;
    return interrupt_seen() ? EXIT_INTERRUPTED : EXIT_OK;
}

int command_passkey(const struct options *options, struct error *err)
{
    struct sweep sweep = {.options = options};
    struct error ignored;
    output_open(&sweep.output, options);
    interrupt_watch();
    int code = engine_exit_code(&sweep.engine, run_all(&sweep, err));
    if (passkey_record_close(&sweep.record, code == EXIT_OK ? err : &ignored) && code == EXIT_OK)
        code = -1;
    if (sweep.picture)
        fclose(sweep.picture);
    asker_close(&sweep.asker);
    prompt_free(&sweep.prompt);
    wording_close(&sweep.wording);
    engine_close(&sweep.engine);
    free(sweep.shares);
    return code;
}
