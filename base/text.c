/* text: see text.h. */
#include "base/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

bool text_equals(struct text text, const char *string)
{
    size_t length = strlen(string);
    return text.length == length && (length == 0 || memcmp(text.bytes, string, length) == 0);
}

int text_compare(struct text a, struct text b)
{
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = shorter > 0 ? memcmp(a.bytes, b.bytes, shorter) : 0;
    if (order != 0)
        return order;
    return (a.length > b.length) - (a.length < b.length);
}

/* Control characters, and the format characters that reorder or hide what stands around them. */
static bool is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF;
}

/* Bytes of the character at the start of `text` when it is well-formed UTF-8 and safe to print;
 * else 0. */
static size_t safe_length(const uint8_t *bytes, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = bytes[0];
    size_t n = lead < 0x80   ? 1
               : lead < 0xC0 ? 0
               : lead < 0xE0 ? 2
               : lead < 0xF0 ? 3
               : lead < 0xF8 ? 4
                             : 0;
    if (n == 0 || n > left)
        return 0;
    uint32_t c = n == 1 ? lead : lead & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (bytes[i] & 0x3F);
    }
    if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) || is_unsafe(c))
        return 0;
    return n;
}

struct printable text_printable(struct text text)
{
    struct printable out = {{0}};
    const uint8_t *bytes = (const uint8_t *)text.bytes;
    size_t used = 0;
    for (size_t at = 0; at < text.length;) {
        char piece[8] = {0};
        size_t n = safe_length(bytes + at, text.length - at);
        size_t length = n > 0 ? n : 4;
        if (n > 0)
            memcpy(piece, bytes + at, n);
        else
            snprintf(piece, sizeof piece, "\\x%02x", (unsigned)bytes[at]);
        if (used + length > PRINTABLE_BYTES) {
            memcpy(out.chars + used, "...", 4);
            break;
        }
        memcpy(out.chars + used, piece, length);
        used += length;
        at += n > 0 ? n : 1;
    }
    return out;
}
