/* perplexity: how well models expect texts, over length. See perplexity.h and docs/perplexity.md.
 *
 * All models are opened and all texts read before anything is measured, so that what cannot work is
 * said at once and the time can be estimated. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "commands/commands.h"
#include "commands/interrupt.h"
#include "commands/perplexity/perplexity_sweep.h"

static int read_sources(struct sweep *sweep, struct error *err)
{
    const struct option_list *files = &sweep->options->files;
    int n = files->n > 0 ? files->n : 1;
    sweep->sources = calloc((size_t)n, sizeof *sweep->sources);
    if (!sweep->sources)
        return error_memory(err, "texts", (size_t)n * sizeof *sweep->sources);
    sweep->n_sources = n;
    for (int i = 0; i < n; i++) {
        struct options options = *sweep->options;
        struct source *source = &sweep->sources[i];
        options.file = files->n > 0 ? files->items[i] : NULL;
        source->name = files->n > 0 ? files->items[i] : "standard input";
        if (engine_read_text(&options, &source->text, &source->length, err))
            return -1;
    }
    return 0;
}

static int begin_table(struct sweep *sweep, struct error *err)
{
    output_clear(&sweep->output);
    if (sweep->table)
        return 0;
    sweep->table = true;
    return report_head(sweep, err);
}

/* Says that a measurement failed, unless it is the only one: then the end of the command does. */
static int note_failure(struct sweep *sweep, const char *model, int64_t length, bool only,
                        const struct error *failure, struct error *err)
{
    if (sweep->n_failed++ == 0)
        sweep->failure = *failure;
    if (only && !sweep->options->json)
        return 0;
    return begin_table(sweep, err) || report_failure(sweep, model, length, failure, err) ? -1 : 0;
}

/* A model that cannot be opened is left out; the others go on. */
static int open_subjects(struct sweep *sweep, struct error *err)
{
    const struct option_list *models = &sweep->options->models;
    int n = models->n > 0 ? models->n : 1;
    sweep->subjects = calloc((size_t)n, sizeof *sweep->subjects);
    if (!sweep->subjects)
        return error_memory(err, "models", (size_t)n * sizeof *sweep->subjects);
    for (int i = 0; i < n; i++) {
        const char *model = models->n > 0 ? models->items[i] : NULL;
        struct subject *subject = &sweep->subjects[sweep->n_subjects];
        struct error failure;
        if (subject_open(subject, &sweep->plan, sweep->options, model, sweep->sources,
                         sweep->n_sources, &failure) == 0) {
            sweep->n_subjects++;
            continue;
        }
        bool misused = subject->engine.misused && sweep->n_subjects == 0;
        subject_close(subject);
        if (misused) { /* a wrong notation is wrong for all of them */
            *err = failure;
            return EXIT_USAGE;
        }
        if (note_failure(sweep, model ? model : "", 0, n == 1, &failure, err))
            return -1;
    }
    return 0;
}

/* Text that is not scored is said to be. */
static void note_texts(struct sweep *sweep, const struct subject *subject)
{
    for (int i = 0; i < subject->n_sources; i++)
        if (subject->tokens[i].n < subject->tokens[i].whole)
            output_note(&sweep->output, "%s: the first %lld of %lld tokens (--tokens)",
                        sweep->sources[i].name, (long long)subject->tokens[i].n,
                        (long long)subject->tokens[i].whole);
    const struct plan *plan = &sweep->plan;
    bool many = plan->mode == MODE_CHUNKED || plan->mode == MODE_SLIDING;
    if (many && subject->n_points < plan->n_lengths)
        output_note(&sweep->output, "%s: no text for lengths over %lld", subject->name,
                    (long long)subject->points[subject->n_points - 1].length);
}

static void note_point(struct sweep *sweep, const struct subject *subject,
                       const struct point *point, int64_t restored)
{
    int64_t k = 0;
    for (int i = 0; i < subject->n_sources; i++) {
        int64_t begin = k;
        while (k < point->n_stretches && point->stretches[k].file == i)
            k++;
        if (k == begin)
            output_note(&sweep->output, "%s at %lld: %s is too short", subject->name,
                        (long long)point->length, sweep->sources[i].name);
    }
    if (restored > 0)
        output_note(&sweep->output, "%s at %lld: %lld of %lld segments are in %s", subject->name,
                    (long long)point->length, (long long)restored, (long long)point->n_stretches,
                    sweep->record.parts_path);
}

/* Lays out all points, and takes from the record what is there. */
static int lay_points(struct sweep *sweep, struct error *err)
{
    int n = 0;
    for (int i = 0; i < sweep->n_subjects; i++)
        n += sweep->subjects[i].n_points;
    for (int i = 0; i < sweep->n_subjects; i++) {
        struct subject *subject = &sweep->subjects[i];
        if (i == 0)
            note_texts(sweep, subject);
        for (int k = 0; k < subject->n_points; k++) {
            struct point *point = &subject->points[k];
            int64_t length = point->length;
            struct error failure;
            if (point_lay(point, subject, &sweep->plan, sweep->sources, length, &failure)) {
                if (note_failure(sweep, subject->name, length, n == 1 && sweep->n_failed == 0,
                                 &failure, err))
                    return -1;
                continue;
            }
            note_point(sweep, subject, point, record_restore(&sweep->record, point));
            sweep->cost += point_cost(point, subject);
        }
    }
    return 0;
}

static int estimate(struct sweep *sweep, struct error *err)
{
    double speed;
    if (!sweep->output.notes || sweep->cost == 0 || sweep->n_subjects == 0)
        return 0;
    if (measure_speed(&sweep->subjects[0], &speed, err))
        return -1;
    output_note(&sweep->output, "about %s", output_duration(sweep->cost / speed).text);
    return 0;
}

static bool on_progress(void *context, double share)
{
    struct sweep *sweep = context;
    char what[160];
    double done = (sweep->cost_done + share * sweep->current_cost) / sweep->cost;
    double passed = output_now() - sweep->started;
    snprintf(what, sizeof what, "%s at %lld", sweep->current_name,
             (long long)sweep->current->length);
    if (done < 1 && passed - sweep->drawn > 0.1) {
        sweep->drawn = passed;
        output_share(&sweep->output, what, done, passed * (1 - done) / done);
    }
    return !interrupt_seen();
}

static int keep_stretch(void *context, const struct point *point, int64_t stretch,
                        const struct effort *effort, struct error *err)
{
    struct sweep *sweep = context;
    sweep->record.failed = record_stretch(&sweep->record, point, stretch, effort, err) != 0;
    return sweep->record.failed ? -1 : 0;
}

static int finish_point(struct sweep *sweep, const struct subject *subject,
                        const struct point *point, struct error *err)
{
    struct row *rows;
    int n_rows;
    if (rows_make(point, sweep->plan.seed, &rows, &n_rows, err))
        return -1;
    int result = begin_table(sweep, err);
    if (result == 0)
        result =
            report_point(sweep, subject, point, rows, n_rows, err) ||
                    record_rows(&sweep->record, subject, &sweep->plan, point, rows, n_rows, err) ||
                    picture_add(&sweep->picture, subject, point, rows, n_rows, err)
                ? -1
                : 0;
    free(rows);
    return result;
}

/* Measures and reports one point. What fails with it is noted, and only what concerns all points
 * (a full disk, a closed standard output) is an error. */
static int run_point(struct sweep *sweep, struct subject *subject, struct point *point,
                     struct error *err)
{
    struct error failure;
    sweep->current = point;
    sweep->current_name = subject->name;
    sweep->current_cost = point_cost(point, subject);
    int result = measure_point(subject, point, on_progress, keep_stretch, sweep, &failure);
    sweep->cost_done += sweep->current_cost;
    if (sweep->record.failed) {
        *err = failure;
        return -1;
    }
    if (result) {
        bool only = sweep->n_subjects == 1 && subject->n_points == 1;
        return note_failure(sweep, subject->name, point->length, only, &failure, err);
    }
    return interrupt_seen() ? 0 : finish_point(sweep, subject, point, err);
}

static int run_points(struct sweep *sweep, struct error *err)
{
    sweep->started = output_now();
    for (int i = 0; i < sweep->n_subjects; i++)
        for (int k = 0; k < sweep->subjects[i].n_points && !interrupt_seen(); k++) {
            struct point *point = &sweep->subjects[i].points[k];
            if (point->n_stretches > 0 && run_point(sweep, &sweep->subjects[i], point, err))
                return -1;
        }
    output_clear(&sweep->output);
    return 0;
}

/* The training length that all models share, for the picture. */
static int common_train_length(const struct sweep *sweep)
{
    int length = sweep->n_subjects > 0 ? sweep->subjects[0].engine.train_length : 0;
    for (int i = 1; i < sweep->n_subjects; i++)
        if (sweep->subjects[i].engine.train_length != length)
            return 0;
    return length;
}

/* Ends in an exit code: all that was asked for, or not. */
static int finish(struct sweep *sweep, struct error *err)
{
    if (sweep->picture.plot.n_series > 0 &&
        picture_write(&sweep->picture, sweep->options, &sweep->plan, err))
        return -1;
    if (interrupt_seen()) {
        output_note(&sweep->output, sweep->record.open
                                        ? "interrupted; the same command goes on from here"
                                        : "interrupted; what was measured of this length is lost");
        return EXIT_INTERRUPTED;
    }
    if (sweep->n_failed == 0)
        return EXIT_OK;
    *err = sweep->failure;
    return sweep->n_failed == 1 ? -1 : error_prefix(err, "%d failed; the first", sweep->n_failed);
}

static int run_all(struct sweep *sweep, struct error *err)
{
    const struct options *o = sweep->options;
    if (plan_make(&sweep->plan, o, err))
        return EXIT_USAGE;
    int result = picture_open(&sweep->picture, o, err) || read_sources(sweep, err) ||
                         (o->csv && record_open(&sweep->record, o->csv, err))
                     ? -1
                     : open_subjects(sweep, err);
    if (result == 0)
        result = lay_points(sweep, err) || estimate(sweep, err) || run_points(sweep, err) ? -1 : 0;
    struct error ignored;
    sweep->picture.plot.mark = common_train_length(sweep);
    if (result == 0)
        return finish(sweep, err);
    if (sweep->picture.plot.n_series > 0)
        picture_write(&sweep->picture, o, &sweep->plan, &ignored);
    return result;
}

int command_perplexity(const struct options *options, struct error *err)
{
    struct sweep sweep = {.options = options};
    struct error ignored;
    output_open(&sweep.output, options);
    interrupt_watch();
    int code = run_all(&sweep, err);
    output_clear(&sweep.output);
    if (record_close(&sweep.record, code == EXIT_OK ? err : &ignored) && code == EXIT_OK)
        code = -1;
    for (int i = 0; i < sweep.n_subjects; i++)
        subject_close(&sweep.subjects[i]);
    for (int i = 0; i < sweep.n_sources; i++)
        free(sweep.sources[i].text);
    picture_close(&sweep.picture);
    free(sweep.subjects);
    free(sweep.sources);
    return code;
}
