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
  int (*run)(const Dyn2trtGatedBlock& block, void* workspace, void* stream);
  // Bytes of shared memory of a block of threads, to be compared with the device's (DeviceLimits::shared_bytes). Null:
  // at most 99 KB, which every device from sm_80 on has.
  int (*shared_bytes)(const Dyn2trtGatedBlock& block) = nullptr;
};

struct FusedVariants {
  const FusedVariant* list;
  int count;
};

// The pooled part of a gate [n], which a variant adds to its sums: see GateView. A gate that computes its logits is not
// given any, so the library hands the pooled part down in that place. Null for gates without one.
inline const float* gate_offset(const Dyn2trtGatedBlock& block) {
  const bool pooled = block.gate.kind == DYN2TRT_GATE_SQUEEZE || block.gate.kind == DYN2TRT_GATE_LAYER;
  return pooled ? block.gate.given : nullptr;
}

}  // namespace dyn2trt
