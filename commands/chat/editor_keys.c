/* editor_keys: see editor_keys.h. */
#include "commands/chat/editor_keys.h"

#include <histedit.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "commands/array.h"
#include "commands/chat/editor.h"

typedef unsigned char key_function(EditLine *el, int key);

static struct editor *editor_of(EditLine *el)
{
    struct editor *editor;
    el_wget(el, EL_CLIENTDATA, (void **)&editor);
    return editor;
}

/* --- text ----------------------------------------------------------------------------------- */

static void add_character(char **bytes, wchar_t character)
{
    char character_bytes[MB_LEN_MAX];
    mbstate_t state = {0};
    size_t n = wcrtomb(character_bytes, character, &state);
    if (n != (size_t)-1)
        memcpy(arraddnptr(*bytes, n), character_bytes, n);
}

char *editor_narrow(const wchar_t *from, const wchar_t *to)
{
    char *bytes = NULL;
    while (from < to)
        add_character(&bytes, *from++);
    arrput(bytes, '\0');
    return bytes;
}

static char *line_text(EditLine *el)
{
    const LineInfoW *line = el_wline(el);
    return editor_narrow(line->buffer, line->lastchar);
}

/* Text that is no UTF-8 shows as such. */
static void insert(EditLine *el, const char *text)
{
    wchar_t *wide = NULL;
    const char *end = text + strlen(text);
    while (text < end) {
        wchar_t character;
        mbstate_t state = {0};
        size_t n = mbrtowc(&character, text, (size_t)(end - text), &state);
        bool known = n != (size_t)-1 && n != (size_t)-2;
        arrput(wide, known ? character : KEYS_UNKNOWN);
        text += known ? n : 1;
    }
    arrput(wide, L'\0');
    el_winsertstr(el, wide);
    arrfree(wide);
}

static void move_to(EditLine *el, const wchar_t *place)
{
    el_cursor(el, (int)(place - el_wline(el)->cursor));
}

static void replace_line(EditLine *el, const char *text)
{
    const LineInfoW *line = el_wline(el);
    move_to(el, line->lastchar);
    el_wdeletestr(el, (int)(line->lastchar - line->buffer));
    insert(el, text);
}

/* --- turns of more than one line ------------------------------------------------------------- */

static unsigned char on_newline(EditLine *el, int key)
{
    (void)key;
    insert(el, "\n");
    return CC_REFRESH;
}

/* Whether the line begins a block that does not end with it. */
static bool in_block(const LineInfoW *line)
{
    size_t length = (size_t)(line->lastchar - line->buffer);
    return length >= 3 && wmemcmp(line->buffer, L"\"\"\"", 3) == 0 &&
           (length < 6 || wmemcmp(line->lastchar - 3, L"\"\"\"", 3) != 0);
}

static unsigned char on_enter(EditLine *el, int key)
{
    static const wchar_t accept[] = {KEY_ACCEPT, L'\0'};
    const LineInfoW *line = el_wline(el);
    if (in_block(line))
        return on_newline(el, key);
    if (line->lastchar > line->buffer && line->lastchar[-1] == L'\\') {
        move_to(el, line->lastchar);
        el_wdeletestr(el, 1);
        return on_newline(el, key);
    }
    el_wpush(el, accept);
    return CC_NORM;
}

/* All of a paste, as one text. */
static unsigned char on_paste(EditLine *el, int key)
{
    static const char end[] = "\033[201~";
    enum { END_BYTES = sizeof end - 1 };
    struct editor *editor = editor_of(el);
    char *text = NULL;
    wchar_t character;
    (void)key;
    while (editor->signal == 0 && el_wgetc(el, &character) == 1) {
        if (character == L'\n' && arrlen(text) > 0 && arrlast(text) == '\r')
            (void)arrpop(text);
        add_character(&text, character ? character : KEYS_UNKNOWN);
        if (arrlen(text) >= END_BYTES &&
            memcmp(text + arrlen(text) - END_BYTES, end, END_BYTES) == 0) {
            arrsetlen(text, arrlenu(text) - END_BYTES);
            break;
        }
    }
    for (ptrdiff_t i = 0; i < arrlen(text); i++)
        if (text[i] == '\r') /* what terminals make of a line's end */
            text[i] = '\n';
    arrput(text, '\0');
    insert(el, folds_show(&editor->folds, text));
    arrfree(text);
    return CC_REFRESH;
}

/* A label goes as a whole. */
static unsigned char on_erase(EditLine *el, int key)
{
    const LineInfoW *line = el_wline(el);
    (void)key;
    if (line->cursor == line->buffer)
        return CC_ERROR;
    char *before = editor_narrow(line->buffer, line->cursor);
    size_t label = folds_label_before(&editor_of(el)->folds, before, arrlenu(before) - 1);
    el_wdeletestr(el, label > 0 ? (int)label : 1);
    arrfree(before);
    return CC_REFRESH;
}

/* --- turns of before ------------------------------------------------------------------------- */

/* Fills the line with turn i; their number is what was typed before. */
static unsigned char show(EditLine *el, size_t i)
{
    struct editor *editor = editor_of(el);
    size_t n = arrlenu(editor->recall.turns);
    if (i > n)
        return CC_ERROR;
    if (editor->shown == n) {
        arrfree(editor->draft);
        editor->draft = line_text(el);
    }
    editor->shown = i;
    replace_line(el, i == n ? editor->draft : folds_show(&editor->folds, editor->recall.turns[i]));
    return CC_REFRESH;
}

static unsigned char on_older(EditLine *el, int key)
{
    const LineInfoW *line = el_wline(el);
    const wchar_t *start = line->cursor;
    (void)key;
    while (start > line->buffer && start[-1] != L'\n')
        start--;
    if (start == line->buffer)
        return show(el, editor_of(el)->shown - 1);
    const wchar_t *above = start - 1;
    while (above > line->buffer && above[-1] != L'\n')
        above--;
    ptrdiff_t column = line->cursor - start;
    move_to(el, column < start - 1 - above ? above + column : start - 1);
    return CC_REFRESH;
}

static unsigned char on_newer(EditLine *el, int key)
{
    const LineInfoW *line = el_wline(el);
    const wchar_t *start = line->cursor;
    const wchar_t *below = line->cursor;
    (void)key;
    while (start > line->buffer && start[-1] != L'\n')
        start--;
    while (below < line->lastchar && *below != L'\n')
        below++;
    if (below == line->lastchar)
        return show(el, editor_of(el)->shown + 1);
    const wchar_t *to = ++below;
    while (to < line->lastchar && *to != L'\n' && to - below < line->cursor - start)
        to++;
    move_to(el, to);
    return CC_REFRESH;
}

/* The next older turn that holds what has been typed. */
static unsigned char on_search(EditLine *el, int key)
{
    struct editor *editor = editor_of(el);
    char **turns = editor->recall.turns;
    (void)key;
    if (!editor->wanted || editor->shown == arrlenu(turns)) {
        arrfree(editor->wanted);
        editor->wanted = line_text(el);
    }
    for (size_t i = editor->shown; i-- > 0;)
        if (strstr(turns[i], editor->wanted))
            return show(el, i);
    return CC_ERROR;
}

/* --- Tab ------------------------------------------------------------------------------------- */

/* The bytes that two words have in common at their beginning. */
static size_t common(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

/* Completes what the line begins with; behind that, names of files. */
static unsigned char complete(EditLine *el, int key)
{
    struct editor *editor = editor_of(el);
    const LineInfoW *line = el_wline(el);
    char *typed = editor_narrow(line->buffer, line->cursor);
    size_t n = arrlenu(typed) - 1;
    const char *first = NULL; /* of the words that begin so */
    size_t length = 0;        /* of what they have in common */
    int found = 0;
    bool word = typed[0] == '/' && !strchr(typed, ' ');
    bool command = typed[0] == '/';
    for (const char *const *name = editor->words; word && *name; name++)
        if (strncmp(*name, typed, n) == 0) {
            length = first ? common(first, *name) < length ? common(first, *name) : length
                           : strlen(*name);
            first = first ? first : *name;
            found++;
        }
    unsigned char result = CC_REFRESH;
    if (length > n || found == 1) {
        char *rest = strndup(first + n, length - n);
        if (rest)
            insert(el, rest);
        free(rest);
        if (found == 1)
            insert(el, " ");
    } else if (found > 1) {
        fputc('\n', editor->screen);
        for (const char *const *name = editor->words; *name; name++)
            if (strncmp(*name, typed, n) == 0)
                fprintf(editor->screen, "%s  ", *name);
        fputc('\n', editor->screen);
        result = CC_REDISPLAY;
    } else if (!command) {
        insert(el, "\t");
    } else {
        result = word ? CC_ERROR : _el_fn_complete(el, key);
    }
    arrfree(typed);
    return result;
}

/* Behind a label it is the label's text that is wanted. */
static unsigned char on_tab(EditLine *el, int key)
{
    const struct folds *folds = &editor_of(el)->folds;
    const LineInfoW *line = el_wline(el);
    char *before = editor_narrow(line->buffer, line->cursor);
    size_t n = arrlenu(before) - 1;
    size_t label = folds_label_before(folds, before, n);
    char *text = folds_expand(folds, before + n - label);
    unsigned char result = CC_REFRESH;
    if (label > 0) {
        el_wdeletestr(el, (int)label);
        insert(el, text);
    } else {
        result = complete(el, key);
    }
    arrfree(before);
    arrfree(text);
    return result;
}

/* --- the table ------------------------------------------------------------------------------- */

static const struct {
    const wchar_t *name;
    key_function *run; /* NULL: libedit's */
    const wchar_t *keys[5];
} functions[] = {
    {L"chat-enter", on_enter, {L"^M"}},
    {L"chat-newline", on_newline, {L"^J", L"\\e^M", L"\\e^J"}},
    {L"chat-paste", on_paste, {L"\\e[200~"}},
    {L"chat-erase", on_erase, {L"^?", L"^H"}},
    {L"chat-older", on_older, {L"^P", L"\\e[A", L"\\eOA", L"\\e[5~"}},
    {L"chat-newer", on_newer, {L"^N", L"\\e[B", L"\\eOB", L"\\e[6~"}},
    {L"chat-search", on_search, {L"^R"}},
    {L"chat-tab", on_tab, {L"^I"}},
    {L"ed-newline", NULL, {L"^^"}},                  /* KEY_ACCEPT */
    {L"ed-ignore", NULL, {L"\\ex", L"\\eX", L"^S"}}, /* ask for more, and never end at a signal */
    {L"em-next-word", NULL, {L"\\e[1;5C", L"\\e[1;3C"}},
    {L"ed-prev-word", NULL, {L"\\e[1;5D", L"\\e[1;3D"}},
};

int editor_bind_keys(EditLine *el)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        if (functions[i].run &&
            el_wset(el, EL_ADDFN, functions[i].name, L"of the chat", functions[i].run))
            return -1;
        for (size_t k = 0; k < 5 && functions[i].keys[k]; k++)
            if (el_wset(el, EL_BIND, functions[i].keys[k], functions[i].name, NULL))
                return -1;
    }
    return 0;
}
