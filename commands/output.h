/* output: the contract of the two streams.
 *
 * Standard output carries the result and nothing else: text, or one JSON object a line. Standard
 * error carries notes, progress and statistics, and only when it is a terminal or --verbose asks.
 */
#ifndef LONGHAND_COMMANDS_OUTPUT_H
#define LONGHAND_COMMANDS_OUTPUT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "commands/options.h"

struct output {
    bool notes;     /* standard error may be written to */
    bool terminal;  /* standard error is a terminal: lines may be redrawn */
    bool progress;  /* a progress line is being drawn */
    double started; /* of the progress shown, in seconds */
};

void output_open(struct output *output, const struct options *options);

/* Writes and flushes bytes of the result. A closed or full standard output is an error, from then
 * on. */
int output_write(const char *bytes, size_t n, struct error *err);
/* Writes text that a model or a file has made. On a terminal, control characters that are no white
 * space are shown ("^[", "<9B>"), so that the text cannot give the terminal orders. */
int output_text(const char *text, size_t n, struct error *err);
/* Whether there was such an error. */
bool output_broken(void);
/* Writes `object` as one line; deletes it in any case. NULL (no memory) is an error. */
int output_json(cJSON *object, struct error *err);

/* Bytes for people: "262 kB", "1.57 GB". */
struct size_text {
    char text[24];
};
struct size_text output_size(double bytes);

/* Seconds of a clock that never goes back. */
double output_now(void);
/* Tokens a second; 0 where no time has passed. */
double output_speed(int64_t tokens, double seconds);

/* A line on standard error, where notes may go. */
void output_note(struct output *output, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Draws "what: done of total, seconds left" on a terminal once it is worth it; done = total takes
 * it away. */
void output_progress(struct output *output, const char *what, int64_t done, int64_t total);
/* Draws "what: 40 %, 12 s left" on a terminal. */
void output_share(struct output *output, const char *what, double share, double seconds_left);
/* Takes a line of progress away. */
void output_clear(struct output *output);
/* "40 s", "12 min", "3.5 h": how long something takes. */
struct size_text output_duration(double seconds);

#endif
