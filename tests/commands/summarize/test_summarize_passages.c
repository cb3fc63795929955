/* test_summarize_passages: what holds of passages and coverage, whatever the text. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/array.h"
#include "commands/summarize/summarize.h"
#include "tests/suites.h"

/* BPE of bytes, and SentencePiece's with an unknown token or bytes. */
static const char *const models[] = {"tests/data/gpt2.gguf", "tests/data/llama.gguf",
                                     "models/longhand.gguf"};
enum { N_MODELS = sizeof models / sizeof models[0] };

static struct engine engine;

static void open_model(int i)
{
    struct error err;
    struct options options = {.model = models[i], .rope = {.kind = -1}};
    engine = (struct engine){0};
    ck_assert_msg(engine_open_checkpoint(&engine, &options, &err) == 0, "%s", err.text);
    ck_assert_msg(engine_open_tokenizer(&engine, &options, &err) == 0, "%s", err.text);
}

static struct document open_document(const char *text, size_t length)
{
    struct error err;
    struct document document;
    int result = document_open(&document, engine.tokenizer, (struct text){text, length}, &err);
    ck_assert_msg(result == 0, "%s", err.text);
    return document;
}

/* ---- Ragged texts ---------------------------------------------------------------------------- */

static uint64_t state;

static unsigned draw(unsigned n)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}

enum { TEXT_BYTES = 12000 };

static const char *const pieces[] = {
    "word",    "the",    "Mr.",    "a",    "St.",    "J.",    "naïve", "Große",  "日本語", "文。",
    "はい！",  "😀",      "“Yes.”", "end.", "What?!", "(so.)", "…",     "12,345", "\n",     "\n\n",
    "\r\n",    " ",      "    ",   "\t",   "x",      "|",     "\"",    "«oui»",  "э",      "слово.",
    "e\u0301", "\u200d", "fi",     "\v",   "---",    "0",     "AAAA",  "?",      ".",      "'",
};

/* A text of one kind: sentences; no spaces at all; white space above all; one long word; anything.
 */
static size_t make_text(int kind, char *text)
{
    size_t n = 0;
    size_t wanted = draw(4) == 0 ? draw(40) : draw(TEXT_BYTES - 64);
    unsigned count = sizeof pieces / sizeof pieces[0];
    while (n < wanted) {
        const char *piece = pieces[draw(count)];
        if (kind == 0)
            piece = draw(9) == 0 ? "end." : pieces[draw(8)];
        else if (kind == 2)
            piece = draw(5) == 0 ? piece : pieces[18 + draw(6)];
        else if (kind == 3)
            piece = draw(2) == 0 ? "long" : "Word";
        memcpy(text + n, piece, strlen(piece));
        n += strlen(piece);
        if ((kind == 0 || kind == 4) && draw(4) > 0)
            text[n++] = ' ';
    }
    return n;
}

static bool is_character(const char *text, size_t at)
{
    return ((unsigned char)text[at] & 0xC0) != 0x80;
}

static void check_passages(const struct document *document, size_t most, size_t overlap)
{
    size_t length = document->text.length;
    struct passage *passages = passages_cut(document, most, overlap);
    struct passage before = {0};
    size_t covered = 0;
    for (ptrdiff_t i = 0; i < arrlen(passages); i++) {
        struct passage p = passages[i];
        ck_assert_uint_le(p.begin, before.end); /* nothing between them */
        ck_assert(i == 0 ? p.begin == 0 : p.begin > before.begin);
        ck_assert_uint_gt(p.end, before.end);
        ck_assert_uint_le(document_tokens(document, p), most);
        struct passage twice = {p.begin, before.end};
        ck_assert_uint_le(document_tokens(document, twice), overlap);
        ck_assert(is_character(document->text.bytes, p.begin));
        ck_assert(p.end == length || is_character(document->text.bytes, p.end));
        covered += p.end - before.end;
        before = p;
    }
    ck_assert_uint_eq(covered, length);
    arrfree(passages);
}

START_TEST(passages_cover_every_byte_and_keep_to_their_size)
{
    static char text[TEXT_BYTES];
    open_model(_i % N_MODELS);
    state = (uint64_t)_i;
    for (int round = 0; round < 20; round++) {
        size_t n = make_text(round % 5, text);
        struct document document = open_document(text, n);
        size_t most = PASSAGE_LEAST + draw(round % 2 == 0 ? 8 : 300);
        check_passages(&document, most, draw((unsigned)most / 2));
        document_close(&document);
    }
    engine_close(&engine);
}
END_TEST

/* The tokens of stretches add up, wherever they are cut. */
START_TEST(tokens_of_stretches_add_up)
{
    static char text[TEXT_BYTES];
    open_model(_i % N_MODELS);
    state = (uint64_t)_i + 99;
    for (int round = 0; round < 20; round++) {
        size_t n = make_text(round % 5, text);
        struct document document = open_document(text, n);
        size_t tokens = 0;
        for (size_t at = 0; at < n;) {
            size_t end = at + 1 + draw(100);
            struct passage stretch = {at, end < n ? end : n};
            tokens += document_tokens(&document, stretch);
            at = stretch.end;
        }
        ck_assert_uint_eq(tokens, document.ids.n);
        for (size_t i = 1; i < document.ids.n; i++)
            ck_assert_uint_ge(document.ends[i], document.ends[i - 1]);
        ck_assert(document.ids.n == 0 || document.ends[document.ids.n - 1] == n);
        document_close(&document);
    }
    engine_close(&engine);
}
END_TEST

/* ---- Where it is cut ------------------------------------------------------------------------- */

/* A text, and what each passage of at most 16 tokens of the first model ends with; "" ends. */
static const struct {
    const char *text;
    size_t overlap;
    const char *ends[6];
    const char *second; /* what the second passage begins with, or NULL */
} cuts[] = {
    {"One two three four. Five six seven eight. Nine ten eleven twelve. Thirteen.",
     0,
     {"eight. ", "Thirteen."},
     "Nine"},
    {"One two three four. Five six seven eight. Nine ten eleven twelve. Thirteen.",
     8,
     {"eight. ", NULL},
     "Five"},
    /* Not behind a title */
    {"They all went out of the house together. Here came Mr. Brown and Mr. Green and Mr. White.",
     0,
     {"together. ", NULL},
     "Here"},
    /* Lines, where there are no sentences, and words, where there are no lines */
    {"one two three four five six seven eight nine\nten eleven twelve thirteen fourteen",
     0,
     {"nine\n", NULL},
     "ten"},
    {"one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
     0,
     {" ", NULL},
     NULL},
    {"我们走了。他们来了。我们走了。他们来了。", 0, {"。", NULL}, NULL},
    {"", 0, {""}, NULL},
    {"Word", 0, {"Word", ""}, NULL},
};

START_TEST(cuts_are_where_sentences_end)
{
    open_model(2);
    struct document document = open_document(cuts[_i].text, strlen(cuts[_i].text));
    struct passage *passages = passages_cut(&document, PASSAGE_LEAST, cuts[_i].overlap);
    for (ptrdiff_t i = 0; cuts[_i].ends[i]; i++) {
        const char *end = cuts[_i].ends[i];
        if (!*end) {
            ck_assert_int_eq(arrlen(passages), i);
            break;
        }
        ck_assert_int_gt(arrlen(passages), i);
        size_t at = passages[i].end - strlen(end);
        ck_assert_msg(strncmp(cuts[_i].text + at, end, strlen(end)) == 0, "passage %d ends at: %s",
                      (int)i, cuts[_i].text + passages[i].end);
    }
    if (cuts[_i].second)
        ck_assert_msg(strncmp(cuts[_i].text + passages[1].begin, cuts[_i].second,
                              strlen(cuts[_i].second)) == 0,
                      "%s", cuts[_i].text + passages[1].begin);
    arrfree(passages);
    document_close(&document);
    engine_close(&engine);
}
END_TEST

/* ---- Coverage -------------------------------------------------------------------------------- */

START_TEST(coverage_adds_up)
{
    struct coverage coverage = {0};
    coverage_add(&coverage, (struct passage){10, 20});
    coverage_add(&coverage, (struct passage){15, 30}); /* 5 of them twice */
    coverage_add(&coverage, (struct passage){30, 30});
    coverage_add(&coverage, (struct passage){30, 35});
    coverage_add(&coverage, (struct passage){50, 60});
    coverage_finish(&coverage, 70);
    ck_assert_int_eq(arrlen(coverage.read), 2);
    ck_assert_uint_eq(coverage.read[0].end, 35);
    ck_assert_int_eq(arrlen(coverage.skipped), 3);
    ck_assert_uint_eq(coverage_bytes(coverage.read), 35);
    ck_assert_uint_eq(coverage_bytes(coverage.skipped), 35);
    ck_assert_uint_eq(coverage.twice, 5);
    coverage_free(&coverage);
    coverage_finish(&coverage, 7);
    ck_assert_uint_eq(coverage_bytes(coverage.skipped), 7);
    coverage_free(&coverage);
}
END_TEST

Suite *summarize_passages_suite(void)
{
    Suite *suite = suite_create("summarize_passages");
    TCase *tcase = tcase_create("passages");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, passages_cover_every_byte_and_keep_to_their_size, 0, 5 * N_MODELS);
    tcase_add_loop_test(tcase, tokens_of_stretches_add_up, 0, N_MODELS);
    tcase_add_loop_test(tcase, cuts_are_where_sentences_end, 0, sizeof cuts / sizeof cuts[0]);
    tcase_add_test(tcase, coverage_adds_up);
    suite_add_tcase(suite, tcase);
    return suite;
}
