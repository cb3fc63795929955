/* perplexity_record: results on disk as they come, and going on from them.
 *
 * FILE holds a line a result; FILE.parts a line a measured stretch: the point's key, the stretch,
 * what it took, the losses of its pieces. Both only grow; a line that was cut off by the end of a
 * process or a full disk is dropped at the next start. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/size.h"
#include "commands/perplexity/perplexity_sweep.h"

static const char csv_head[] =
    "key,model,position,context,cache_type,isa,mode,like,length,stride,first,last,"
    "files,segments,tokens,loss,perplexity,perplexity_low,perplexity_high,bits_per_byte,"
    "tokens_fed,seconds,tokens_per_second,cache_bytes,nonfinite,"
    "attention_entropy,repetition,text_repetition\n";
static const char parts_head[] = "longhand perplexity parts 2\n";

enum { SYNC_SECONDS = 2 };

static int write_all(int file, const char *path, const char *text, size_t n, struct error *err)
{
    while (n > 0) {
        ssize_t written = write(file, text, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return error_set(err, "%s: cannot write: %s", path, strerror(errno));
        text += written;
        n -= (size_t)written;
    }
    return 0;
}

static int sync_file(int file, const char *path, struct error *err)
{
    if (fsync(file) == 0 || errno == EINVAL || errno == EROFS) /* not a disk */
        return 0;
    return error_set(err, "%s: cannot write: %s", path, strerror(errno));
}

/* All of a regular file, NUL-terminated; of anything else nothing. */
static int read_all(int file, const char *path, char **text, size_t *n, struct error *err)
{
    struct stat info;
    if (fstat(file, &info) != 0)
        return error_set(err, "%s: cannot read: %s", path, strerror(errno));
    size_t size = S_ISREG(info.st_mode) ? (size_t)info.st_size : 0;
    *n = 0;
    *text = size_alloc(size + 1, 1);
    if (!*text)
        return error_memory(err, path, size);
    while (*n < size) {
        ssize_t got = pread(file, *text + *n, size - *n, (off_t)*n);
        if (got <= 0) {
            free(*text);
            *text = NULL;
            return error_set(err, "%s: cannot read: %s", path, strerror(errno));
        }
        *n += (size_t)got;
    }
    (*text)[*n] = '\0';
    return 0;
}

/* Opens for appending; an empty file gets its head, a line cut short at the end goes. The file's
 * text is kept in *text, unless that is NULL. */
static int open_lines(const char *path, const char *head, int *file, char **text, struct error *err)
{
    char *own;
    size_t n;
    *file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (*file < 0)
        return error_set(err, "%s: cannot open for writing: %s", path, strerror(errno));
    if (flock(*file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return error_set(err, "%s: another process is writing it", path);
    if (read_all(*file, path, &own, &n, err))
        return -1;
    size_t whole = n;
    size_t known = n < strlen(head) ? n : strlen(head);
    while (whole > 0 && own[whole - 1] != '\n')
        whole--;
    int result = 0;
    if (memcmp(own, head, known) != 0)
        result =
            error_set(err, "%s: is something else; expected a first line \"%.40s\"", path, head);
    else if (whole < n && ftruncate(*file, (off_t)whole) != 0)
        result = error_set(err, "%s: cannot write: %s", path, strerror(errno));
    if (result == 0 && whole == 0)
        result = write_all(*file, path, head, strlen(head), err) || sync_file(*file, path, err);
    own[whole] = '\0';
    if (text && result == 0)
        *text = own;
    else
        free(own);
    return result ? -1 : 0;
}

int record_open(struct record *record, const char *path, struct error *err)
{
    *record = (struct record){.path = path, .csv = -1, .parts = -1, .open = true};
    int n = snprintf(record->parts_path, sizeof record->parts_path, "%s.parts", path);
    if (n < 0 || (size_t)n >= sizeof record->parts_path)
        return error_set(err, "--csv: a name of %zu characters, expected less", strlen(path));
    return open_lines(path, csv_head, &record->csv, NULL, err) ||
                   open_lines(record->parts_path, parts_head, &record->parts, &record->old_parts,
                              err)
               ? -1
               : 0;
}

int record_close(struct record *record, struct error *err)
{
    int result = 0;
    if (record->open && record->csv >= 0 && close(record->csv) != 0)
        result = error_set(err, "%s: cannot write: %s", record->path, strerror(errno));
    if (record->open && record->parts >= 0 && close(record->parts) != 0)
        result = error_set(err, "%s: cannot write: %s", record->parts_path, strerror(errno));
    free(record->old_parts);
    *record = (struct record){0};
    return result;
}

/* Reads a line behind its key; false where it is not what the point has. */
static bool restore_line(const char *line, struct point *point)
{
    long long index, n_fed, nonfinite, repeated, text;
    struct effort effort = {0};
    int used;
    const char *line_end = strchr(line, '\n');
    if (sscanf(line, " %lld %lf %lld %lf %lld %lld %lld %lf%n", &index, &effort.seconds, &n_fed,
               &effort.cache_bytes, &nonfinite, &repeated, &text, &effort.entropy, &used) != 8 ||
        index < 0 || index >= point->n_stretches || point->stretches[index].done)
        return false;
    struct stretch *stretch = &point->stretches[index];
    int64_t end =
        index + 1 < point->n_stretches ? point->stretches[index + 1].first_piece : point->n_pieces;
    const char *at = line + used;
    for (int64_t i = stretch->first_piece; i < end; i++) {
        char *next;
        point->pieces[i].loss = strtod(at, &next);
        if (next == at || next > line_end)
            return false;
        at = next;
    }
    if (at != line_end || n_fed != stretch->n || nonfinite < 0 || repeated < 0 || text < 0)
        return false;
    stretch->done = true;
    effort.n_fed = n_fed;
    effort.counts = (struct score_counts){nonfinite, repeated, text};
    point_add_effort(point, &effort);
    return true;
}

int64_t record_restore(const struct record *record, struct point *point)
{
    char key[24];
    int64_t n = 0;
    int length = snprintf(key, sizeof key, "%016" PRIx64, point->key);
    for (const char *line = record->old_parts; line && *line; line = strchr(line, '\n') + 1)
        n += strncmp(line, key, (size_t)length) == 0 && restore_line(line + length, point);
    return n;
}

int record_stretch(struct record *record, const struct point *point, int64_t index,
                   const struct effort *effort, struct error *err)
{
    if (!record->open)
        return 0;
    enum { NUMBER = 32, HEAD = 256 };
    int64_t begin = point->stretches[index].first_piece;
    int64_t end =
        index + 1 < point->n_stretches ? point->stretches[index + 1].first_piece : point->n_pieces;
    size_t bytes = HEAD + (size_t)(end - begin) * NUMBER;
    char *line = size_alloc(bytes, 1);
    if (!line)
        return error_memory(err, "a line of results", bytes);
    const struct score_counts *counts = &effort->counts;
    int n = snprintf(line, bytes, "%016" PRIx64 " %lld %.9g %lld %.0f %lld %lld %lld %.9g",
                     point->key, (long long)index, effort->seconds, (long long)effort->n_fed,
                     effort->cache_bytes, (long long)counts->nonfinite, (long long)counts->repeated,
                     (long long)counts->text, effort->entropy);
    for (int64_t i = begin; i < end; i++)
        n += snprintf(line + n, bytes - (size_t)n, " %.17g", point->pieces[i].loss);
    line[n++] = '\n';
    int result = write_all(record->parts, record->parts_path, line, (size_t)n, err);
    free(line);
    if (result == 0 && output_now() - record->synced > SYNC_SECONDS) {
        result = sync_file(record->parts, record->parts_path, err);
        record->synced = output_now();
    }
    return result;
}

/* Of lines with this key, how many the file has. */
static int64_t count_lines(const struct record *record, const char *key, int64_t *n,
                           struct error *err)
{
    char *text;
    size_t bytes;
    *n = 0;
    if (read_all(record->csv, record->path, &text, &bytes, err))
        return -1;
    for (const char *line = text; line && *line;) {
        *n += strncmp(line, key, strlen(key)) == 0;
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    free(text);
    return 0;
}

/* A field of text: quoted where it must be (RFC 4180). */
static void put_text(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fprintf(out, "%s,", text);
        return;
    }
    fputc('"', out);
    for (; *text; text++)
        fprintf(out, *text == '"' ? "\"\"" : "%c", *text);
    fputs("\",", out);
}

/* A number, or nothing where there is none. */
static void put_number(FILE *out, double number, const char *behind)
{
    if (isfinite(number))
        fprintf(out, "%.9g", number);
    fputs(behind, out);
}

static void put_row(FILE *out, const char *key, const struct subject *subject,
                    const struct plan *plan, const struct point *point, const struct row *row)
{
    char context[CONTEXT_TEXT_BYTES];
    const struct options *o = &subject->options;
    const struct model *model = &subject->engine.model;
    context_text(&subject->engine.context, context, sizeof context);
    fputs(key, out);
    put_text(out, subject->name);
    put_text(out, subject->positions);
    put_text(out, context);
    fprintf(out, "%s,%s,%s,%s,", format_info[o->kv_type].name, model->kernels.name,
            mode_names[plan->mode], plan->like_llama_cpp ? "llama.cpp" : "");
    fprintf(out, "%lld,%lld,%lld,%lld,%d,%lld,%lld,", (long long)point->length,
            (long long)point->stride, (long long)row->first, (long long)row->last,
            subject->n_sources, (long long)point->n_stretches, (long long)row->tokens);
    put_number(out, row->loss, ",");
    put_number(out, exp(row->loss), ",");
    put_number(out, exp(row->low), ",");
    put_number(out, exp(row->high), ",");
    put_number(out, row->bits_per_byte, ",");
    const struct effort *effort = &point->effort;
    struct health health = rows_health(point);
    fprintf(out, "%lld,%.3f,", (long long)effort->n_fed, effort->seconds);
    put_number(out, (double)effort->n_fed / effort->seconds, ",");
    fprintf(out, "%.0f,%lld,", effort->cache_bytes, (long long)effort->counts.nonfinite);
    put_number(out, health.entropy, ",");
    put_number(out, health.repetition, ",");
    put_number(out, health.text_repetition, "\n");
}

int record_rows(struct record *record, const struct subject *subject, const struct plan *plan,
                const struct point *point, const struct row *rows, int n_rows, struct error *err)
{
    char key[24];
    int64_t there;
    if (!record->open)
        return 0;
    snprintf(key, sizeof key, "%016" PRIx64 ",", point->key);
    if (count_lines(record, key, &there, err))
        return -1;
    if (there >= n_rows)
        return 0;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return error_memory(err, "lines of results", 0);
    for (int i = 0; i < n_rows; i++)
        put_row(out, key, subject, plan, point, &rows[i]);
    int result = fclose(out) != 0 ? error_memory(err, "lines of results", bytes) : 0;
    if (result == 0)
        result = write_all(record->csv, record->path, text, bytes, err) ||
                         sync_file(record->csv, record->path, err) ||
                         sync_file(record->parts, record->parts_path, err)
                     ? -1
                     : 0;
    free(text);
    return result;
}
