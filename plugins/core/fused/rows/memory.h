// The workspace of a block by compacted rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "dyn2trt/core.h"
#include "fused/rows/limits.h"

namespace dyn2trt::rows {

struct Memory {
  uint32_t *active, *halo;           // entries
  int *active_counts, *halo_counts;  // [kMaxSegments]
  int *copied, *tickets;             // [kMaxLaunches] chunks drawn, [kMaxShares]; zeroed by the first launch
  float* logits;                     // [n, ho, wo], of a gate that computes them
  float* partial;                    // [kMaxShares, kShareFloats]
  void* hidden[kMaxLaunches - 1];    // values between the convolutions, only at the sites of their lists
  std::size_t bytes;                 // of all
};

// The grid that hidden values of convolution `index` lie on.
inline int64_t hidden_sites(const Dyn2trtGatedBlock& block, int index) {
  const bool on_input = block.kind == DYN2TRT_BOTTLENECK && index == 0;
  const Dyn2trtDense& grid = on_input ? block.x : block.y;
  return int64_t{grid.n} * grid.h * grid.w;
}

inline Memory cut(const Dyn2trtGatedBlock& block, void* workspace) {
  Memory memory = {};
  const auto take = [&](auto*& piece, int64_t count, std::size_t element) {
    constexpr std::size_t kAlignment = 256;
    piece = reinterpret_cast<std::remove_reference_t<decltype(piece)>>(reinterpret_cast<std::uintptr_t>(workspace) +
                                                                       memory.bytes);
    memory.bytes += (static_cast<std::size_t>(count) * element + kAlignment - 1) / kAlignment * kAlignment;
  };
  const Segments segments = segments_of(block);
  take(memory.active, int64_t{segments.count} * segments.sites, sizeof(uint32_t));
  take(memory.halo, int64_t{segments.count} * segments.halo_sites, sizeof(uint32_t));
  take(memory.active_counts, kMaxSegments, sizeof(int));
  take(memory.halo_counts, kMaxSegments, sizeof(int));
  take(memory.copied, kMaxLaunches + kMaxShares, sizeof(int));
  memory.tickets = memory.copied + kMaxLaunches;
  take(memory.logits, int64_t{block.y.n} * block.y.h * block.y.w, sizeof(float));
  take(memory.partial, int64_t{kMaxShares} * kShareFloats, sizeof(float));
  const int hidden = block.kind == DYN2TRT_BOTTLENECK ? 2 : 1;
  for (int i = 0; i < hidden; ++i) {
    take(memory.hidden[i], hidden_sites(block, i) * block.convolutions[i].c_out, 2);
  }
  return memory;
}

}  // namespace dyn2trt::rows
