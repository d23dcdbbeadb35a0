// The checks of a gated block, against its declaration.
#pragma once

#include "api/checks.h"

namespace dyn2trt {

// Kinds, types, shapes: all that a workspace query needs.
int check_sizes(const Dyn2trtGatedBlock& block);

// Pointers, after check_sizes(). `in_place`: y may be identity.
int check_pointers(const Dyn2trtGatedBlock& block, bool in_place);

}  // namespace dyn2trt
