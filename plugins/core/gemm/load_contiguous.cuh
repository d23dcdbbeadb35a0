// A from rows or from a channels-last tensor: four threads copy the 64 bytes of a row's chunk.
#pragma once

#include "gemm/addresses.cuh"
#include "gemm/load.cuh"
#include "gemm/tile.cuh"

namespace dyn2trt::gemm {

// A loader brings one chunk of A into a stage in two steps: fetch() before the product of the current chunk, so that
// what it starts overlaps with it, and store() after it.
template <class T, class Tile>
struct LoadContiguous {
  DYN2TRT_DEVICE void fetch(const Arguments& p, const Addresses<Tile::kRows>& at, int tap, int channel,
                            OperandRow* stage) {
    if (p.a.vectors) {
      copy<true>(p, at, tap, channel, stage);
    } else {
      copy<false>(p, at, tap, channel, stage);
    }
  }

  DYN2TRT_DEVICE void store(const Arguments&, const Addresses<Tile::kRows>&, int, OperandRow*) {}

 private:
  template <bool kVectors>
  static DYN2TRT_DEVICE void copy(const Arguments& p, const Addresses<Tile::kRows>& at, int tap, int channel,
                                  OperandRow* stage) {
    const T* a = static_cast<const T*>(p.a.data);
    constexpr int kCopies = Tile::kRows * kVectorsPerChunk, kPasses = ceil_div(kCopies, Tile::kThreads);
#pragma unroll(kVectors ? kPasses : 1)
    for (int pass = 0; pass < kPasses; ++pass) {
      const unsigned i = pass * Tile::kThreads + threadIdx.x;
      if (kCopies % Tile::kThreads != 0 && i >= kCopies) break;
      const unsigned row = i / kVectorsPerChunk, vector = i % kVectorsPerChunk;
      const int index = at.source[tap][row];
      const int c = channel + static_cast<int>(vector) * kVectorWidth<T>;
      copy_channels<kVectors>(operand_part(stage, row, vector), a + p.a.offset(index) + c,
                              index < 0 ? 0 : p.channels - c);
    }
  }
};

}  // namespace dyn2trt::gemm
