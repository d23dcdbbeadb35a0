// B: rows of the weight [cols, taps, channels], whose K axis is contiguous.
#pragma once

#include "gemm/arguments.h"
#include "gemm/load.cuh"
#include "gemm/tile.cuh"

namespace dyn2trt::gemm {

template <bool kVectors, class T, class Tile>
DYN2TRT_DEVICE void load_weight_as(const Arguments& p, int taps, int first_col, int tap, int channel,
                                   OperandRow* stage) {
  const T* weight = static_cast<const T*>(p.weight);
  constexpr int kCopies = Tile::kCols * kVectorsPerChunk, kPasses = ceil_div(kCopies, Tile::kThreads);
#pragma unroll(kVectors ? kPasses : 1)
  for (int pass = 0; pass < kPasses; ++pass) {
    const unsigned i = pass * Tile::kThreads + threadIdx.x;
    if (kCopies % Tile::kThreads != 0 && i >= kCopies) break;
    const unsigned row = i / kVectorsPerChunk, vector = i % kVectorsPerChunk;
    const int col = first_col + static_cast<int>(row);
    const int c = channel + static_cast<int>(vector) * kVectorWidth<T>;
    copy_channels<kVectors>(operand_part(stage, row, vector),
                            weight + static_cast<int64_t>(col * taps + tap) * p.channels + c,
                            col < p.cols ? p.channels - c : 0);
  }
}

template <class T, class Tile>
DYN2TRT_DEVICE void load_weight(const Arguments& p, int taps, int first_col, int tap, int channel, OperandRow* stage) {
  if (p.weight_vectors) {
    load_weight_as<true, T, Tile>(p, taps, first_col, tap, channel, stage);
  } else {
    load_weight_as<false, T, Tile>(p, taps, first_col, tap, channel, stage);
  }
}

}  // namespace dyn2trt::gemm
