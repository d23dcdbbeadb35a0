// Which variant runs a block: a measured table.
#pragma once

#include "fused/fused.h"

namespace dyn2trt {

// One measurement: on this architecture, at this shape, that variant was the fastest on average over the activities.
struct Measured {
  int32_t architecture;  // 90 for sm_90
  int32_t block_kind;
  int32_t channels, width;  // of x, and of the first convolution's output
  int32_t stride;
  int32_t positions;  // of the output map of one image
  int32_t batch;
  const char* variant;  // its name, or kChainName
};
constexpr const char* kChainName = "chain";

struct MeasuredTable {
  const Measured* rows;
  int32_t count;
};

// The table that benchmarks/gpu_tune.py writes.
MeasuredTable measured_table();

// As fused_variant().
using VariantAt = const FusedVariant* (*)(int32_t block_kind, int32_t index);

// Index of the variant that runs `block` on `architecture`, -1 for the chain: the one of the nearest measured shape
// that takes the block, of the newest measured architecture that is not newer than this one; where nothing was measured
// the first one that takes the block.
int32_t choose_variant(const Dyn2trtGatedBlock& block, int32_t architecture, VariantAt variants,
                       const MeasuredTable& table);

// The same among the library's own.
int32_t choose_variant(const Dyn2trtGatedBlock& block, int32_t architecture);

}  // namespace dyn2trt
