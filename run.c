/* run: argv -> command. The only file that prints errors and picks exit codes. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "commands/commands.h"
#include "kernels/parallel.h"

static const char version[] = "longhand 0.1.0";

static void print_help(void)
{
    printf("usage: longhand COMMAND [options]\n\n"
           "Runs decoder-only transformers, on text longer than they were trained on.\n\n");
    for (int i = 0; i < n_commands; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    printf("\n  longhand COMMAND --help   the options of a command\n"
           "  longhand --version\n");
}

static void print_command_help(const struct command *command)
{
    printf("usage: longhand %s %s\n\n%s\n\n", command->name, command->arguments, command->summary);
    options_print(command->groups);
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < n_commands; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int fail(const struct error *err, enum exit_code code)
{
    fprintf(stderr, "longhand: %s\n", err->text);
    return (int)code;
}

/* Help and version are results too: a full or closed standard output is a failure. */
static int finish_output(void)
{
    struct error err;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_OK;
    error_set(&err, "standard output: cannot write");
    return fail(&err, EXIT_FAILED);
}

struct call {
    const struct command *command;
    const struct options *options;
    struct error *err;
    int code;
};

static void call_command(void *context)
{
    struct call *call = context;
    call->code = call->command->run(call->options, call->err);
}

/* One team of threads serves the whole command. */
static int run_command(const struct command *command, const struct options *options,
                       struct error *err)
{
    struct call call = {command, options, err, EXIT_OK};
    parallel_set_threads(options->threads > 0 ? options->threads : parallel_default_threads());
    parallel_team(call_command, &call);
    return call.code;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, with a message */
    struct error err;
    if (argc < 2) {
        error_set(&err, "no command (see longhand --help)");
        return fail(&err, EXIT_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help();
        return finish_output();
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts(version);
        return finish_output();
    }
    const struct command *command = find_command(argv[1]);
    if (!command) {
        error_set(&err, "unknown command \"%s\" (see longhand --help)", argv[1]);
        return fail(&err, EXIT_USAGE);
    }
    struct options options;
    if (options_parse(&options, argc - 1, argv + 1, command->groups, command->n_arguments, &err))
        return fail(&err, EXIT_USAGE);
    if (options.help) {
        print_command_help(command);
        return finish_output();
    }
    if (options.n_arguments < command->n_arguments) {
        error_set(&err, "usage: longhand %s %s", command->name, command->arguments);
        return fail(&err, EXIT_USAGE);
    }
    int code = run_command(command, &options, &err);
    if (code < 0 || code == EXIT_USAGE)
        return fail(&err, code < 0 ? EXIT_FAILED : EXIT_USAGE);
    return code;
}
