/* editor: see editor.h. */
#include "commands/chat/editor.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "commands/array.h"
#include "commands/chat/editor_keys.h"
#include "commands/interrupt.h"

static const char prompt[] = "> ";
enum { PROMPT_COLUMNS = sizeof prompt - 1 };

/* --- the screen ----------------------------------------------------------------------------- */

/* libedit's prompts end with plain text, and \1 sets off what takes no space. */
static wchar_t *show_prompt(EditLine *el)
{
    static wchar_t plain[] = L"> ";
    static wchar_t bold[] = L"\1\033[1m\1>\1\033[0m\1 ";
    const char *no_color = getenv("NO_COLOR");
    (void)el;
    return no_color && *no_color ? plain : bold;
}

/* How many screen lines the text goes down from the prompt's line, as libedit lays it out. */
static int count_rows(const wchar_t *from, const wchar_t *to, int columns)
{
    int row = 0;
    int column = PROMPT_COLUMNS;
    for (; from < to; from++) {
        int width = wcwidth(*from);
        if (*from == L'\t')
            width = 8 - column % 8;
        else if (width < 0)
            width = *from < 0x80 ? 2 : *from > 0xffff ? 8 : 7; /* ^X, \U+XXXX */
        if (*from == L'\n' || column + width > columns) {
            row++;
            column = 0;
        }
        column += *from == L'\n' ? 0 : width;
        if (column >= columns) {
            row++;
            column = 0;
        }
    }
    return row;
}

/* Where the cursor is, and where the text ends, in rows below the prompt's line. */
static void find_rows(EditLine *el, int *cursor, int *last)
{
    struct winsize size = {0};
    ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
    int columns = size.ws_col > 1 ? size.ws_col : 80;
    int bottom = size.ws_row > 0 ? size.ws_row - 1 : 23;
    const LineInfoW *line = el_wline(el);
    *cursor = count_rows(line->buffer, line->cursor, columns);
    *last = count_rows(line->buffer, line->lastchar, columns);
    if (*last > bottom) { /* the first rows are not on the screen */
        *cursor = *cursor > *last - bottom ? *cursor - (*last - bottom) : 0;
        *last = bottom;
    }
}

/* Draws prompt and line in the place where they were, as terminals of today have wrapped them. */
static void redraw(struct editor *editor)
{
    int cursor, last;
    find_rows(editor->lines, &cursor, &last);
    if (cursor > 0)
        fprintf(editor->screen, "\033[%dA", cursor);
    fputs("\r\033[J", editor->screen);
    el_resize(editor->lines);
    el_wset(editor->lines, EL_REFRESH);
}

/* Ctrl-Z: as the terminal was, until the process goes on. */
static void suspend(struct editor *editor)
{
    int cursor, last;
    find_rows(editor->lines, &cursor, &last);
    for (int i = cursor; i <= last; i++)
        fputc('\n', editor->screen);
    fputc('\r', editor->screen);
    fflush(editor->screen);
    el_wset(editor->lines, EL_PREP_TERM, 0);
    keys_end();
    raise(SIGTSTP);
    if (interrupt_end_seen()) { /* perhaps in the background, where the terminal is another's */
        editor->signal = SIGTERM;
        return;
    }
    keys_begin();
    el_wset(editor->lines, EL_PREP_TERM, 1);
    el_resize(editor->lines);
    el_wset(editor->lines, EL_REFRESH);
}

/* --- reading -------------------------------------------------------------------------------- */

/* libedit's source of characters. A signal that ends the editing reads as the key that ends the
 * line, as often as it takes. */
static int read_character(EditLine *el, wchar_t *character)
{
    struct editor *editor;
    el_wget(el, EL_CLIENTDATA, (void **)&editor);
    while (editor->signal == 0) {
        int result = keys_read(&editor->keys, character);
        if (result >= 0)
            return result;
        if (result == -SIGTSTP) {
            suspend(editor);
        } else if (result == -SIGWINCH) {
            redraw(editor);
        } else if (result == -SIGCONT) {
            el_wset(el, EL_PREP_TERM, 0);
            el_wset(el, EL_PREP_TERM, 1);
            redraw(editor);
        } else {
            editor->signal = -result;
        }
    }
    *character = KEY_ACCEPT;
    return 1;
}

/* Takes the marks of a block, and line ends behind the text, away. */
static void trim(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        length--;
    if (length >= 6 && memcmp(text, "\"\"\"", 3) == 0 &&
        memcmp(text + length - 3, "\"\"\"", 3) == 0) {
        size_t start = text[3] == '\n' ? 4 : 3;
        length -= 3;
        length -= length > start && text[length - 1] == '\n';
        length = length > start ? length - start : 0;
        memmove(text, text + start, length);
    }
    text[length] = '\0';
}

static enum editor_result edit_turn(struct editor *editor, const char **text, size_t *length)
{
    struct error err;
    int n;
    editor->shown = arrlenu(editor->recall.turns);
    editor->signal = 0;
    arrfree(editor->draft);
    arrfree(editor->wanted);
    arrfree(editor->text);
    folds_clear(&editor->folds);
    if (keys_begin())
        return EDITOR_END;
    el_wset(editor->lines, EL_PREP_TERM, 1); /* before the prompt is there to be answered */
    const wchar_t *line = el_wgets(editor->lines, &n);
    if (!line) {
        fputc('\n', editor->screen);
        fflush(editor->screen);
    }
    keys_end();
    *length = line ? (size_t)n - 1 : 0;
    if (editor->signal == SIGINT)
        return EDITOR_INTERRUPTED;
    if (editor->signal != 0 && !interrupt_end_seen())
        raise(editor->signal);
    if (!line || editor->signal != 0)
        return EDITOR_END;
    char *typed = editor_narrow(line, line + n);
    editor->text = folds_expand(&editor->folds, typed);
    arrfree(typed);
    trim(editor->text);
    *text = editor->text;
    *length = strlen(editor->text);
    if (*length > 0 && recall_add(&editor->recall, editor->text, &err))
        output_note(editor->output, "%s", err.text);
    return EDITOR_TEXT;
}

static enum editor_result read_turn(struct editor *editor, const char **text, size_t *length)
{
    if (editor->prompts)
        fputs(prompt, stderr);
    errno = 0;
    *length = 0;
    ssize_t n = getline(&editor->text, &editor->capacity, stdin);
    if (n < 0) {
        bool interrupted = errno == EINTR && interrupt_seen() && !interrupt_end_seen();
        clearerr(stdin);
        if (editor->prompts)
            fputc('\n', stderr);
        return interrupted ? EDITOR_INTERRUPTED : EDITOR_END;
    }
    while (n > 0 && (editor->text[n - 1] == '\n' || editor->text[n - 1] == '\r'))
        editor->text[--n] = '\0';
    *text = editor->text;
    *length = (size_t)n;
    return EDITOR_TEXT;
}

enum editor_result editor_read(struct editor *editor, const char **text, size_t *length)
{
    interrupt_clear();
    if (interrupt_end_seen())
        return EDITOR_END;
    return editor->lines ? edit_turn(editor, text, length) : read_turn(editor, text, length);
}

/* --- opening -------------------------------------------------------------------------------- */

/* libedit counts columns by the locale's characters; text is always UTF-8 here. */
static bool use_utf8(void)
{
    return (setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0) ||
           setlocale(LC_CTYPE, "C.UTF-8");
}

static bool can_edit(void)
{
    const char *term = getenv("TERM");
    return isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1 && term && *term &&
           strcmp(term, "dumb") != 0 && use_utf8();
}

static int open_lines(struct editor *editor)
{
    int screen = dup(STDERR_FILENO);
    editor->screen = screen < 0 ? NULL : fdopen(screen, "w");
    if (!editor->screen)
        return -1;
    editor->lines = el_init("longhand", stdin, editor->screen, editor->screen);
    if (!editor->lines)
        return -1;
    EditLine *el = editor->lines;
    return el_wset(el, EL_CLIENTDATA, editor) || el_wset(el, EL_EDITOR, L"emacs") ||
                   el_wset(el, EL_PROMPT_ESC, show_prompt, L'\1') ||
                   el_wset(el, EL_GETCFN, read_character) ||
                   el_wset(el, EL_SETTY, L"-d", L"-icrnl", L"-inlcr", NULL) || editor_bind_keys(el)
               ? -1
               : 0;
}

/* el_end would set the terminal's modes once more, drop what has been typed for whoever comes next,
 * and in the background be stopped for it: so it gets another file to do that to. */
static void close_lines(struct editor *editor)
{
    FILE *nowhere = fopen("/dev/null", "re");
    if (editor->lines && nowhere)
        el_wset(editor->lines, EL_SETFP, 0, nowhere);
    if (editor->lines)
        el_end(editor->lines);
    if (nowhere)
        fclose(nowhere);
    if (editor->screen)
        fclose(editor->screen);
    editor->lines = NULL;
    editor->screen = NULL;
}

void editor_open(struct editor *editor, const char *const *words, struct output *output)
{
    struct error err;
    *editor = (struct editor){.words = words,
                              .output = output,
                              .prompts = isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1};
    if (!can_edit())
        return;
    if (open_lines(editor))
        close_lines(editor);
    else if (recall_open(&editor->recall, &err))
        output_note(output, "%s", err.text);
}

void editor_close(struct editor *editor)
{
    if (editor->lines)
        arrfree(editor->text);
    free(editor->text);
    close_lines(editor);
    recall_close(&editor->recall);
    folds_clear(&editor->folds);
    arrfree(editor->draft);
    arrfree(editor->wanted);
    *editor = (struct editor){0};
}
