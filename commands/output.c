/* output: see output.h. */
#include "commands/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void output_open(struct output *output, const struct options *options)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    *output = (struct output){.notes = !options->quiet && (terminal || options->verbose),
                              .terminal = terminal && !options->quiet};
}

static int broken; /* errno of the write that failed */

/* Not through stdio, which forgets what a signal keeps it from writing. */
int output_write(const char *bytes, size_t n, struct error *err)
{
    if (!broken && fflush(stdout) != 0)
        broken = errno;
    while (!broken && n > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, n);
        if (written < 0 && errno != EINTR)
            broken = errno;
        if (written > 0) {
            bytes += written;
            n -= (size_t)written;
        }
    }
    return broken ? error_set(err, "standard output: cannot write: %s", strerror(broken)) : 0;
}

/* How many of n > 0 bytes are one control character: in UTF-8, those from U+0080 to U+009F are two.
 * 0 if they begin with another one. */
static size_t control_character(const unsigned char *text, size_t n)
{
    if (text[0] == 0xC2 && n > 1 && text[1] >= 0x80 && text[1] < 0xA0)
        return 2;
    return (text[0] < ' ' && text[0] != '\t' && text[0] != '\n') || text[0] == 0x7F;
}

int output_text(const char *text, size_t n, struct error *err)
{
    if (!isatty(STDOUT_FILENO))
        return output_write(text, n, err);
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t at = 0, control = 0; at < n; at += control) {
        size_t begin = at;
        while (at < n && !(control = control_character(bytes + at, n - at)))
            at++;
        if (output_write(text + begin, at - begin, err))
            return -1;
        char shown[8] = "";
        if (control == 1)
            snprintf(shown, sizeof shown, "^%c", bytes[at] ^ 0x40);
        else if (control == 2)
            snprintf(shown, sizeof shown, "<%02X>", bytes[at + 1]);
        if (output_write(shown, strlen(shown), err))
            return -1;
    }
    return 0;
}

bool output_broken(void)
{
    return broken != 0;
}

int output_json(cJSON *object, struct error *err)
{
    char *line = object ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    if (!line)
        return error_set(err, "out of memory: a line of JSON");
    int result = output_write(line, strlen(line), err) || output_write("\n", 1, err) ? -1 : 0;
    cJSON_free(line);
    return result;
}

struct size_text output_size(double bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
    struct size_text size;
    size_t unit = 0;
    while (bytes >= 999.5 && unit + 1 < sizeof units / sizeof units[0]) {
        bytes /= 1000;
        unit++;
    }
    int digits = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    snprintf(size.text, sizeof size.text, "%.*f %s", digits, bytes, units[unit]);
    return size;
}

double output_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

double output_speed(int64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

void output_clear(struct output *output)
{
    if (output->progress)
        fprintf(stderr, "\r\033[K");
    output->progress = false;
}

void output_note(struct output *output, const char *format, ...)
{
    if (!output->notes)
        return;
    output_clear(output);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void output_progress(struct output *output, const char *what, int64_t done, int64_t total)
{
    double now = output_now();
    if (output->started == 0)
        output->started = now;
    if (done >= total) {
        output_clear(output);
        output->started = 0;
        return;
    }
    double passed = now - output->started;
    if (!output->terminal || done == 0 || passed < 0.2)
        return;
    double left = passed * (double)(total - done) / (double)done;
    fprintf(stderr, "\r\033[K%s: %lld of %lld, %.0f s left", what, (long long)done,
            (long long)total, left);
    output->progress = true;
}

void output_share(struct output *output, const char *what, double share, double seconds_left)
{
    if (!output->terminal)
        return;
    fprintf(stderr, "\r\033[K%s: %.0f %%, %s left", what, 100 * share,
            output_duration(seconds_left).text);
    output->progress = true;
}

struct size_text output_duration(double seconds)
{
    struct size_text text;
    if (seconds < 99.5)
        snprintf(text.text, sizeof text.text, "%.0f s", seconds);
    else if (seconds < 99.5 * 60)
        snprintf(text.text, sizeof text.text, "%.0f min", seconds / 60);
    else
        snprintf(text.text, sizeof text.text, "%.1f h", seconds / 3600);
    return text;
}
