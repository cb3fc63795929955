/* parts: see parts.h. */
#include "model/parts.h"

/* Short enough that threads can share a long text, long enough that putting parts together costs
 * nothing. What content decides goes on from key to key. */
static int64_t part_keys(const struct position *position)
{
    enum { PART_KEYS = 4 * CACHE_BLOCK };
    return position->scheme->add_content ? INT64_MAX : PART_KEYS;
}

static int64_t parts_in(const struct part *whole, int64_t keys)
{
    return whole->begin < whole->end ? (whole->end - 1) / keys - whole->begin / keys + 1 : 0;
}

void parts_join(const struct session *session, int layer, int first, int n,
                struct part joined[SEGMENTS_MAX])
{
    for (int s = 0; s < SEGMENTS_MAX; s++)
        joined[s] = (struct part){s, INT64_MAX, 0};
    for (int t = first; t < first + n; t++) {
        struct segment segments[SEGMENTS_MAX];
        context_segments(&session->context, &session->model->config.layers[layer],
                         session->position + t, segments);
        for (int s = 0; s < context_n_segments(&session->context); s++) {
            if (segments[s].begin >= segments[s].end)
                continue;
            if (segments[s].begin < joined[s].begin)
                joined[s].begin = segments[s].begin;
            if (segments[s].end > joined[s].end)
                joined[s].end = segments[s].end;
        }
    }
}

bool parts_find(const struct part joined[SEGMENTS_MAX], const struct position *position, int64_t i,
                struct part *part)
{
    int64_t keys = part_keys(position);
    for (int s = SEGMENTS_MAX - 1; s >= 0; s--) {
        const struct part *whole = &joined[s];
        int64_t n = parts_in(whole, keys);
        if (i >= n) {
            i -= n;
            continue;
        }
        int64_t from = ((whole->end - 1) / keys - i) * keys;
        part->segment = s;
        part->begin = from > whole->begin ? from : whole->begin;
        part->end = i > 0 ? from + keys : whole->end;
        return true;
    }
    return false;
}

int64_t parts_count(const struct part joined[SEGMENTS_MAX], const struct position *position)
{
    int64_t n = 0;
    for (int s = 0; s < SEGMENTS_MAX; s++)
        n += parts_in(&joined[s], part_keys(position));
    return n;
}
