// A as a depthwise convolution of rows, computed into the stage: what lies between two 1x1 convolutions never reaches
// memory. A thread owns 16 bytes of channels of every kRowStep-th row. Neighbours overlap, so most of the reads hit L1.
#pragma once

#include "device/activation.cuh"
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
      convolve<true>(p, at, channel, stage);
    } else {
      convolve<false>(p, at, channel, stage);
    }
  }

 private:
  // Three taps at a time: their loads overlap, and fit into registers beside the sums of the product.
  template <bool kVectors>
  static DYN2TRT_DEVICE void convolve(const Arguments& p, const Addresses<Tile::kRows>& at, int channel,
                                      OperandRow* stage) {
    const int vector = threadIdx.x % kVectorsPerChunk;
    const int c = channel + vector * kWidth;
    const int remaining = p.channels - c;
    const T* rows = static_cast<const T*>(p.a.data) + c;
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
        const Vector<T, kWidth> x = load_channels<kVectors>(rows + p.a.offset(index), index < 0 ? 0 : remaining);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) sum[i][e] += to_float(x[e]) * to_float(w[e]);
      }
    }
#pragma unroll
    for (int i = 0; i < kRowsPerThread; ++i) {
      const int row = threadIdx.x / kVectorsPerChunk + i * kRowStep;
      if (!kEven && row >= Tile::kRows) break;
      Vector<T, kWidth> y;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        const bool exists = kVectors ? remaining > 0 : e < remaining;
        y[e] = from_float<T>(exists ? activate(sum[i][e], p.depthwise_activation) : 0.0f);
      }
      store_vector(static_cast<T*>(operand_part(stage, row, vector)), y);
    }
  }
};

}  // namespace dyn2trt::gemm
