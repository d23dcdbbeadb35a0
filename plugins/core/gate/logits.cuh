// The logits of all sites, for blocks whose kernels take them from memory. Any layout; the order of summation is that
// of device/gate.cuh in all of them.
#pragma once

#include "device/dense.cuh"
#include "device/gate.cuh"

namespace dyn2trt {

template <class T>
struct GateLogitsParams {
  GateView gate;
  Dense<const T> x;
  int kernel;  // 0: no taps
  int stride_h, stride_w;
  int ho, wo;
  int blocks_per_image;
  float* logits;  // [n, ho, wo]
};

// Sums a lane's share of a site's taps; `tap(sum, weight, pixel)` adds one, `pixel` is the offset of its first channel.
template <class T, class Tap>
DYN2TRT_DEVICE float sum_taps(const GateLogitsParams<T>& p, int image, int site, Tap tap) {
  const int row = site / p.wo, column = site - row * p.wo;
  const int reach = p.kernel / 2;
  float sum = 0.0f;
  for (int i = 0; i < p.kernel; ++i) {
    const int h = row * p.stride_h + i - reach;
    if (h < 0 || h >= p.x.h) continue;
    for (int j = 0; j < p.kernel; ++j) {
      const int w = column * p.stride_w + j - reach;
      if (w < 0 || w >= p.x.w) continue;
      sum = tap(sum, p.gate.weight + (i * p.kernel + j) * p.x.c, p.x.offset(image, h, w));
    }
  }
  return sum;
}

// gate_tap() by elements: for channels of any number and any stride.
template <class T>
DYN2TRT_DEVICE float gate_tap_by_element(const Dense<const T>& x, float sum, const float* weight, int64_t pixel,
                                         int lane) {
  for (int first = lane * kGateVector; first < x.c; first += kGateLanes * kGateVector) {
    const int end = min(first + kGateVector, x.c);
    for (int c = first; c < end; ++c) sum = fmaf(to_float(x.data[pixel + c * x.stride_c]), weight[c], sum);
  }
  return sum;
}

// Channels-last: neighbouring lanes share a site. kVectors: stride_c is 1, channels and strides are multiples of
// kGateVector, T has 16 bits. Grid: x = n * ceil(ho*wo / kSites).
template <class T, bool kVectors>
struct GateLogits {
  static constexpr const char* kName = "gate_logits";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  static constexpr int kSites = kThreads / kGateLanes;
  using Params = GateLogitsParams<T>;
  struct Shared {};

  static __device__ void run(const Params& p, Shared&) {
    const int image = blockIdx.x / p.blocks_per_image;
    const int site = blockIdx.x % p.blocks_per_image * kSites + threadIdx.x / kGateLanes;
    const int lane = threadIdx.x % kGateLanes;
    const bool there = site < p.ho * p.wo;
    float sum = 0.0f;
    if (there) {
      sum = sum_taps(p, image, site, [&](float before, const float* weight, int64_t pixel) {
        if constexpr (kVectors) {
          return gate_tap(before, weight, p.x.c, lane,
                          [&](int first) { return load_vector<kGateVector>(p.x.data + pixel + first); });
        } else {
          return gate_tap_by_element(p.x, before, weight, pixel, lane);
        }
      });
    }
    sum = gate_sum(kFullWarp, sum);
    if (there && lane == 0) {
      p.logits[static_cast<int64_t>(image) * p.ho * p.wo + site] = gate_logit(p.gate, sum, image);
    }
  }
};

// Planar: neighbouring threads take neighbouring sites, a warp a lane; the lanes meet in shared memory.
// Grid: x = n * ceil(ho*wo / kSites).
template <class T>
struct GateLogitsPlanar {
  static constexpr const char* kName = "gate_logits_planar";
  static constexpr int kThreads = kWarp * kGateLanes;
  static constexpr int kMinBlocks = 1;
  static constexpr int kSites = kWarp;
  using Params = GateLogitsParams<T>;
  struct Shared {
    float sums[kGateLanes][kSites];
  };

  static __device__ void run(const Params& p, Shared& shared) {
    const int image = blockIdx.x / p.blocks_per_image;
    const int column = threadIdx.x % kSites, lane = threadIdx.x / kSites;
    const int site = blockIdx.x % p.blocks_per_image * kSites + column;
    const bool there = site < p.ho * p.wo;
    float sum = 0.0f;
    if (there) {
      sum = sum_taps(p, image, site, [&](float before, const float* weight, int64_t pixel) {
        return gate_tap_by_element(p.x, before, weight, pixel, lane);
      });
    }
    shared.sums[lane][column] = sum;
    __syncthreads();
    if (!there || lane != 0) return;
    // gate_sum()'s butterfly, as its first lane sees it.
    float sums[kGateLanes];
#pragma unroll
    for (int l = 0; l < kGateLanes; ++l) sums[l] = shared.sums[l][column];
#pragma unroll
    for (int step = kGateLanes / 2; step > 0; step /= 2) {
#pragma unroll
      for (int l = 0; l < step; ++l) sums[l] += sums[l + step];
    }
    p.logits[static_cast<int64_t>(image) * p.ho * p.wo + site] = gate_logit(p.gate, sums[0], image);
  }
};

}  // namespace dyn2trt
