/* endurance_input: the model and the text of endurance.c, which ends where something is amiss. */
#ifndef LONGHAND_TESTS_ENDURANCE_INPUT_H
#define LONGHAND_TESTS_ENDURANCE_INPUT_H

#include "longhand.h"

struct input {
    char name[64]; /* of the model's file */
    struct checkpoint checkpoint;
    struct model model;
    struct tokenizer *tokenizer;
    struct token_list text;
};

/* Ends the program with err's message unless `result` is 0. */
void endurance_demand(int result, const struct error *err);
/* An array of n zeroed items. */
void *endurance_alloc(size_t n, size_t item);

/* A file of llama2.c has its tokenizer, tok<vocab_size>.bin, beside it. */
void input_open(struct input *input, const char *path);
void input_close(struct input *input);
/* The novels of data/novels/test under LONGHAND_SHARED (../shared), again and again, until there
 * are n_tokens or more. False, and a message, where there are none. */
bool input_read_text(struct input *input, size_t n_tokens);

#endif
