// wgmma: products of a warpgroup that run beside its threads until a wait. The emulator computes them as late as the
// waits allow, reads shared memory only then, and hides the sums until then.
#pragma once

#include <cstdint>

#include "emulator/block.h"

namespace dyn2trt::emulator {

// Where matrix descriptors count from: the offset in the block's shared memory.
uint32_t shared_offset(const void* shared);

// A product of 64 x 16 by 16 x `columns` (at most 256), as one warp gives it: its 16 rows.
struct Product {
  float* sums;            // columns / 2 a lane, as mma's accumulators, eight columns after the other
  const uint32_t* a_row;  // 4 registers a lane, laid out as mma's A; null: `a` describes it
  uint64_t a, b;          // descriptors, see device/ptx/wgmma.cuh
  int columns;
  bool keep;  // add to the sums, else start at zero
  bool bfloat16;
};
void wgmma(const Product& product);
void wgmma_fence(Place place);
void wgmma_commit();
// Waits for all but the latest `pending` groups.
void wgmma_wait(int pending, Place place);

}  // namespace dyn2trt::emulator
