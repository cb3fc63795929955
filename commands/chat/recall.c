/* recall: see recall.h. */
#include "commands/chat/recall.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"
#include "commands/array.h"

/* Where the file is; NULL where there is no home. */
static char *find_path(void)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    char *path = NULL;
    if (state && *state == '/')
        return asprintf(&path, "%s/longhand/history", state) < 0 ? NULL : path;
    if (!home || *home != '/')
        return NULL;
    return asprintf(&path, "%s/.local/state/longhand/history", home) < 0 ? NULL : path;
}

/* Makes the folders that lead to the file. Returns why the last one cannot be made, or 0. */
static int make_folders(char *path)
{
    int reason = 0;
    for (char *end = strchr(path + 1, '/'); end; end = strchr(end + 1, '/')) {
        *end = '\0';
        reason = mkdir(path, 0700) == 0 ? 0 : errno;
        *end = '/';
    }
    return reason == EEXIST ? 0 : reason;
}

/* A turn as a line of the file (stb_ds array). */
static char *line_of(const char *turn)
{
    char *line = NULL;
    for (; *turn; turn++) {
        if (*turn == '\n' || *turn == '\\')
            arrput(line, '\\');
        arrput(line, *turn == '\n' ? 'n' : *turn);
    }
    arrput(line, '\n');
    return line;
}

/* The turn that a line holds, in its place. */
static void unescape(char *line)
{
    char *to = line;
    for (const char *from = line; *from && *from != '\n'; from++) {
        bool escaped = from[0] == '\\' && (from[1] == 'n' || from[1] == '\\');
        if (escaped)
            from++;
        *to++ = escaped && *from == 'n' ? '\n' : *from;
    }
    *to = '\0';
}

static void forget_oldest(struct recall *recall)
{
    if (arrlen(recall->turns) <= RECALL_TURNS)
        return;
    free(recall->turns[0]);
    arrdel(recall->turns, 0);
}

/* Writes the file anew, without the turns that are too old. */
static int shorten(const struct recall *recall, struct error *err)
{
    struct replace replace;
    if (replace_open(&replace, recall->path, err))
        return -1;
    int result = 0;
    for (ptrdiff_t i = 0; result == 0 && i < arrlen(recall->turns); i++) {
        char *line = line_of(recall->turns[i]);
        result = replace_write(&replace, line, arrlenu(line), err);
        arrfree(line);
    }
    if (result == 0)
        result = replace_finish(&replace, err);
    replace_close(&replace);
    return result;
}

/* Gives up writing: returns -1 with the reason. */
static int fail(struct recall *recall, struct error *err)
{
    error_set(err, "%s: %s; what is typed is not kept for later chats", recall->path,
              strerror(errno));
    free(recall->path);
    recall->path = NULL;
    return -1;
}

int recall_open(struct recall *recall, struct error *err)
{
    *recall = (struct recall){.path = find_path()};
    if (!recall->path)
        return error_set(err, "no XDG_STATE_HOME and no HOME: what is typed is not kept");
    FILE *file = fopen(recall->path, "re");
    if (!file)
        return errno == ENOENT ? 0 : fail(recall, err);
    char *line = NULL;
    size_t capacity = 0;
    long lines = 0;
    for (; getline(&line, &capacity, file) >= 0; lines++) {
        unescape(line);
        char *turn = strdup(line);
        if (!turn)
            break;
        arrput(recall->turns, turn);
        forget_oldest(recall);
    }
    bool failed = !feof(file);
    free(line);
    fclose(file);
    if (failed)
        return fail(recall, err);
    return lines > 2L * RECALL_TURNS ? shorten(recall, err) : 0;
}

int recall_add(struct recall *recall, const char *turn, struct error *err)
{
    if (arrlen(recall->turns) > 0 && strcmp(arrlast(recall->turns), turn) == 0)
        return 0;
    char *copy = strdup(turn);
    if (!copy)
        return error_memory(err, "the history", strlen(turn));
    arrput(recall->turns, copy);
    forget_oldest(recall);
    if (!recall->path)
        return 0;
    int reason = make_folders(recall->path);
    int file = open(recall->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) {
        errno = reason ? reason : errno;
        return fail(recall, err);
    }
    char *line = line_of(turn);
    bool written = write(file, line, arrlenu(line)) == (ssize_t)arrlenu(line);
    arrfree(line);
    return close(file) == 0 && written ? 0 : fail(recall, err);
}

void recall_close(struct recall *recall)
{
    for (ptrdiff_t i = 0; i < arrlen(recall->turns); i++)
        free(recall->turns[i]);
    arrfree(recall->turns);
    free(recall->path);
    *recall = (struct recall){0};
}
