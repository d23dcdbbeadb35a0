// Sums to memory, without shared memory between: the four lanes of a quad exchange registers until each holds 16
// consecutive bytes of a row.
#pragma once

#include "fused/rows/params.h"
#include "fused/rows/shared.cuh"

namespace dyn2trt::rows {

// Lane q of a quad brings its parts of four cells of 16 bytes, and gets cell q whole.
DYN2TRT_DEVICE uint4 transpose_quad(uint32_t v0, uint32_t v1, uint32_t v2, uint32_t v3, int q) {
  const bool odd = (q & 1) != 0, high = (q & 2) != 0;
  const uint32_t r01 = __shfl_xor_sync(kFullWarp, odd ? v0 : v1, 1), r23 = __shfl_xor_sync(kFullWarp, odd ? v2 : v3, 1);
  if (odd) {
    v0 = r01;
    v2 = r23;
  } else {
    v1 = r01;
    v3 = r23;
  }
  const uint32_t r0 = __shfl_xor_sync(kFullWarp, high ? v0 : v2, 2), r1 = __shfl_xor_sync(kFullWarp, high ? v1 : v3, 2);
  return high ? make_uint4(r0, r1, v2, v3) : make_uint4(v0, v1, r0, r1);
}

// clamp(sum + residual) of two elements.
template <class T>
DYN2TRT_DEVICE uint32_t add_residual(uint32_t sum, uint32_t residual, const PairActivation& a) {
  const float2 x = unpack2<T>(sum), y = unpack2<T>(residual);
  return clamp_pair<T>(pack2<T>(x.x + y.x, x.y + y.y), a.low, a.high);
}

// A warp's 16 rows of a 64-row block: + bias, + residual, activation. `first_row` of the block in the tile.
template <int kColumns, bool kFewRegisters, class T>
DYN2TRT_DEVICE void write_block(const ConvParams<T>& p, const ConvShared& shared, int buffer, int first_row,
                                int first_column, const float (&sums)[kColumns / 2]) {
  // A warp's cells are 16 bytes of a row: kColumns / 8 of each of its first eight rows, then those of the others. A
  // lane of the quad that has a row holds a quarter of each of its cells.
  constexpr int kCellsOfRow = kColumns / 8, kGroups = 2 * kCellsOfRow / 4;
  constexpr int kAtOnce = kGroups < 4 ? kGroups : kFewRegisters ? 2 : 4;
  const int lane = threadIdx.x % kWarp, quad = lane / 4, q = lane % 4;
  const int row_of_quad = first_row + static_cast<int>(threadIdx.x / kWarp) % 4 * 16 + quad;
#pragma unroll
  for (int first = 0; first < kGroups; first += kAtOnce) {
    uint32_t target[kAtOnce];
    uint4 residual[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int cell = 4 * (first + i) + q, half = cell / kCellsOfRow, column = first_column + cell % kCellsOfRow * 8;
      const int row = row_of_quad + 8 * half;
      target[i] = column < p.columns ? shared.target[buffer][row] : kNoRow;
      residual[i] = make_uint4(0, 0, 0, 0);
      if (target[i] == kNoRow) continue;
      target[i] += static_cast<uint32_t>(column / kVector);
      if (p.residual.data != nullptr) {
        const uint64_t place = shared.residual[buffer][row] + static_cast<uint32_t>(column / kVector);
        residual[i] = *reinterpret_cast<const uint4*>(p.residual.data + place * kVector);
      }
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      uint32_t v[4];
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int cell = 4 * (first + i) + c, half = cell / kCellsOfRow, column = cell % kCellsOfRow;
        float2 bias = make_float2(0.0f, 0.0f);
        if (first_column + column * 8 < p.columns) {
          bias = unpack2<T>(*reinterpret_cast<const uint32_t*>(p.bias + first_column + column * 8 + q * 2));
        }
        const float low = sums[4 * column + 2 * half] + bias.x, high = sums[4 * column + 2 * half + 1] + bias.y;
        v[c] = pack2<T>(low, high);
      }
      uint4 out = transpose_quad(v[0], v[1], v[2], v[3], q);
      if (p.residual.data != nullptr) {
        out.x = add_residual<T>(out.x, residual[i].x, p.activation);
        out.y = add_residual<T>(out.y, residual[i].y, p.activation);
        out.z = add_residual<T>(out.z, residual[i].z, p.activation);
        out.w = add_residual<T>(out.w, residual[i].w, p.activation);
      } else {
        out = clamp_vector<T>(out, p.activation);
      }
      if (target[i] != kNoRow)
        *reinterpret_cast<uint4*>(p.target.data + static_cast<uint64_t>(target[i]) * kVector) = out;
    }
  }
}

}  // namespace dyn2trt::rows
