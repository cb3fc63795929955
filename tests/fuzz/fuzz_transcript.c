/* fuzz_transcript: any bytes as the transcript of a chat. What can be read must come back, turn for
 * turn, from what is printed of it. */
#include <stdlib.h>
#include <string.h>

#include "commands/array.h"
#include "commands/chat/transcript.h"
#include "tests/fuzz/input.h"

struct turns {
    struct chat_turn *turns; /* stb_ds arrays; contents are owned */
    int64_t *starts;
};

static void add(void *context, enum chat_role role, const char *text, size_t length, int64_t at)
{
    struct turns *turns = context;
    char *content = malloc(length + 1);
    require(content != NULL);
    memcpy(content, text, length);
    arrput(turns->turns, ((struct chat_turn){role, {content, length}}));
    arrput(turns->starts, at);
}

static int read_turns(const char *json, size_t length, struct turns *turns)
{
    struct error err;
    *turns = (struct turns){NULL, NULL};
    return transcript_read((struct text){json, length}, "input", add, turns, &err);
}

static void drop(struct turns *turns)
{
    for (ptrdiff_t i = 0; i < arrlen(turns->turns); i++)
        free((void *)(uintptr_t)turns->turns[i].content.bytes);
    arrfree(turns->turns);
    arrfree(turns->starts);
}

static void require_same(const struct turns *a, const struct turns *b)
{
    require(arrlen(a->turns) == arrlen(b->turns));
    for (ptrdiff_t i = 0; i < arrlen(a->turns); i++) {
        const struct chat_turn *x = &a->turns[i], *y = &b->turns[i];
        require(x->role == y->role && a->starts[i] == b->starts[i]);
        require(x->content.length == y->content.length &&
                memcmp(x->content.bytes, y->content.bytes, x->content.length) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *json = malloc(size > 0 ? size : 1); /* on the heap: a step past the end is seen */
    require(json != NULL);
    memcpy(json, data, size);
    struct turns turns, again;
    if (read_turns(json, size, &turns) == 0) {
        char *printed = transcript_print(turns.turns, turns.starts);
        require(printed != NULL);
        require(read_turns(printed, strlen(printed), &again) == 0);
        require_same(&turns, &again);
        drop(&again);
        free(printed);
    }
    drop(&turns);
    free(json);
    return 0;
}
