/* svg: what pictures in SVG share. */
#ifndef LONGHAND_COMMANDS_SVG_H
#define LONGHAND_COMMANDS_SVG_H

#include <stdio.h>

/* Text as the content of an element. */
void svg_put_text(FILE *out, const char *text);

#endif
