/* commands: the table that run.c looks the command up in; one file a command. */
#ifndef LONGHAND_COMMANDS_COMMANDS_H
#define LONGHAND_COMMANDS_COMMANDS_H

#include "base/error.h"
#include "commands/options.h"

/* What a process ends with; run.c is the only one that picks. */
enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

struct command {
    const char *name;
    const char *arguments; /* of the usage line: "[options] IN OUT TYPE" */
    const char *summary;
    unsigned groups; /* of options */
    int n_arguments; /* that are not options */
    /* Returns an exit_code, or -1 after filling err; EXIT_USAGE after filling err too, where only
     * the model could tell that an option is wrong. */
    int (*run)(const struct options *options, struct error *err);
};

extern const struct command commands[];
extern const int n_commands;

int command_generate(const struct options *options, struct error *err);
int command_chat(const struct options *options, struct error *err);
int command_summarize(const struct options *options, struct error *err);
int command_perplexity(const struct options *options, struct error *err);
int command_passkey(const struct options *options, struct error *err);
int command_bench(const struct options *options, struct error *err);
int command_info(const struct options *options, struct error *err);
int command_tokenize(const struct options *options, struct error *err);
int command_quantize(const struct options *options, struct error *err);

#endif
