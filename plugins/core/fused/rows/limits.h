// Sizes that host and device agree on, and how a block's sites are cut into segments.
#pragma once

#include <cstdint>

#include "dyn2trt/core.h"

namespace dyn2trt::rows {

constexpr int kVector = 8;                            // elements of 16 bits in one access
constexpr int kMaxLaunches = 3;                       // convolutions
constexpr int kSide = 8, kTileSites = kSide * kSide;  // tiles of sites, for the lists alone

// A list of sites is cut into segments, one a block of the launch that makes it.
constexpr int kMaxSegments = 256;
constexpr int kTilesOfSegment[] = {1, 4, 16};  // the least that do with kMaxSegments

// Blocks that share tiles, of all tiles together; and the fp32 sums of each: 64 rows, at most 64 columns.
constexpr int kMaxShares = 264, kMaxSplits = 8;
constexpr int kShareFloats = 64 * 64;

struct Segments {
  int tiles;  // of a segment; 0: there are too many sites
  int count;
  int sites, halo_sites;  // places of a segment in the lists
};

// Whether the halo is a list of sites of x's grid.
inline bool halo_on_input(const Dyn2trtGatedBlock& block) {
  return block.kind == DYN2TRT_BOTTLENECK && block.stride_h == 2;
}

inline Segments segments_of(const Dyn2trtGatedBlock& block) {
  const int64_t tiles = int64_t{block.y.n} * ((block.y.h + kSide - 1) / kSide) * ((block.y.w + kSide - 1) / kSide);
  for (const int of_segment : kTilesOfSegment) {
    const int64_t count = (tiles + of_segment - 1) / of_segment;
    if (count > kMaxSegments) continue;
    const int sites = of_segment * kTileSites;
    return {of_segment, static_cast<int>(count), sites, halo_on_input(block) ? 4 * sites : sites};
  }
  return {};
}

}  // namespace dyn2trt::rows
