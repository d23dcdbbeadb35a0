// Warps that copy idle positions while the others compute. They draw chunks from a counter: what order they come in
// does not change what is written.
#pragma once

#include "fused/rows/params.h"

namespace dyn2trt::rows {

template <class T>
DYN2TRT_DEVICE void copy_idle(const IdleCopy<T>& p, const PairActivation& activation) {
  constexpr int kAtOnce = 8;  // vectors that a lane has on their way
  constexpr uint32_t kNowhere = 0xffffffffu;
  const int lane = threadIdx.x % kWarp;
  const auto draw = [&] {
    int chunk = 0;
    if (lane == 0) chunk = atomicAdd(p.counter, 1);
    return p.first + __shfl_sync(kFullWarp, chunk, 0);
  };
  for (int chunk = draw(); chunk < p.end; chunk = draw()) {
    const int first = chunk * p.chunk_sites, site = first + lane;
    const bool idle = lane < p.chunk_sites && site < p.sites && !(p.logits[site] >= p.threshold);
    const unsigned sites = __ballot_sync(kFullWarp, idle);
    if (sites == 0) continue;
    const int total = p.chunk_sites * p.vectors;
    for (int i0 = lane; i0 < total; i0 += kAtOnce * kWarp) {
      uint4 value[kAtOnce];
      uint32_t place[kAtOnce];  // in vectors
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        const int i = i0 + u * kWarp, in_chunk = i / p.vectors, vector = i - in_chunk * p.vectors;
        place[u] = kNowhere;
        if (i >= total || (sites >> in_chunk & 1u) == 0) continue;
        const auto from = static_cast<uint32_t>((first + in_chunk) * p.identity.pitch + vector);
        place[u] = static_cast<uint32_t>((first + in_chunk) * p.y.pitch + vector);
        value[u] = *reinterpret_cast<const uint4*>(p.identity.data + static_cast<uint64_t>(from) * kVector);
      }
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        if (place[u] == kNowhere) continue;
        *reinterpret_cast<uint4*>(p.y.data + static_cast<uint64_t>(place[u]) * kVector) =
            clamp_vector<T>(value[u], activation);
      }
    }
  }
}

}  // namespace dyn2trt::rows
