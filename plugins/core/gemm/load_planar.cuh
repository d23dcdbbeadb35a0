// A from an NCHW tensor: the lanes of a warp read one channel of consecutive rows, which in tile-major order are runs
// of neighbouring pixels. Elements pass through registers, since cp.async moves no less than 4 bytes.
#pragma once

#include "gemm/addresses.cuh"
#include "gemm/load.cuh"
#include "gemm/tile.cuh"

namespace dyn2trt::gemm {

template <class T, class Tile>
struct LoadPlanar {
  static constexpr int kSharers = Tile::kThreads / Tile::kRows;  // threads of one row
  static constexpr int kVectors = ceil_div(kVectorsPerChunk, kSharers);
  Vector<T, kVectorWidth<T>> held[kVectors];

  DYN2TRT_DEVICE void fetch(const Arguments& p, const Addresses<Tile::kRows>& at, int tap, int channel, OperandRow*) {
    const int row = threadIdx.x % Tile::kRows;
    const int index = at.source[tap][row];
    const T* a = static_cast<const T*>(p.a.data) + at.image[row] * p.a.image_stride + index;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int vector = threadIdx.x / Tile::kRows + i * kSharers;
      const int c = channel + vector * kVectorWidth<T>;
      const int remaining = index < 0 ? 0 : p.channels - c;
      const T* from = a + c * p.a.channel_stride;
#pragma unroll
      for (int e = 0; e < kVectorWidth<T>; ++e) {
        held[i][e] = e < remaining ? *from : from_float<T>(0.0f);
        from += p.a.channel_stride;
      }
    }
  }

  DYN2TRT_DEVICE void store(const Arguments&, const Addresses<Tile::kRows>&, int, OperandRow* stage) {
    const int row = threadIdx.x % Tile::kRows;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int vector = threadIdx.x / Tile::kRows + i * kSharers;
      if (vector < kVectorsPerChunk) store_vector(static_cast<T*>(operand_part(stage, row, vector)), held[i]);
    }
  }
};

}  // namespace dyn2trt::gemm
