// Fused kernels of gated blocks, as data: what a variant takes, the memory that it wants, and how it is launched.
//
// A block kind has a list of variants. The library chooses among those that take a block (a measured table), tests and
// benchmarks name one (`Dyn2trtGatedBlock.variant`), and what none takes goes the general way (api/composite.h).
#pragma once

#include <cstddef>

#include "dyn2trt/core.h"

namespace dyn2trt {

struct FusedVariant {
  const char* name;      // "tile 8x16 mma": what the table, the tests and the benchmarks call it
  int min_architecture;  // 80: that and all later ones; 90: sm_90a, which runs on compute capability 9.0 alone
  // Looks at kind, dtype, layouts, strides, channels and sizes; never at pointers or at the device.
  bool (*takes)(const Dyn2trtGatedBlock& block);
  // Bytes of workspace. Grows with n, h and w only, asks no device.
  std::size_t (*workspace)(const Dyn2trtGatedBlock& block);
  // Launches on `stream`. Pointers and sizes have been checked. Returns a Dyn2trtStatus.
  // Of a gate with a pooled part, gate_offset(block) is computed already.
  int (*run)(const Dyn2trtGatedBlock& block, void* workspace, void* stream);
  // Bytes of shared memory of a block of threads, to be compared with the device's (DeviceLimits::shared_bytes). Null:
  // at most 99 KB, which every device from sm_80 on has.
  int (*shared_bytes)(const Dyn2trtGatedBlock& block) = nullptr;
  bool in_place = false;  // y may be identity, the same tensor
};

// What of a device decides whether a variant runs on it.
struct DeviceOfVariants {
  int32_t architecture;  // compute capability as major * 10 + minor: 90 for sm_90
  int32_t shared_bytes;  // that a block of threads may ask for
};

// What sm_90a compiles to runs on compute capability 9.0 and on nothing later.
inline bool runs_on(const FusedVariant& variant, const DeviceOfVariants& device) {
  return variant.min_architecture == 90 ? device.architecture == 90 : device.architecture >= variant.min_architecture;
}

// Whether a variant computes the block on this device.
inline bool can_run(const FusedVariant& variant, const Dyn2trtGatedBlock& block, const DeviceOfVariants& device) {
  constexpr int32_t kEverywhere = 99 * 1024;
  if (!runs_on(variant, device) || !variant.takes(block)) return false;
  const int32_t wanted = variant.shared_bytes != nullptr ? variant.shared_bytes(block) : kEverywhere;
  return wanted <= device.shared_bytes;
}

struct FusedVariants {
  const FusedVariant* list;
  int count;
};

// A list of each folder; empty where the library is built without it.
FusedVariants inverted_residual_variants();
FusedVariants tile_variants();
FusedVariants row_variants();

// The variants of a block kind, one list after the other; null outside.
const FusedVariant* fused_variant(int32_t block_kind, int32_t index);

// The pooled part of a gate [n], which a variant adds to its sums: see GateView. A gate that computes its logits is not
// given any, so the library hands the pooled part down in that place. Null for gates without one.
inline const float* gate_offset(const Dyn2trtGatedBlock& block) {
  const bool pooled = block.gate.kind == DYN2TRT_GATE_SQUEEZE || block.gate.kind == DYN2TRT_GATE_LAYER;
  return pooled ? block.gate.given : nullptr;
}

}  // namespace dyn2trt
