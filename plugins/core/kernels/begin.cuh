// The first launch of a gated block: compaction, and beside it y = activation(identity) at the idle positions, which
// needs no site set. What the block computes goes over the active positions later.
//
// Grid: x = blocks of the compaction, then blocks of the copy.
#pragma once

#include "device/activation.cuh"
#include "device/dense.cuh"
#include "device/vector.cuh"
#include "kernels/compact.cuh"

namespace dyn2trt {

template <class T>
struct BeginParams {
  CompactParams compact;
  int compact_blocks;
  Dense<const T> identity;
  Dense<T> y;
  int activation;
  // Both tensors without gaps and alike: copied as one run, active positions too. Otherwise channels-last.
  bool flat;
  int64_t flat_elements;
};

// Vectors of kWidth: a flat run starts at a vector's alignment (a shorter rest goes by elements); channels-last has
// stride_c 1, and channels and all strides are multiples of kWidth.
template <class T, int kWidth>
struct Begin {
  static constexpr const char* kName = "begin";
  static constexpr int kThreads = 512;
  static constexpr int kMinBlocks = 2;
  static constexpr int kPositions = 64;                                     // of a block, channels-last
  static constexpr int64_t kFlatElements = int64_t{kThreads} * kWidth * 4;  // of a block, flat
  using Params = BeginParams<T>;
  using Compaction = Compact<kThreads>;
  using Shared = typename Compaction::Shared;

  static __device__ void run(const Params& p, Shared& shared) {
    if (static_cast<int>(blockIdx.x) < p.compact_blocks) {
      Compaction::run(p.compact, shared);
    } else if (p.flat) {
      copy_flat(p, static_cast<int64_t>(blockIdx.x - p.compact_blocks) * kFlatElements);
    } else {
      copy_idle(p, static_cast<int>(blockIdx.x) - p.compact_blocks);
    }
  }

 private:
  // Vectors that a thread has on their way: y may lie anywhere, so no store may come between their loads.
  static constexpr int kAtOnce = 4;

  static __device__ Vector<T, kWidth> activated(const Params& p, Vector<T, kWidth> value) {
    if (p.activation != DYN2TRT_NONE) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) value[e] = from_float<T>(activate(to_float(value[e]), p.activation));
    }
    return value;
  }

  static __device__ void copy_flat(const Params& p, int64_t first) {
    const int64_t own = first + static_cast<int>(threadIdx.x) * kWidth;
    if (first + kFlatElements <= p.flat_elements) {
      Vector<T, kWidth> value[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) value[i] = load_vector<kWidth>(p.identity.data + own + i * kThreads * kWidth);
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) store_vector(p.y.data + own + i * kThreads * kWidth, activated(p, value[i]));
      return;
    }
    for (int i = 0; i < kAtOnce; ++i) {
      const int64_t at = own + i * kThreads * kWidth;
      for (int64_t e = at; e < at + kWidth && e < p.flat_elements; ++e) {
        p.y.data[e] = from_float<T>(activate(to_float(p.identity.data[e]), p.activation));
      }
    }
  }

  static __device__ void copy_idle(const Params& p, int block) {
    const int blocks_per_image = ceil_div(p.y.h * p.y.w, kPositions);
    const int image = block / blocks_per_image;
    const int first = block % blocks_per_image * kPositions;
    const int here = min(kPositions, p.y.h * p.y.w - first);
    const int vectors = p.y.c / kWidth, all = here * vectors;
    const float* mask = p.compact.mask + static_cast<int64_t>(image) * p.y.h * p.y.w + first;
    for (int begin = threadIdx.x; begin < all; begin += kAtOnce * kThreads) {
      Vector<T, kWidth> value[kAtOnce];
      int64_t to[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int vector = begin + i * kThreads;
        const int position = vector / vectors, channel = vector % vectors * kWidth;
        to[i] = -1;
        if (vector >= all || mask[position] >= p.compact.threshold) continue;
        const int h = (first + position) / p.y.w;
        const int w = first + position - h * p.y.w;
        to[i] = p.y.offset(image, h, w) + channel;
        value[i] = load_vector<kWidth>(p.identity.data + p.identity.offset(image, h, w) + channel);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (to[i] >= 0) store_vector(p.y.data + to[i], activated(p, value[i]));
      }
    }
  }
};

}  // namespace dyn2trt
