/* editor_keys: what keys do while a line is edited, beyond what libedit's do. */
#ifndef LONGHAND_COMMANDS_CHAT_EDITOR_KEYS_H
#define LONGHAND_COMMANDS_CHAT_EDITOR_KEYS_H

#include <wchar.h>

struct editline;

/* The character that ends the line, whatever it is: Ctrl-^. */
enum { KEY_ACCEPT = 0x1e };

/* Gives the keys their functions. The editor is the client data of `lines`. Returns 0 or -1. */
int editor_bind_keys(struct editline *lines);

/* The line as bytes: of `from` up to `to` (stb_ds array, NUL-terminated). */
char *editor_narrow(const wchar_t *from, const wchar_t *to);

#endif
