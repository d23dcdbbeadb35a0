// B: rows of the weight [cols, taps, channels], whose K axis is contiguous.
#pragma once

#include "gemm/arguments.h"
#include "gemm/load.cuh"
#include "gemm/tile.cuh"

namespace dyn2trt::gemm {

template <class T, class Tile>
DYN2TRT_DEVICE void load_weight(const Arguments& p, int taps, int first_col, int tap, int channel, OperandRow* stage) {
  const T* weight = static_cast<const T*>(p.weight);
#pragma unroll
  for (int i = threadIdx.x; i < Tile::kCols * kVectorsPerChunk; i += Tile::kThreads) {
    const int row = i / kVectorsPerChunk, vector = i % kVectorsPerChunk;
    const int col = first_col + row;
    const int c = channel + vector * kVectorWidth<T>;
    copy_channels(stage[row].bytes + 16 * vector, weight + (static_cast<int64_t>(col) * taps + tap) * p.channels + c,
                  weight, col < p.cols ? p.channels - c : 0, p.weight_vectors);
  }
}

}  // namespace dyn2trt::gemm
