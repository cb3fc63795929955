/* parts: the keys of a segment in stretches that end at fixed places of the text. A query's softmax
 * over a part is made apart from that over others and then merged with theirs, newest part first,
 * so that neither the batch nor the number of threads changes a bit. Used by attention only. */
#ifndef LONGHAND_MODEL_PARTS_H
#define LONGHAND_MODEL_PARTS_H

#include "model/session.h"

struct part {
    int segment;
    int64_t begin;
    int64_t end;
};

/* What tokens first .. first + n - 1 of the batch see between them of every segment. */
void parts_join(const struct session *session, int layer, int first, int n,
                struct part joined[SEGMENTS_MAX]);

/* The i-th part of that, newest first; false past the last. */
bool parts_find(const struct part joined[SEGMENTS_MAX], const struct position *position, int64_t i,
                struct part *part);

/* How many there are. */
int64_t parts_count(const struct part joined[SEGMENTS_MAX], const struct position *position);

#endif
