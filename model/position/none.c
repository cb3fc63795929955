/* none: no position encoding (NoPE); the causal mask is all the model has. */
#include "model/position/position.h"

const struct position_scheme position_none = {.name = "none", .nature = POSITION_PLACELESS};
