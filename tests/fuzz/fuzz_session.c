/* fuzz_session: any bytes as a saved session. The first byte of the input chooses one of some true
 * sessions; the second, whether the rest is a file, or changes of that session's file, a section, a
 * place in it and a value each, whose checksums are then made right. What restores must go on and
 * back. */
#include <stdlib.h>
#include <unistd.h>

#include "model/restore.h"
#include "model/save.h"
#include "model/save_format.h"
#include "tests/fuzz/input.h"

static const struct {
    const char *model;
    const char *policy;
    enum format kv;
    int n;
} truths[] = {
    {"tests/data/llama.gguf", "all", FORMAT_F16, 5},
    {"tests/data/llama.gguf", "sinks=4,window=10", FORMAT_Q8_0, 300},
    {"tests/data/llama.gguf", "self-extend,group=4,window=24", FORMAT_F32, 300},
    {"tests/data/positions/rope-longrope.gguf", "all", FORMAT_Q4_0, 20},
};
enum { N_TRUTHS = sizeof truths / sizeof truths[0], MORE = 20 };

struct truth {
    struct checkpoint checkpoint;
    struct model model;
    struct file file;
};

static void open_session(struct session *session, const struct truth *truth, int i)
{
    struct error err;
    struct session_options options = {.kv = truths[i].kv, .max_bytes = 1 << 24};
    require(context_parse(&options.context, truths[i].policy, 0, &err) == 0);
    require(session_open(session, &truth->model, &options, &err) == 0);
}

static const struct truth *make_truth(int i)
{
    static struct truth all[N_TRUTHS];
    struct truth *truth = &all[i];
    if (truth->file.data)
        return truth;
    char path[] = "/tmp/fuzz_session.XXXXXX";
    int32_t ids[300];
    struct error err;
    struct session session;
    require(checkpoint_open(&truth->checkpoint, truths[i].model, &err) == 0);
    require(model_open(&truth->model, &truth->checkpoint, &(struct model_options){.isa = "scalar"},
                       &err) == 0);
    for (int t = 0; t < truths[i].n; t++)
        ids[t] = t * 7 % truth->model.config.vocab_size;
    open_session(&session, truth, i);
    require(session_feed(&session, ids, truths[i].n, NULL, &err) == 0);
    struct save save = {&truth->checkpoint, &session, NULL, ids, truths[i].n, {"turns", 5}};
    close(mkstemp(path));
    require(save_write(&save, path, &err) == 0);
    require(file_open(&truth->file, path, &err) == 0);
    unlink(path);
    session_close(&session);
    return truth;
}

/* Where a section lies in image[size]; -1: not there. */
static int64_t section_at(const uint8_t *image, size_t size, int section, size_t *bytes)
{
    struct save_header header;
    memcpy(&header, image, sizeof header);
    uint64_t at = SAVE_HEADER;
    for (int s = 0; s < SAVE_SECTIONS; s++) {
        uint64_t left = at <= size ? size - at : 0;
        if (header.sections[s].bytes > left)
            return -1;
        *bytes = (size_t)header.sections[s].bytes;
        if (s == section)
            return (int64_t)at;
        at = save_align(at + *bytes);
    }
    return -1;
}

static void make_sums(uint8_t *image, size_t size)
{
    struct save_header *header = (void *)image;
    for (int s = 0; s < SAVE_BLOCKS; s++) {
        size_t bytes;
        int64_t at = section_at(image, size, s, &bytes);
        if (at >= 0)
            header->sections[s].sum = checksum(image + at, bytes);
    }
    header->sum = save_header_sum(header);
}

/* Changes of five bytes: the section and how many bytes of it, a place, the value's bits 0 to 7 and
 * the byte that fills it up. */
static void change(uint8_t *image, size_t size, const uint8_t *data, size_t n)
{
    for (; n >= 5; data += 5, n -= 5) {
        size_t bytes;
        size_t place = (size_t)(data[1] | data[2] << 8);
        size_t width = (size_t)1 << data[0] / 8 % 4;
        int section = data[0] % 8;
        int64_t at = section < SAVE_SECTIONS ? section_at(image, size, section, &bytes) : 0;
        if (section == SAVE_SECTIONS)
            bytes = SAVE_HEADER;
        if (at < 0 || bytes < width)
            continue;
        uint8_t value[8] = {data[3], data[4], data[4], data[4], data[4], data[4], data[4], data[4]};
        memcpy(image + at + place * width % (bytes - width + 1), value, width);
    }
    make_sums(image, size);
}

static void go_on(struct session *session)
{
    int32_t ids[MORE] = {1, 2, 3};
    struct error err;
    int64_t n = session->position;
    if (session_feed(session, ids, MORE, NULL, &err) == 0 &&
        session_truncate(session, n / 2, &err) == 0)
        require(session->position == n / 2);
    if (session_feed(session, ids, 3, NULL, &err) == 0)
        require(session->position >= 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    int choice = data[0] % N_TRUTHS;
    const struct truth *truth = make_truth(choice);
    bool whole = data[1] % 8 == 0;
    size_t bytes = whole ? size - 2 : truth->file.size;
    uint8_t *image = malloc(bytes > 0 ? bytes : 1);
    require(image != NULL);
    memcpy(image, whole ? data + 2 : truth->file.data, bytes);
    if (!whole)
        change(image, bytes, data + 2, size - 2);
    struct error err = {""};
    struct session session;
    struct restore from = {.file = {image, bytes}, .place = "s"};
    open_session(&session, truth, choice);
    if (bytes > 0 && restore_read(&from, &err) == 0 &&
        restore_session(&from, &truth->checkpoint, &session, NULL, &err) == 0)
        go_on(&session);
    else
        require(bytes == 0 || (err.text[0] != 0 && session.cache.n_blocks == 0));
    session_close(&session);
    free(image);
    return 0;
}
