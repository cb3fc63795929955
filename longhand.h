/* longhand: the library's public header. See docs/architecture.md for the order of calls. */
#ifndef LONGHAND_H
#define LONGHAND_H

#include "kernels/parallel.h"
#include "model/checkpoint.h"
#include "model/generate.h"
#include "model/model.h"
#include "model/restore.h"
#include "model/sampler.h"
#include "model/save.h"
#include "model/session.h"
#include "tokenizer/tokenizer.h"

#endif
