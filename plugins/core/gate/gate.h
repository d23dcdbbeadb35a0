// A gate by kernels of its own: what a block without a fused kernel takes its logits from, and the pooled part of a
// gate, which fused kernels are given.
#pragma once

#include "api/workspace.h"
#include "dyn2trt/contract.h"

namespace dyn2trt {

inline const contract::Gate& gate_of(const Dyn2trtGatedBlock& block) { return contract::kGates[block.gate.kind]; }

// What the pooled part needs in the workspace; all null for a gate without one.
struct PoolMemory {
  float* partial;  // [n, chunks, c] sums
  float* mean;     // [n, c]
  float* offset;   // [n]
};
PoolMemory take_pool(const Dyn2trtGatedBlock& block, Workspace& workspace);

// x -> offset. Deterministic: sums of fixed chunks of positions, added up in order.
int pool_gate(const Dyn2trtGatedBlock& block, const PoolMemory& memory, void* stream);

// x, offset -> logits [n, ho, wo], by the order of summation of device/gate.cuh, for any layout.
int gate_logits(const Dyn2trtGatedBlock& block, const float* offset, float* logits, void* stream);

}  // namespace dyn2trt
