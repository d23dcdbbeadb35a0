// Prefix sums over a warp and a block, in a fixed order.
#pragma once

#include "device/platform.cuh"

namespace dyn2trt {

// Sum of the values of this and all lower lanes. All 32 lanes take part.
DYN2TRT_DEVICE int warp_inclusive_scan(int value) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int below = __shfl_up_sync(kFullWarp, value, distance);
    if (lane >= distance) value += below;
  }
  return value;
}

// Shared memory of block_exclusive_scan.
template <int kThreads>
struct ScanShared {
  static_assert(kThreads % kWarp == 0 && kThreads / kWarp <= kWarp, "one warp scans the sums of all warps");
  int warp_sum[kWarp];
};

// Sum of the values of all lower threads; `total` becomes the sum over the block. All threads take part, and
// `shared` may be used again after the caller's next barrier.
template <int kThreads>
DYN2TRT_DEVICE int block_exclusive_scan(int value, ScanShared<kThreads>& shared, int& total) {
  constexpr int kWarps = kThreads / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const int inclusive = warp_inclusive_scan(value);
  if (lane == kWarp - 1) shared.warp_sum[warp] = inclusive;
  __syncthreads();
  if (warp == 0) {
    const int sum = lane < kWarps ? shared.warp_sum[lane] : 0;
    const int scanned = warp_inclusive_scan(sum);
    shared.warp_sum[lane] = scanned;
  }
  __syncthreads();
  total = shared.warp_sum[kWarps - 1];
  return inclusive - value + (warp > 0 ? shared.warp_sum[warp - 1] : 0);
}

}  // namespace dyn2trt
