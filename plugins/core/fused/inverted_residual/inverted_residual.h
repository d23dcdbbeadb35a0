// The fused kernels of the gated inverted residual.
#pragma once

#include "fused/fused.h"

namespace dyn2trt {

// In the order of Dyn2trtGatedBlock::variant, from 1 on.
FusedVariants inverted_residual_variants();

namespace inverted_residual {

// Runs list[index], which takes the block. offset: [n], the pooled part of a SQUEEZE or LAYER gate, else not looked at.
int run_variant(int index, const Dyn2trtGatedBlock& block, const float* offset, void* stream);

}  // namespace inverted_residual
}  // namespace dyn2trt
