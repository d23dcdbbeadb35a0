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

// What is known of the devices of an architecture (CUDA C++ Programming Guide, "Technical Specifications per Compute
// Capability"), for a choice where there is none.
DeviceOfVariants device_of(int32_t architecture);

// Index of the variant that runs `block` on `device`, -1 for the chain: the one of the nearest measured shape that can,
// of the newest measured architecture that is not newer than the device; where nothing was measured the first that can.
int32_t choose_variant(const Dyn2trtGatedBlock& block, const DeviceOfVariants& device, VariantAt variants,
                       const MeasuredTable& table);

// The same among the library's own.
int32_t choose_variant(const Dyn2trtGatedBlock& block, const DeviceOfVariants& device);

}  // namespace dyn2trt
