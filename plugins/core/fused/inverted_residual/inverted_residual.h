// The fused kernels of the gated inverted residual.
#pragma once

#include "fused/fused.h"

namespace dyn2trt {

// In the order of Dyn2trtGatedBlock::variant, from 1 on.
FusedVariants inverted_residual_variants();

}  // namespace dyn2trt
