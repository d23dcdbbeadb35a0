// Shared memory of a gathered convolution: a ring of operands, and what the rows of two tiles are.
#pragma once

#include "device/ptx/mbarrier.cuh"
#include "device/scan.cuh"
#include "fused/rows/limits.h"
#include "fused/rows/shape.h"

namespace dyn2trt::rows {

constexpr uint32_t kNoRow = 0xffffffffu;

struct ConvShared {
  // A stage: the tile's rows of A, then its columns of B, 128 bytes each, swizzled.
  alignas(1024) unsigned char ring[kRingBytes];
  // Where the rows of the tile under way, and of the next, are written, in vectors; kNoRow behind the last.
  uint32_t target[2][kMaxRows];
  uint32_t residual[2][kMaxRows];
  uint32_t source[2][kMaxRows];  // the producers' own
  ptx::Mbarrier full[kMaxStages], empty[kMaxStages];
  ptx::Mbarrier rows_full[2], rows_empty[2];
  int first_row[kMaxSegments];  // of each segment of the list
  ScanShared<kConvThreads> scan;
  int last_share;
};

// Numbers of named barriers.
constexpr int kProducersMeet = 1, kConsumersMeet = 2;

// A ring's next stage and the parity of its phase.
struct Pipe {
  int stage = 0, parity = 0;

  DYN2TRT_DEVICE void advance(int stages) {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
};

}  // namespace dyn2trt::rows
