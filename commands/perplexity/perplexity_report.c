/* perplexity_report: results on standard output: a table, or one JSON object a result. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "commands/perplexity/perplexity_sweep.h"

static const char head[] = "%-20s %13s %9s %12s %23s %9s %10s %9s\n";

int report_head(const struct sweep *sweep, struct error *err)
{
    char line[256];
    if (sweep->options->json)
        return 0;
    bool binned = sweep->plan.mode == MODE_POSITIONS || sweep->plan.mode == MODE_STREAMING;
    int n = snprintf(line, sizeof line, head, "model", binned ? "tokens before" : "length",
                     "scored", "perplexity", "95 %", "bits/byte", "tokens/s", "cache");
    return output_write(line, (size_t)n, err);
}

/* A perplexity in a table: five digits, as numbers of a text have them. */
static struct size_text short_number(double x)
{
    struct size_text text;
    int digits = x < 9.99995 ? 4 : x < 99.9995 ? 3 : x < 999.995 ? 2 : x < 9999.95 ? 1 : 0;
    if (!isfinite(x))
        snprintf(text.text, sizeof text.text, "-");
    else if (x < 1e7)
        snprintf(text.text, sizeof text.text, "%.*f", digits, x);
    else
        snprintf(text.text, sizeof text.text, "%.3g", x);
    return text;
}

static void report_line(const struct subject *subject, const struct point *point,
                        const struct row *row, char *line, size_t size)
{
    char place[48];
    char interval[64];
    char perplexity[48];
    double ppl = exp(row->loss);
    if (row->whole && point->n_bins == 1)
        snprintf(place, sizeof place, "%lld", (long long)point->length);
    else if (row->whole)
        snprintf(place, sizeof place, "all");
    else
        snprintf(place, sizeof place, "%lld-%lld", (long long)row->first, (long long)row->last);
    if (isnan(row->low))
        snprintf(interval, sizeof interval, "-");
    else
        snprintf(interval, sizeof interval, "%s - %s", short_number(exp(row->low)).text,
                 short_number(exp(row->high)).text);
    if (isnan(row->loss))
        snprintf(perplexity, sizeof perplexity, "not finite");
    else
        snprintf(perplexity, sizeof perplexity, "%s", short_number(ppl).text);
    size_t n = (size_t)snprintf(line, size, "%-20s %13s %9lld %12s %23s %9s", subject->name, place,
                                (long long)row->tokens, perplexity, interval,
                                short_number(row->bits_per_byte).text);
    if (row->whole && n < size)
        n += (size_t)snprintf(line + n, size - n, " %10.0f %9s",
                              (double)point->effort.n_fed / point->effort.seconds,
                              output_size(point->effort.cache_bytes).text);
    if (row->whole && point->effort.counts.nonfinite > 0 && n < size)
        n += (size_t)snprintf(line + n, size - n, "  logits of %lld tokens not finite",
                              (long long)point->effort.counts.nonfinite);
    if (n < size)
        snprintf(line + n, size - n, "\n");
}

/* A number, or null where there is none. */
static void add_number(cJSON *object, const char *name, double number)
{
    if (isfinite(number))
        cJSON_AddNumberToObject(object, name, number);
    else
        cJSON_AddNullToObject(object, name);
}

static void add_files(cJSON *object, const struct sweep *sweep, const struct subject *subject,
                      const struct point *point)
{
    cJSON *files = cJSON_AddArrayToObject(object, "files");
    for (int i = 0; i < sweep->n_sources; i++) {
        int64_t tokens;
        double loss = rows_file_loss(point, i, &tokens);
        cJSON *file = cJSON_CreateObject();
        cJSON_AddStringToObject(file, "file", sweep->sources[i].name);
        cJSON_AddNumberToObject(file, "tokens", (double)tokens);
        cJSON_AddNumberToObject(file, "tokens_in_file", (double)subject->tokens[i].whole);
        add_number(file, "loss", loss);
        add_number(file, "perplexity", exp(loss));
        cJSON_AddItemToArray(files, file);
    }
}

static int report_object(const struct sweep *sweep, const struct subject *subject,
                         const struct point *point, const struct row *row, struct error *err)
{
    char context[CONTEXT_TEXT_BYTES];
    cJSON *object = cJSON_CreateObject();
    context_text(&subject->engine.context, context, sizeof context);
    cJSON_AddStringToObject(object, "model", subject->name);
    cJSON_AddStringToObject(object, "position", subject->positions);
    cJSON_AddStringToObject(object, "context", context);
    cJSON_AddStringToObject(object, "cache_type", format_info[sweep->options->kv_type].name);
    cJSON_AddStringToObject(object, "isa", subject->engine.model.kernels.name);
    cJSON_AddStringToObject(object, "mode", mode_names[sweep->plan.mode]);
    if (sweep->plan.like_llama_cpp)
        cJSON_AddStringToObject(object, "like", "llama.cpp");
    cJSON_AddNumberToObject(object, "length", (double)point->length);
    if (point->stride > 0)
        cJSON_AddNumberToObject(object, "stride", (double)point->stride);
    if (point->n_bins > 1) {
        cJSON_AddNumberToObject(object, "first", (double)row->first);
        cJSON_AddNumberToObject(object, "last", (double)row->last);
    }
    cJSON_AddBoolToObject(object, "whole", row->whole);
    cJSON_AddNumberToObject(object, "segments", (double)point->n_stretches);
    cJSON_AddNumberToObject(object, "tokens", (double)row->tokens);
    add_number(object, "loss", row->loss);
    add_number(object, "perplexity", exp(row->loss));
    add_number(object, "perplexity_low", exp(row->low));
    add_number(object, "perplexity_high", exp(row->high));
    add_number(object, "bits_per_byte", row->bits_per_byte);
    if (row->whole) {
        cJSON_AddNumberToObject(object, "tokens_fed", (double)point->effort.n_fed);
        cJSON_AddNumberToObject(object, "seconds", point->effort.seconds);
        add_number(object, "tokens_per_second",
                   (double)point->effort.n_fed / point->effort.seconds);
        cJSON_AddNumberToObject(object, "cache_bytes", point->effort.cache_bytes);
        cJSON_AddNumberToObject(object, "nonfinite", (double)point->effort.counts.nonfinite);
        struct health health = rows_health(point);
        add_number(object, "attention_entropy", health.entropy);
        add_number(object, "repetition", health.repetition);
        add_number(object, "text_repetition", health.text_repetition);
        add_files(object, sweep, subject, point);
    }
    return output_json(object, err);
}

int report_point(const struct sweep *sweep, const struct subject *subject,
                 const struct point *point, const struct row *rows, int n_rows, struct error *err)
{
    for (int i = 0; i < n_rows; i++) {
        char line[512];
        if (sweep->options->json) {
            if (report_object(sweep, subject, point, &rows[i], err))
                return -1;
            continue;
        }
        report_line(subject, point, &rows[i], line, sizeof line);
        if (output_write(line, strlen(line), err))
            return -1;
    }
    return 0;
}

int report_failure(const struct sweep *sweep, const char *model, int64_t length,
                   const struct error *failure, struct error *err)
{
    if (sweep->options->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "model", model);
        cJSON_AddStringToObject(object, "mode", mode_names[sweep->plan.mode]);
        if (length > 0)
            cJSON_AddNumberToObject(object, "length", (double)length);
        cJSON_AddStringToObject(object, "error", failure->text);
        return output_json(object, err);
    }
    char line[1024];
    char place[48] = "";
    if (length > 0)
        snprintf(place, sizeof place, "%lld", (long long)length);
    int n = snprintf(line, sizeof line, "%-20s %13s   failed: %s\n", model, place, failure->text);
    return output_write(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1, err);
}
