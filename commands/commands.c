/* commands: see commands.h. */
#include "commands/commands.h"

const struct command commands[] = {
    {"generate", "[options]", "continue a text",
     OPTIONS_MODEL | OPTIONS_TEXT | OPTIONS_LENGTH | OPTIONS_SAMPLING | OPTIONS_POSITION |
         OPTIONS_RUN | OPTIONS_COMMON,
     0, command_generate},
    {"chat", "[options]", "talk with a model",
     OPTIONS_MODEL | OPTIONS_CHAT | OPTIONS_LENGTH | OPTIONS_SAMPLING | OPTIONS_POSITION |
         OPTIONS_RUN | OPTIONS_COMMON,
     0, command_chat},
    {"summarize", "[options]", "read all of a long document and say what it says",
     OPTIONS_MODEL | OPTIONS_SUMMARIZE | OPTIONS_SAMPLING | OPTIONS_POSITION | OPTIONS_RUN |
         OPTIONS_COMMON,
     0, command_summarize},
    {"perplexity", "[options]", "measure how well models expect texts, by length",
     OPTIONS_PERPLEXITY | OPTIONS_POSITION | OPTIONS_RUN | OPTIONS_COMMON, 0, command_perplexity},
    {"passkey", "[options]", "measure from where in a long text a model tells a key",
     OPTIONS_MODEL | OPTIONS_PASSKEY | OPTIONS_POSITION | OPTIONS_RUN | OPTIONS_COMMON, 0,
     command_passkey},
    {"bench", "[options]", "measure prompt and generation speed",
     OPTIONS_MODEL | OPTIONS_BENCH | OPTIONS_POSITION | OPTIONS_RUN | OPTIONS_COMMON, 0,
     command_bench},
    {"info", "[options]", "say what a model file is",
     OPTIONS_MODEL | OPTIONS_POSITION | OPTIONS_INFO | OPTIONS_COMMON, 0, command_info},
    {"tokenize", "[options]", "text to token ids, or back",
     OPTIONS_MODEL | OPTIONS_TEXT | OPTIONS_TOKENIZE | OPTIONS_COMMON, 0, command_tokenize},
    {"quantize", "[options] IN OUT TYPE",
     "write a model in another format: f16 bf16 q8_0 q4_0 q4_k q6_k", OPTIONS_COMMON, 3,
     command_quantize},
};

const int n_commands = sizeof commands / sizeof commands[0];
