// A as a depthwise convolution of rows, computed into the stage: what lies between two 1x1 convolutions never reaches
// memory. A thread owns 16 bytes of channels of every kRowStep-th row. Neighbours overlap, so most of the reads hit L1.
#pragma once

#include <climits>
#include <type_traits>

#include "device/activation.cuh"
#include "device/ptx/mma.cuh"
#include "gemm/addresses.cuh"
#include "gemm/load.cuh"
#include "gemm/tile.cuh"

namespace dyn2trt::gemm {

template <class T, class Tile>
struct LoadDepthwise {
  static constexpr int kWidth = kVectorWidth<T>;
  static constexpr int kRowStep = Tile::kThreads / kVectorsPerChunk;
  static constexpr int kRowsPerThread = ceil_div(Tile::kRows, kRowStep);
  static constexpr bool kEven = Tile::kRows % kRowStep == 0;

  DYN2TRT_DEVICE void fetch(const Arguments&, const Addresses<Tile::kRows>&, int, int, OperandRow*) {}

  DYN2TRT_DEVICE void store(const Arguments& p, const Addresses<Tile::kRows>& at, int channel, OperandRow* stage) {
    if (p.a.vectors && p.weight_vectors) {
      if constexpr (sizeof(T) == 2 && kRowsPerThread <= 2) {
        convolve_mma(p, at, channel, stage);
      } else {
        convolve<true>(p, at, channel, stage);
      }
    } else {
      convolve<false>(p, at, channel, stage);
    }
  }

 private:
  // On tensor cores: a diagonal matrix of weights, two taps side by side along K. Lane (g, t) of a warp holds channels
  // 8t to 8t+7 of a row as four registers; register q of all lanes makes a matrix of 8 rows and 8 channels, and its
  // product comes back to the lane in the place of the register. Which rows these are does not matter to mma.
  static DYN2TRT_DEVICE void convolve_mma(const Arguments& p, const Addresses<Tile::kRows>& at, int channel,
                                          OperandRow* stage) {
    const int vector = threadIdx.x % kVectorsPerChunk, group = threadIdx.x % kWarp / kVectorsPerChunk;
    const int c = channel + vector * kWidth;
    const int remaining = p.channels - c;
    const auto* rows = static_cast<const unsigned char*>(p.a.data) + static_cast<int64_t>(c) * sizeof(T);
    const unsigned pitch = static_cast<unsigned>(p.a.pitch) * sizeof(T);
    const int least = remaining > 0 ? 0 : INT_MAX;  // indices from here on are read
    const T* weight = static_cast<const T*>(p.depthwise_weight) + c;
    const unsigned diagonal = group == 2 * vector ? 0x0000ffffu : group == 2 * vector + 1 ? 0xffff0000u : 0u;

    float sum[4][4];
    {
      const Vector<T, kWidth> bias = load_channels<true>(static_cast<const T*>(p.depthwise_bias) + c, remaining);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sum[e / 2][e % 2] = sum[e / 2][e % 2 + 2] = to_float(bias[e]);
    }
#pragma unroll 2  // two pairs of taps on their way
    for (int tap = 0; tap < kMaxTaps; tap += 2) {
      uint32_t a[4][4], b[2][4];  // a: (tap, row) as mma numbers registers
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = threadIdx.x / kVectorsPerChunk + i % 2 * kRowStep;
        const bool there = i % 2 < kRowsPerThread && (kEven || row < Tile::kRows) && tap + i / 2 < kMaxTaps;
        const int index = there ? at.source[tap + i / 2][row] : -1;
        uint4 words = make_uint4(0, 0, 0, 0);
        if (index >= least) {
          words = *reinterpret_cast<const uint4*>(rows + static_cast<uint64_t>(static_cast<unsigned>(index)) * pitch);
        }
        memcpy(a[i], &words, sizeof words);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        uint4 words = make_uint4(0, 0, 0, 0);
        if (remaining > (tap + i < kMaxTaps ? 0 : INT_MAX)) words = *reinterpret_cast<const uint4*>(weight);
        weight += p.channels;
        memcpy(b[i], &words, sizeof words);
      }
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const uint32_t row[4] = {a[0][q], a[1][q], a[2][q], a[3][q]};
        const uint32_t col[2] = {b[0][q] & diagonal, b[1][q] & diagonal};
        ptx::mma_m16n8k16<T>(sum[q], row, col);
      }
    }
#pragma unroll
    for (int i = 0; i < kRowsPerThread; ++i) {
      const int row = threadIdx.x / kVectorsPerChunk + i * kRowStep;
      if (!kEven && row >= Tile::kRows) break;
      float value[kWidth];
#pragma unroll
      for (int e = 0; e < kWidth; ++e) value[e] = sum[e / 2][e % 2 + 2 * i];
      activate(value, p.depthwise_activation);
      Vector<T, kWidth> y;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) y[e] = from_float<T>(value[e]);
      store_vector(static_cast<T*>(operand_part(stage, row, vector)), y);
    }
  }

  // Three taps at a time: their loads overlap, and fit into registers beside the sums of the product.
  template <bool kVectors>
  static DYN2TRT_DEVICE void convolve(const Arguments& p, const Addresses<Tile::kRows>& at, int channel,
                                      OperandRow* stage) {
    const int vector = threadIdx.x % kVectorsPerChunk;
    const int c = channel + vector * kWidth;
    const int remaining = p.channels - c;
    // In bytes, and unsigned: one multiply-add an address.
    const auto* rows = static_cast<const unsigned char*>(p.a.data) + static_cast<int64_t>(c) * sizeof(T);
    const unsigned pitch = static_cast<unsigned>(p.a.pitch) * sizeof(T);
    const int least = remaining > 0 ? 0 : INT_MAX;  // indices from here on are read
    const T* weight = static_cast<const T*>(p.depthwise_weight) + c;
    const Vector<T, kWidth> bias = load_channels<kVectors>(static_cast<const T*>(p.depthwise_bias) + c, remaining);

    float sum[kRowsPerThread][kWidth];
#pragma unroll
    for (int i = 0; i < kRowsPerThread; ++i) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sum[i][e] = to_float(bias[e]);
    }
#pragma unroll(kVectors ? 3 : 1)
    for (int tap = 0; tap < kMaxTaps; ++tap) {
      const Vector<T, kWidth> w = load_channels<kVectors>(weight, remaining);
      weight += p.channels;
#pragma unroll
      for (int i = 0; i < kRowsPerThread; ++i) {
        const int row = threadIdx.x / kVectorsPerChunk + i * kRowStep;
        const int index = kEven || row < Tile::kRows ? at.source[tap][row] : -1;
        const T* from = reinterpret_cast<const T*>(rows + static_cast<uint64_t>(static_cast<unsigned>(index)) * pitch);
        const Vector<T, kWidth> x = load_channels<kVectors>(from, index >= least ? (kVectors ? 1 : remaining) : 0);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) sum[i][e] += to_float(x[e]) * to_float(w[e]);
      }
    }
#pragma unroll
    for (int i = 0; i < kRowsPerThread; ++i) {
      const int row = threadIdx.x / kVectorsPerChunk + i * kRowStep;
      if (!kEven && row >= Tile::kRows) break;
      activate(sum[i], p.depthwise_activation);  // zero stays zero behind the last channel
      Vector<T, kWidth> y;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) y[e] = from_float<T>(sum[i][e]);
      store_vector(static_cast<T*>(operand_part(stage, row, vector)), y);
    }
  }
};

}  // namespace dyn2trt::gemm
