// Blocks that share a tile, each with a part of K: all write their sums, the last to come adds them up in the order of
// K. Nobody waits for another, and the result does not depend on who is last.
#pragma once

#include "device/ptx/named_barrier.cuh"
#include "device/ptx/through_l2.cuh"
#include "fused/rows/plan.cuh"
#include "fused/rows/shared.cuh"

namespace dyn2trt::rows {

// Whether this block is the last; `sums` are then those of all. All consumers take part.
template <int kColumns, class T>
DYN2TRT_DEVICE bool add_shares(const ConvParams<T>& p, ConvShared& shared, const Tiling& t, const Tiling::Place& place,
                               float (&sums)[kColumns / 2]) {
  constexpr int kQuads = kColumns / 8, kFloats = kConsumers * kColumns / 2;
  const int thread = static_cast<int>(threadIdx.x) - kProducers;
  const int shares = t.tile.splits;
  float* const partial = p.partial + static_cast<int64_t>(place.shared_tile) * shares * kFloats + thread * 4;
#pragma unroll
  for (int i = 0; i < kQuads; ++i) {
    ptx::store_through_l2(partial + place.share * kFloats + i * kConsumers * 4,
                          make_float4(sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]));
  }
  __threadfence();
  ptx::named_barrier(kConsumersMeet, kConsumers);
  if (thread == 0) {
    const bool last = atomicAdd(p.tickets + place.shared_tile, 1) == shares - 1;
    if (last) p.tickets[place.shared_tile] = 0;  // as the next launch expects it
    shared.last_share = last ? 1 : 0;
  }
  ptx::named_barrier(kConsumersMeet, kConsumers);
  if (shared.last_share == 0) return false;
  __threadfence();
#pragma unroll
  for (float& sum : sums) sum = 0.0f;
  for (int share = 0; share < shares; ++share) {
#pragma unroll
    for (int i = 0; i < kQuads; ++i) {
      const float4 part = ptx::load_through_l2(partial + share * kFloats + i * kConsumers * 4);
      sums[4 * i] += part.x;
      sums[4 * i + 1] += part.y;
      sums[4 * i + 2] += part.z;
      sums[4 * i + 3] += part.w;
    }
  }
  return true;
}

}  // namespace dyn2trt::rows
