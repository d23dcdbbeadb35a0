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
  int min_architecture;  // 80, or 90 for what needs sm_90a
  // Looks at kind, dtype, layouts, strides, channels and sizes; never at pointers or at the device.
  bool (*takes)(const Dyn2trtGatedBlock& block);
  // Bytes of workspace. Grows with n, h and w only, asks no device.
  std::size_t (*workspace)(const Dyn2trtGatedBlock& block);
  // Launches on `stream`. Pointers and sizes have been checked. gate_offset: [n], the pooled part of a SQUEEZE or LAYER
  // gate, else null. Returns a Dyn2trtStatus.
  int (*run)(const Dyn2trtGatedBlock& block, const float* gate_offset, void* workspace, void* stream);
};

struct FusedVariants {
  const FusedVariant* list;
  int count;
};

}  // namespace dyn2trt
