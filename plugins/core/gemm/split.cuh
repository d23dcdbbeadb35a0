// Adding up a tile that several blocks share, in a fixed order: every block leaves its sums in memory, and the one that
// finds itself the last adds them all, its own included, from the first split to the last.
#pragma once

#include "gemm/schedule.cuh"

namespace dyn2trt::gemm {

// Returns whether this block holds the whole sum now. All threads take part. `arrivals` of the tile is 0 before and
// after; `last` is the block's.
template <int kThreads, class Sums>
DYN2TRT_DEVICE bool add_up(const Arguments& p, const Schedule& work, int tile, Sums& sums, int& last) {
  constexpr int kValues = Sums::kValues;
  constexpr int kSize = kValues * kThreads;
  // This thread's value i of split 0; constant distances from here on keep the addresses out of registers.
  float* first = p.partial + static_cast<int64_t>(tile) * work.splits * kSize + threadIdx.x;
  float* mine = first + static_cast<int64_t>(work.split) * kSize;
#pragma unroll
  for (int i = 0; i < kValues; ++i) mine[i * kThreads] = sums.value(i);
  __threadfence();  // the sums are visible before the arrival
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(&p.arrivals[tile], 1) == work.splits - 1;
    if (last) p.arrivals[tile] = 0;
  }
  __syncthreads();
  if (!last) return false;
  __threadfence();
  sums.clear();
  for (int split = 0; split < work.splits; ++split) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) sums.value(i) += __ldcg(&first[i * kThreads]);
    first += kSize;
  }
  return true;
}

}  // namespace dyn2trt::gemm
