/* canonical: a chat template's text in the one spelling that it is recognised in.
 *
 * Templates that mean the same are written in many ways. Here white space outside of text and
 * literals is gone, as are comments and the minus signs of white space control, whose effect on the
 * text between tags is applied (as transformers has it: trim_blocks, lstrip_blocks); literals stand
 * in single quotes with \n for a line end and are joined where a + joins them; message.role is
 * message['role'], .content alike, and .strip() is |trim:
 *
 *     {%- for message in messages %}             {%formessageinmessages%}
 *         {{- "<|im_start|>" + message.role }}   {{'<|im_start|>'+message['role']}}
 *
 * Any bytes are a template. */
#ifndef LONGHAND_TOKENIZER_CHAT_CANONICAL_H
#define LONGHAND_TOKENIZER_CHAT_CANONICAL_H

#include "base/error.h"
#include "base/text.h"

/* *canonical is a string, without any NUL of the template; free it. */
int canonical_make(char **canonical, struct text template, struct error *err);

#endif
