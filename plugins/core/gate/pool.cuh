// The pooled part of a gate: the mean of every channel over an image's positions, through one or two linear layers.
#pragma once

#include "device/dense.cuh"
#include "device/dtype.cuh"

namespace dyn2trt {

constexpr int kPoolPositions = 256;  // of a chunk

template <class T>
struct PoolSumsParams {
  Dense<const T> x;
  int chunks;
  float* partial;  // [n, chunks, c]
};

// partial[image, chunk, channel] = sum over the chunk's positions. Grid: x = n * chunks, y = ceil(c / kChannels).
// Of a channel, lane l adds positions l, l + kLanes, ... in order; then the lanes are added in order.
template <class T, bool kChannelsLast>
struct PoolSums {
  static constexpr const char* kName = "pool_sums";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  static constexpr int kChannels = 32;
  static constexpr int kLanes = kThreads / kChannels;
  using Params = PoolSumsParams<T>;
  struct Shared {
    float sums[kLanes][kChannels];
  };

  static __device__ void run(const Params& p, Shared& shared) {
    const int image = blockIdx.x / p.chunks, chunk = blockIdx.x % p.chunks;
    // Neighbouring threads read neighbours: channels of a position, or positions of a channel.
    const int thread = threadIdx.x;
    const int column = kChannelsLast ? thread % kChannels : thread / kLanes;
    const int lane = kChannelsLast ? thread / kChannels : thread % kLanes;
    const int channel = blockIdx.y * kChannels + column;
    const int first = chunk * kPoolPositions;
    const int end = min(first + kPoolPositions, p.x.h * p.x.w);
    float sum = 0.0f;
    if (channel < p.x.c) {
      for (int position = first + lane; position < end; position += kLanes) {
        const int row = position / p.x.w;
        sum += to_float(p.x.data[p.x.offset(image, row, position - row * p.x.w) + channel * p.x.stride_c]);
      }
    }
    shared.sums[lane][column] = sum;
    __syncthreads();
    if (thread < kChannels && blockIdx.y * kChannels + thread < p.x.c) {
      float total = 0.0f;
      for (int l = 0; l < kLanes; ++l) total += shared.sums[l][thread];
      p.partial[(static_cast<int64_t>(image) * p.chunks + chunk) * p.x.c + blockIdx.y * kChannels + thread] = total;
    }
  }
};

struct PoolLayersParams {
  const float* partial;  // [n, chunks, c]
  float* mean;           // [n, c]
  int chunks, c, positions;
  int hidden;                                // 0: one layer
  const float *weight, *bias;                // of two layers the first: [hidden, c], [hidden]
  const float *pooled_weight, *pooled_bias;  // one layer: [c], [1]; of two the second: [2, hidden], [2]
  float* offset;                             // [n]
};

// offset of an image a block. Grid: x = n.
struct PoolLayers {
  static constexpr const char* kName = "pool_layers";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  static constexpr int kWarps = kThreads / kWarp;
  using Params = PoolLayersParams;
  struct Shared {
    float scores[kWarps];
  };

  static __device__ void run(const Params& p, Shared& shared) {
    const int image = blockIdx.x;
    float* mean = p.mean + static_cast<int64_t>(image) * p.c;
    for (int channel = threadIdx.x; channel < p.c; channel += kThreads) {
      float sum = 0.0f;
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        sum += p.partial[(static_cast<int64_t>(image) * p.chunks + chunk) * p.c + channel];
      }
      mean[channel] = sum / static_cast<float>(p.positions);
    }
    __syncthreads();
    // A warp takes every kWarps-th unit of the hidden layer, and what it adds to (execute - skip).
    const int warp = threadIdx.x / kWarp;
    float score = 0.0f;
    if (p.hidden == 0) {
      if (warp == 0) score = dot(mean, p.pooled_weight, p.c);
    } else {
      for (int unit = warp; unit < p.hidden; unit += kWarps) {
        const float linear = dot(mean, p.weight + static_cast<int64_t>(unit) * p.c, p.c) + p.bias[unit];
        const float active = linear < 0.0f ? 0.0f : linear;
        score = fmaf(active, p.pooled_weight[p.hidden + unit] - p.pooled_weight[unit], score);
      }
    }
    if (threadIdx.x % kWarp == 0) shared.scores[warp] = score;
    __syncthreads();
    if (threadIdx.x == 0) {
      float total = 0.0f;
      for (int w = 0; w < kWarps; ++w) total += shared.scores[w];
      p.offset[image] = total + (p.hidden == 0 ? p.pooled_bias[0] : p.pooled_bias[1] - p.pooled_bias[0]);
    }
  }

 private:
  // The same in all lanes of a warp.
  static __device__ float dot(const float* a, const float* b, int count) {
    float sum = 0.0f;
    for (int i = threadIdx.x % kWarp; i < count; i += kWarp) sum = fmaf(a[i], b[i], sum);
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kFullWarp, sum, step);
    return sum;
  }
};

}  // namespace dyn2trt
