// A convolution at the sites of a set, for any channels, geometry, strides and dtype, on CUDA cores in fp32: what the
// tensor-core kernels of gemm/ do not take, and what they are compared with.
//
// Grid: x = n * ceil(h_out*w_out / kRows), y = ceil(c_out / kColumns).
#pragma once

#include "device/activation.cuh"
#include "device/dtype.cuh"
#include "kernels/conv_source.cuh"
#include "kernels/row_tile.cuh"

namespace dyn2trt {

template <class T>
struct ConvGeneric {
  static constexpr const char* kName = "conv_generic";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 2;
  static constexpr int kRows = 32;
  static constexpr int kColumns = 32;
  static constexpr int kDepth = 32;                               // of K at once
  static constexpr int kPerThread = kRows * kColumns / kThreads;  // columns of one row
  using Params = ConvParams<T>;

  struct Shared {
    float a[kRows][kDepth + 1];
    float b[kColumns][kDepth + 1];
    const T* from[kRows];
  };

  static __device__ void run(const Params& p, Shared& shared) {
    const RowTile tile = row_tile<kRows>(p.blocks_per_image, p.count, p.h_out * p.w_out);
    if (tile.here == 0) return;
    const int first_column = blockIdx.y * kColumns;
    const int lane = threadIdx.x % kWarp;
    const int warp = threadIdx.x / kWarp;
    const int64_t channel_stride = p.source == Source::kDense ? p.x.stride_c : 1;
    const int taps = p.geometry.kernel_h * p.geometry.kernel_w;

    // Of thread t: row t / 8, columns t % 8 + 8 * i.
    constexpr int kThreadsOfRow = kColumns / kPerThread;
    const int own_row = threadIdx.x / kThreadsOfRow;
    const int own_column = threadIdx.x % kThreadsOfRow;
    float sum[kPerThread] = {};

    for (int tap = 0; tap < taps; ++tap) {
      if (threadIdx.x < kRows) {
        const int row = threadIdx.x;
        const int i = tap / p.geometry.kernel_w, j = tap % p.geometry.kernel_w;
        const int64_t at = tile.first + row;
        shared.from[row] = row < tile.here ? tap_source(p, at, output_site(p, at), i, j) : nullptr;
      }
      __syncthreads();
      for (int base = 0; base < p.c_in; base += kDepth) {
        const int c = base + lane;
        for (int row = warp; row < kRows; row += kThreads / kWarp) {
          const T* from = shared.from[row];
          shared.a[row][lane] = from != nullptr && c < p.c_in ? to_float(from[c * channel_stride]) : 0.0f;
        }
        for (int column = warp; column < kColumns; column += kThreads / kWarp) {
          const int64_t output = first_column + column;
          const bool there = output < p.c_out && c < p.c_in;
          shared.b[column][lane] = there ? to_float(p.weight[(output * taps + tap) * p.c_in + c]) : 0.0f;
        }
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < kDepth; ++k) {
          const float a = shared.a[own_row][k];
#pragma unroll
          for (int i = 0; i < kPerThread; ++i) sum[i] += a * shared.b[own_column + kThreadsOfRow * i][k];
        }
        __syncthreads();
      }
    }
    if (own_row >= tile.here) return;
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const int column = first_column + own_column + kThreadsOfRow * i;
      if (column >= p.c_out) continue;
      const float value = activate(sum[i] + to_float(p.bias[column]), p.activation);
      p.rows_out[(tile.first + own_row) * p.c_out + column] = from_float<T>(value);
    }
  }
};

}  // namespace dyn2trt
