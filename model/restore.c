/* restore: see restore.h. */
#include "model/restore.h"

#include <stdlib.h>

#include "base/size.h"
#include "model/save_format.h"

static const char *const names[SAVE_SECTIONS] = {
    "transcript", "identity", "state", "tokens", "logits", "strips", "blocks",
};

/* No text is longer; sums of positions cannot overflow. */
static const int64_t longest = (int64_t)1 << 48;

static int read_magic(const struct file *file, const char *place, struct save_header *header,
                      struct error *err)
{
    memset(header, 0, sizeof *header);
    memcpy(header, file->data, file->size < sizeof *header ? file->size : sizeof *header);
    if (memcmp(header->magic, save_magic, SAVE_MAGIC) != 0)
        return error_set(err, "%s: is not a saved session", place);
    if (file->size < sizeof *header)
        return error_set(err, "%s: ends at byte %zu, within the header of %zu bytes", place,
                         file->size, sizeof *header);
    return 0;
}

static int check_header(const struct restore *restore, const struct save_header *header,
                        struct error *err)
{
    if (header->version != SAVE_VERSION)
        return error_set(err, "%s: is of version %u, this program reads version %d", restore->place,
                         (unsigned)header->version, SAVE_VERSION);
    if (header->sum != save_header_sum(header))
        return error_set(err, "%s: the header is damaged: its checksum does not fit",
                         restore->place);
    if (header->n_sections != SAVE_SECTIONS)
        return error_set(err, "%s: has %u sections, expected %d", restore->place,
                         (unsigned)header->n_sections, SAVE_SECTIONS);
    return 0;
}

static int find_sections(struct restore *restore, const struct save_header *header,
                         struct error *err)
{
    struct text *const views[SAVE_SECTIONS] = {
        [SAVE_TRANSCRIPT] = &restore->transcript, [SAVE_IDENTITY] = &restore->identity,
        [SAVE_STATE] = &restore->state,           [SAVE_LOGITS] = &restore->logits,
        [SAVE_STRIPS] = &restore->strips,         [SAVE_BLOCKS] = &restore->blocks,
    };
    const struct file *file = &restore->file;
    uint64_t at = SAVE_HEADER;
    for (int i = 0; i < SAVE_SECTIONS; i++) {
        uint64_t bytes = header->sections[i].bytes;
        uint64_t left = at < file->size ? file->size - at : 0;
        if (bytes > left)
            return error_set(err, "%s: %s at byte %llu: %llu bytes, the file has %llu more",
                             restore->place, names[i], (unsigned long long)at,
                             (unsigned long long)bytes, (unsigned long long)left);
        struct text section = {(const char *)file->data + at, (size_t)bytes};
        if (i != SAVE_BLOCKS && checksum(section.bytes, section.length) != header->sections[i].sum)
            return error_set(err, "%s: %s at byte %llu: damaged: the checksum does not fit",
                             restore->place, names[i], (unsigned long long)at);
        if (views[i]) {
            *views[i] = section;
        } else {
            restore->ids = (const int32_t *)(const void *)section.bytes;
            restore->n_ids = (int64_t)(bytes / sizeof *restore->ids);
        }
        at = i == SAVE_BLOCKS ? at + bytes : save_align(at + bytes);
    }
    if (at != file->size)
        return error_set(err, "%s: has %zu bytes, expected %llu", restore->place, file->size,
                         (unsigned long long)at);
    return 0;
}

static int check_state(struct restore *restore, struct save_state *state, struct error *err)
{
    if (restore->state.length < sizeof *state)
        return error_set(err, "%s: state: %zu bytes, expected %zu or more", restore->place,
                         restore->state.length, sizeof *state);
    memcpy(state, restore->state.bytes, sizeof *state);
    uint64_t recent = (restore->state.length - sizeof *state) / sizeof(int32_t);
    const struct {
        const char *name;
        int64_t found, min, max;
    } rules[] = {
        {"position", state->position, 0, restore->n_ids},
        {"length", state->length, state->position, longest},
        {"expected length", state->expected, 0, longest},
        {"room", state->cache_n, state->position, state->position + SESSION_BATCH},
        {"sampler", state->sampled, 0, 1},
        {"top-k", state->top_k, 0, INT32_MAX},
        {"repeat-last", state->repeat_last, 0, INT32_MAX},
        {"recent tokens", state->n_recent, 0, (int64_t)recent},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].found < rules[i].min || rules[i].found > rules[i].max)
            return error_set(err, "%s: state: %s is %lld, allowed: %lld to %lld", restore->place,
                             rules[i].name, (long long)rules[i].found, (long long)rules[i].min,
                             (long long)rules[i].max);
    return 0;
}

int restore_read(struct restore *restore, struct error *err)
{
    struct save_header header;
    struct save_state state;
    if (read_magic(&restore->file, restore->place, &header, err) ||
        check_header(restore, &header, err) || find_sections(restore, &header, err) ||
        check_state(restore, &state, err))
        return -1;
    restore->sampled = state.sampled == 1;
    restore->sampler = (struct sampler_options){
        .temperature = (float)state.temperature,
        .top_k = (int)state.top_k,
        .top_p = (float)state.top_p,
        .min_p = (float)state.min_p,
        .repeat_penalty = (float)state.repeat_penalty,
        .repeat_last = (int)state.repeat_last,
        .seed = state.seed,
    };
    return 0;
}

int restore_open(struct restore *restore, const char *path, struct error *err)
{
    *restore = (struct restore){.place = path};
    return file_open(&restore->file, path, err) || restore_read(restore, err) ? -1 : 0;
}

void restore_close(struct restore *restore)
{
    file_close(&restore->file);
    *restore = (struct restore){0};
}

int restore_transcript(const char *path, char **text, size_t *length, struct error *err)
{
    struct file file;
    struct save_header header;
    *text = NULL;
    *length = 0;
    if (file_open(&file, path, err))
        return -1;
    int result = read_magic(&file, path, &header, err);
    if (result == 0) {
        uint64_t said = header.sections[SAVE_TRANSCRIPT].bytes;
        size_t left = file.size - SAVE_HEADER;
        *length = said < left ? (size_t)said : left;
        *text = size_alloc(*length, 1);
        if (!*text)
            result = error_memory(err, "the transcript", *length);
    }
    if (result == 0) {
        memcpy(*text, file.data + SAVE_HEADER, *length);
        if (checksum(*text, *length) != header.sections[SAVE_TRANSCRIPT].sum) {
            error_set(err, "%s: the transcript is cut or damaged: its checksum does not fit", path);
            result = 1;
        }
    }
    file_close(&file);
    return result;
}
