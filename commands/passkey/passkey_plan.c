/* passkey_plan: what the options ask for, and the file that results are kept in. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/passkey/passkey.h"

static const int64_t longest = INT64_C(1) << 30;

/* "256,512,1024": numbers that rise. Returns how many, or -1. */
static int parse_list(const char *text, double least, double most, bool whole, double *numbers,
                      int capacity)
{
    for (int n = 0; n < capacity;) {
        char *end;
        double number = strtod(text, &end);
        if (end == text || !(number >= least && number <= most) ||
            (n > 0 && number <= numbers[n - 1]) || (whole && number != (double)(int64_t)number))
            return -1;
        numbers[n++] = number;
        if (*end == '\0')
            return n;
        if (*end != ',')
            return -1;
        text = end + 1;
    }
    return -1;
}

int passkey_plan_make(struct passkey_plan *plan, const struct options *options, struct error *err)
{
    double lengths[PASSKEY_MAX_LENGTHS];
    const char *text = options->lengths ? options->lengths : "256,512,1024,2048,4096";
    *plan = (struct passkey_plan){.n_keys = options->keys, .seed = options->score_seed};
    plan->n_lengths = parse_list(text, 1, (double)longest, true, lengths, PASSKEY_MAX_LENGTHS);
    if (plan->n_lengths < 0)
        return error_set(err,
                         "--lengths: \"%s\" found, expected 1 to %d rising numbers of tokens with "
                         "commas between them",
                         text, PASSKEY_MAX_LENGTHS);
    for (int i = 0; i < plan->n_lengths; i++)
        plan->lengths[i] = (int64_t)lengths[i];
    text = options->depths ? options->depths : "0,25,50,75,100";
    plan->n_depths = parse_list(text, 0, 100, false, plan->depths, PASSKEY_MAX_DEPTHS);
    if (plan->n_depths < 0)
        return error_set(err,
                         "--depths: \"%s\" found, expected 1 to %d rising numbers of percent, 0 to "
                         "100, with commas between them",
                         text, PASSKEY_MAX_DEPTHS);
    if (options->wording && options->key_prompt)
        return error_set(err, "--wording and --prompt exclude each other");
    return 0;
}

/* ---- The record ------------------------------------------------------------------------------ */

#define RECORD_HEAD                                                                           \
    "model,identity,positions,context,cache,isa,wording,seed,keys,length,depth,tokens,right," \
    "seconds\n"

static int write_all(const struct passkey_record *record, const char *bytes, size_t n,
                     struct error *err)
{
    while (n > 0) {
        ssize_t written = write(record->file, bytes, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return error_set(err, "%s: cannot write: %s", record->path,
                             written < 0 ? strerror(errno) : "no space");
        bytes += written;
        n -= (size_t)written;
    }
    return 0;
}

static int read_before(struct passkey_record *record, struct error *err)
{
    off_t size = lseek(record->file, 0, SEEK_END);
    if (size < 0)
        return error_set(err, "%s: cannot read what it holds: %s", record->path, strerror(errno));
    size_t n = (size_t)size;
    record->before = malloc(n + 1);
    if (!record->before)
        return error_memory(err, "earlier results", n + 1);
    ssize_t got = pread(record->file, record->before, n, 0);
    if (got != (ssize_t)n)
        return error_set(err, "%s: cannot read what it holds: %s", record->path,
                         got < 0 ? strerror(errno) : "it is changing");
    record->before[n] = '\0';
    size_t head = strlen(RECORD_HEAD);
    if (n > 0 && strncmp(record->before, RECORD_HEAD, head) != 0)
        return error_set(err, "%s: holds something else than results of longhand passkey",
                         record->path);
    /* A line that an interruption cut off is closed, and not taken for one. */
    if (n > 0 && record->before[n - 1] != '\n')
        return write_all(record, "\n", 1, err);
    return n > 0 ? 0 : write_all(record, RECORD_HEAD, head, err);
}

int passkey_record_open(struct passkey_record *record, const char *path, struct error *err)
{
    *record = (struct passkey_record){.path = path};
    record->file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (record->file < 0)
        return error_set(err, "%s: cannot open for writing: %s", path, strerror(errno));
    record->open = true;
    return read_before(record, err);
}

int passkey_record_close(struct passkey_record *record, struct error *err)
{
    int result = 0;
    if (record->open && close(record->file) != 0)
        result = error_set(err, "%s: cannot write: %s", record->path, strerror(errno));
    free(record->before);
    *record = (struct passkey_record){0};
    return result;
}

bool passkey_record_find(const struct passkey_record *record, const char *what, struct cell *cell)
{
    size_t n = strlen(what);
    for (const char *line = record->before; line && *line;) {
        long long tokens;
        int right, used = 0;
        double seconds;
        if (strncmp(line, what, n) == 0 &&
            sscanf(line + n, ",%lld,%d,%lf%n", &tokens, &right, &seconds, &used) == 3 &&
            line[n + (size_t)used] == '\n' && right >= 0 && right <= cell->n_keys) {
            cell->n_tokens = tokens;
            cell->n_right = right;
            cell->seconds = seconds;
            cell->done = true;
            return true;
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return false;
}

int passkey_record_add(const struct passkey_record *record, const char *what,
                       const struct cell *cell, struct error *err)
{
    char numbers[96];
    if (!record->open)
        return 0;
    snprintf(numbers, sizeof numbers, ",%lld,%d,%.3f\n", (long long)cell->n_tokens, cell->n_right,
             cell->seconds);
    return write_all(record, what, strlen(what), err) ||
                   write_all(record, numbers, strlen(numbers), err)
               ? -1
               : 0;
}
