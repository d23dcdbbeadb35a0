// The 3x3 depthwise convolution of a chunk, a quad (2x2 sites) and four channels a thread: sixteen loads for four
// sites.
//
// Sums are pairs of elements, rounded tap by tap: a quarter more error than with fp32 sums, for a block that is a
// seventh quicker (best of either kind of the prototype on an H200, 2026-11-28: 64x64, 96 channels, batch 32, 25 %
// active).
#pragma once

#include "device/ptx/opaque.cuh"
#include "fused/inverted_residual/params.h"
#include "fused/inverted_residual/shared.cuh"

namespace dyn2trt::inverted_residual {

template <class Tile, class Shared>
DYN2TRT_DEVICE void depthwise(const PairActivation& activation, int step, Shared& shared) {
  using T = typename Tile::T;
  constexpr int kGroups = Tile::kChunk / 4, kStep = Tile::kThreads / kGroups;
  const int thread = ptx::opaque(threadIdx.x);
  const int group = thread % kGroups, first = thread / kGroups, quads = shared.lists.quad_count;
  if (first >= kStep || first >= quads) return;
  const auto load = [group](const T* row) { return *reinterpret_cast<const uint2*>(row + group * 4); };

  uint2 weight[9];
#pragma unroll
  for (int tap = 0; tap < 9; ++tap) weight[tap] = load(shared.chunk.depthwise[step % 2][tap]);
  const uint2 bias = load(shared.chunk.depthwise[step % 2][9]);
#pragma unroll 1
  for (int quad = first; quad < quads; quad += kStep) {
    const auto* from = shared.chunk.hidden + shared.lists.quad_position[quad];
    uint2 sum[2][2] = {{bias, bias}, {bias, bias}};
#pragma unroll
    for (int row = 0; row < 4; ++row) {
      uint2 value[4];
#pragma unroll
      for (int col = 0; col < 4; ++col) value[col] = load(from[row * Tile::kHaloCols + col].data);
#pragma unroll
      for (int out_row = 0; out_row < 2; ++out_row) {
        const int tap_row = row - out_row;
        if (tap_row < 0 || tap_row > 2) continue;
#pragma unroll
        for (int tap_col = 0; tap_col < 3; ++tap_col) {
#pragma unroll
          for (int out_col = 0; out_col < 2; ++out_col) {
            uint2& s = sum[out_row][out_col];
            const uint2 v = value[out_col + tap_col], w = weight[tap_row * 3 + tap_col];
            s.x = fma_pair<T>(v.x, w.x, s.x), s.y = fma_pair<T>(v.y, w.y, s.y);
          }
        }
      }
    }
    uint32_t value[8];
#pragma unroll
    for (int site = 0; site < 4; ++site) {
      value[2 * site] = sum[site / 2][site % 2].x;
      value[2 * site + 1] = sum[site / 2][site % 2].y;
    }
    activate_pairs<T>(value, activation);
    const uint2 rows = *reinterpret_cast<const uint2*>(shared.lists.quad_rows[quad]);
#pragma unroll
    for (int site = 0; site < 4; ++site) {
      const int row = static_cast<int16_t>((site < 2 ? rows.x : rows.y) >> (site % 2 * 16));
      if (row < 0) continue;
      *reinterpret_cast<uint2*>(shared.chunk.filtered[row].data + group * 4) =
          make_uint2(value[2 * site], value[2 * site + 1]);
    }
  }
}

}  // namespace dyn2trt::inverted_residual
