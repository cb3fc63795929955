/* program: see program.h. The child's streams are unnamed files, so neither side ever waits for the
 * other. */
#include "tests/program.h"

#include <check.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ARGUMENTS = 64 };

static int make_file(const char *text)
{
    int fd = memfd_create("longhand-test", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    size_t n = text ? strlen(text) : 0;
    ck_assert_int_eq(write(fd, text ? text : "", n), (ssize_t)n);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static char *read_file(int fd, size_t *n)
{
    off_t size = lseek(fd, 0, SEEK_END);
    ck_assert_int_ge(size, 0);
    char *text = malloc((size_t)size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(pread(fd, text, (size_t)size, 0), size);
    text[size] = '\0';
    *n = (size_t)size;
    return text;
}

/* The write end of a pipe without a reader. */
static int make_broken_pipe(void)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    return ends[1];
}

static int make_stdout(enum program_stdout kind)
{
    if (kind == STDOUT_FULL)
        return open("/dev/full", O_WRONLY | O_CLOEXEC);
    return kind == STDOUT_BROKEN ? make_broken_pipe() : make_file(NULL);
}

static pid_t start(const struct program *program, int in, int out, int err)
{
    const char *path = getenv("LONGHAND_PROGRAM");
    if (!path)
        path = "./longhand";
    char *argv[MAX_ARGUMENTS] = {(char *)(uintptr_t)path};
    for (int i = 0; program->arguments[i]; i++) {
        ck_assert_int_lt(i + 2, MAX_ARGUMENTS);
        argv[i + 1] = (char *)(uintptr_t)program->arguments[i];
    }
    posix_spawn_file_actions_t actions;
    ck_assert_int_eq(posix_spawn_file_actions_init(&actions), 0);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    if (program->stdout_is == STDOUT_CLOSED)
        posix_spawn_file_actions_addclose(&actions, STDOUT_FILENO);
    else
        posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    pid_t child;
    int failed = posix_spawn(&child, path, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    ck_assert_msg(failed == 0, "%s: %s", path, strerror(failed));
    return child;
}

void program_run(struct program *program)
{
    int in = make_file(program->input);
    int out = make_stdout(program->stdout_is);
    int err = make_file(NULL);
    ck_assert_int_ge(out, 0);
    pid_t child = start(program, in, out, err);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    program->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    size_t err_bytes;
    program->err = read_file(err, &err_bytes);
    if (program->stdout_is == STDOUT_KEPT)
        program->out = read_file(out, &program->out_bytes);
    close(in);
    close(out);
    close(err);
}

void program_free(struct program *program)
{
    free(program->out);
    free(program->err);
    program->out = program->err = NULL;
}

void program_check_refusal(const struct refusal *refusal, int status)
{
    struct program program = {.arguments = refusal->arguments, .input = refusal->input};
    program_run(&program);
    ck_assert_msg(program.status == status, "exit code %d, expected %d; stderr: %s", program.status,
                  status, program.err);
    ck_assert_str_eq(program.out, "");
    ck_assert_msg(strncmp(program.err, "longhand: ", 10) == 0, "stderr: %s", program.err);
    ck_assert_ptr_eq(strchr(program.err, '\n'), program.err + strlen(program.err) - 1);
    ck_assert_msg(strstr(program.err, refusal->found), "\"%s\" is not in: %s", refusal->found,
                  program.err);
    if (refusal->allowed)
        ck_assert_msg(strstr(program.err, refusal->allowed), "\"%s\" is not in: %s",
                      refusal->allowed, program.err);
    program_free(&program);
}

char *program_output(const char *const *arguments, const char *input)
{
    struct program program = {.arguments = arguments, .input = input};
    program_run(&program);
    ck_assert_msg(program.status == 0, "exit code %d; stderr: %s", program.status, program.err);
    ck_assert_str_eq(program.err, "");
    free(program.err);
    return program.out;
}
