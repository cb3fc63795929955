/* utf8: where a character ends. Well-formed means Unicode's table 3-7: no overlong forms, no
 * surrogates, nothing above U+10FFFF. */
#ifndef LONGHAND_TOKENIZER_UTF8_H
#define LONGHAND_TOKENIZER_UTF8_H

#include <stddef.h>

enum { UTF8_INVALID = 0, UTF8_UNFINISHED = -1, UTF8_LONGEST = 4 };

/* Bytes of the well-formed character that starts `bytes` (1 to 4), UTF8_INVALID when none starts
 * there, UTF8_UNFINISHED when all `left` (at least 1) bytes are the beginning of one. */
static inline int utf8_length(const char *bytes, size_t left)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (b[0] < 0x80)
        return 1;
    if (b[0] < 0xC2 || b[0] > 0xF4)
        return UTF8_INVALID;
    int length = b[0] < 0xE0 ? 2 : b[0] < 0xF0 ? 3 : 4;
    unsigned char low = b[0] == 0xE0 ? 0xA0 : b[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = b[0] == 0xED ? 0x9F : b[0] == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < (size_t)length; i++) {
        if (i == left)
            return UTF8_UNFINISHED;
        if (b[i] < low || b[i] > high)
            return UTF8_INVALID;
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

/* Bytes at the start of `text` that are whole characters. */
static inline size_t utf8_valid_prefix(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        int n = utf8_length(text + at, length - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    return at;
}

/* Bytes at the start of `text` before the next character. */
static inline size_t utf8_invalid_prefix(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length && utf8_length(text + at, length - at) <= 0)
        at++;
    return at;
}

#endif
