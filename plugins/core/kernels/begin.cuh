// The first launch of a gated block: compaction, and beside it y = activation(identity) at the idle positions, which
// needs no site set. What the block computes goes over the active positions later.
//
// Grid: x = blocks of the compaction, then blocks of the copy.
#pragma once

#include "device/activation.cuh"
#include "device/dense.cuh"
#include "device/vector.cuh"
#include "kernels/compact.cuh"
#include "kernels/row_tile.cuh"

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
  static __device__ Vector<T, kWidth> activated(const Params& p, Vector<T, kWidth> value) {
    if (p.activation != DYN2TRT_NONE) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) value[e] = from_float<T>(activate(to_float(value[e]), p.activation));
    }
    return value;
  }

  static __device__ void copy_flat(const Params& p, int64_t first) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t at = first + (i * kThreads + static_cast<int>(threadIdx.x)) * kWidth;
      if (at + kWidth <= p.flat_elements) {
        store_vector(p.y.data + at, activated(p, load_vector<kWidth>(p.identity.data + at)));
      } else {
        for (int64_t rest = at; rest < p.flat_elements; ++rest) {
          p.y.data[rest] = from_float<T>(activate(to_float(p.identity.data[rest]), p.activation));
        }
      }
    }
  }

  static __device__ void copy_idle(const Params& p, int block) {
    const int blocks_per_image = ceil_div(p.y.h * p.y.w, kPositions);
    const int image = block / blocks_per_image;
    const int first = block % blocks_per_image * kPositions;
    const int here = min(kPositions, p.y.h * p.y.w - first);
    const float* mask = p.compact.mask + static_cast<int64_t>(image) * p.y.h * p.y.w + first;
    for_each_vector<kThreads, kWidth>(here, p.y.c, [&](int position, int channel) {
      if (mask[position] >= p.compact.threshold) return;
      const int h = (first + position) / p.y.w;
      const int w = first + position - h * p.y.w;
      store_vector(p.y.data + p.y.offset(image, h, w) + channel,
                   activated(p, load_vector<kWidth>(p.identity.data + p.identity.offset(image, h, w) + channel)));
    });
  }
};

}  // namespace dyn2trt
