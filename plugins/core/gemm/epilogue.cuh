// From accumulators to memory: bias, activation, residual, second activation, and the store to rows or to a dense
// tensor. Each warp turns its part around in its own shared memory, 16 rows at a time, so that no block barrier is
// needed and stores are 16 bytes wide (contiguous) or run along neighbouring pixels (planar).
#pragma once

#include "device/activation.cuh"
#include "gemm/addresses.cuh"
#include "gemm/load.cuh"
#include "gemm/tile.cuh"

namespace dyn2trt::gemm {

template <int kWarpCols>
struct Staging {
  // 4 floats of padding: eight lanes that read 16 bytes of eight rows meet all banks once.
  alignas(16) float sums[16][kWarpCols + 4];
};

template <class T>
DYN2TRT_DEVICE T finish(const Arguments& p, float sum, float bias, float residual) {
  const float y = activate(sum + bias, p.activation);
  return from_float<T>(p.residual.data == nullptr ? y : activate(y + residual, p.out_activation));
}

// 16 rows of a contiguous view: consecutive lanes take consecutive vectors of a row.
template <bool kVectors, bool kResidual, class T, int kWarpCols>
DYN2TRT_DEVICE void write_contiguous(const Arguments& p, const Staging<kWarpCols>& staging, const int* destination,
                                     int first_col) {
  constexpr int kWidth = kVectorWidth<T>;
  constexpr int kInRow = kWarpCols / kWidth;  // vectors
  const T* bias = static_cast<const T*>(p.bias);
  const auto* residual = static_cast<const unsigned char*>(p.residual.data);
  auto* out = static_cast<unsigned char*>(p.out.data);
  // In bytes, and unsigned: one multiply-add an address.
  const unsigned residual_pitch = static_cast<unsigned>(p.residual.pitch) * sizeof(T);
  const unsigned pitch = static_cast<unsigned>(p.out.pitch) * sizeof(T);
#pragma unroll(kVectors ? 2 : 1)
  for (int i = 0; i < 16 * kInRow / kWarp; ++i) {
    const int row = (i * kWarp + threadIdx.x % kWarp) / kInRow;
    const int vector = (i * kWarp + threadIdx.x % kWarp) % kInRow;
    const int index = destination[row];
    const int col = first_col + vector * kWidth;
    const int remaining = index < 0 ? 0 : p.cols - col;
    const uint64_t place = static_cast<unsigned>(index);
    const Vector<T, kWidth> b = load_channels<kVectors>(bias + col, p.cols - col);
    Vector<T, kWidth> r;
    if constexpr (kResidual) {
      r = load_channels<kVectors>(reinterpret_cast<const T*>(residual + place * residual_pitch) + col, remaining);
    }
    float y[kWidth];
#pragma unroll
    for (int e = 0; e < kWidth; ++e) y[e] = staging.sums[row][vector * kWidth + e] + to_float(b[e]);
    activate(y, p.activation);
    if constexpr (kResidual) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) y[e] += to_float(r[e]);
      activate(y, p.out_activation);
    }
    Vector<T, kWidth> rounded;
#pragma unroll
    for (int e = 0; e < kWidth; ++e) rounded[e] = from_float<T>(y[e]);
    store_channels<kVectors>(reinterpret_cast<T*>(out + place * pitch) + col, rounded, remaining);
  }
}

// 16 rows of a planar view: lanes 0-15 take a channel of the 16 rows, lanes 16-31 a channel four further on.
template <class T, int kWarpCols>
DYN2TRT_DEVICE void write_planar(const Arguments& p, const Staging<kWarpCols>& staging, const int* destination,
                                 const int* image, int first_col) {
  const int row = threadIdx.x % 16;
  const int index = destination[row];
  if (index < 0) return;
  const T* bias = static_cast<const T*>(p.bias);
  const T* residual = static_cast<const T*>(p.residual.data) + image[row] * p.residual.image_stride + index;
  T* out = static_cast<T*>(p.out.data) + image[row] * p.out.image_stride + index;
#pragma unroll 2
  for (int first = 0; first < kWarpCols; first += 8) {
    const int part = first + threadIdx.x % kWarp / 16 * 4;
    const float4 sums = *reinterpret_cast<const float4*>(&staging.sums[row][part]);
    const float four[4] = {sums.x, sums.y, sums.z, sums.w};
    float before[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t col = first_col + part + e;
      const bool wanted = p.residual.data != nullptr && col < p.cols;
      before[e] = wanted ? to_float(residual[col * p.residual.channel_stride]) : 0.0f;
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t col = first_col + part + e;
      if (col < p.cols) out[col * p.out.channel_stride] = finish<T>(p, four[e], to_float(bias[col]), before[e]);
    }
  }
}

// The tile's columns from first_col on. Only warps take part one by one; nothing is held back for others.
template <class T, class Tile, class Sums>
DYN2TRT_DEVICE void write_tile(const Arguments& p, const Sums& sums, const Addresses<Tile::kRows>& at, int first_col,
                               Staging<Tile::kWarpCols>& staging) {
  const int warp = threadIdx.x / kWarp;
  const int first_row = warp / Tile::kColWarps * Tile::kWarpRows;
  first_col += warp % Tile::kColWarps * Tile::kWarpCols;
#pragma unroll 1  // the stores are long code
  for (int block = 0; block < Tile::kWarpRows / 16; ++block) {
    sums.stage(block, staging.sums);
    __syncwarp();
    const int row = first_row + block * 16;
    if (p.out.planar) {
      write_planar<T>(p, staging, at.destination + row, at.image + row, first_col);
    } else if (p.residual.data == nullptr) {
      if (p.out.vectors) {
        write_contiguous<true, false, T>(p, staging, at.destination + row, first_col);
      } else {
        write_contiguous<false, false, T>(p, staging, at.destination + row, first_col);
      }
    } else if (p.out.vectors) {
      write_contiguous<true, true, T>(p, staging, at.destination + row, first_col);
    } else {
      write_contiguous<false, true, T>(p, staging, at.destination + row, first_col);
    }
    __syncwarp();
  }
}

}  // namespace dyn2trt::gemm
