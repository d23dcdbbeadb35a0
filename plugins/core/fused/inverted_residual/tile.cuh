// Sizes of a block of threads' work, fixed when a kernel is compiled.
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::inverted_residual {

// T            element
// kChannels    channels of x and y in shared memory: those of the tensor and zeros up to here
// kTileRows    and kTileCols: the tile of sites that a block owns
// kChunk       hidden channels that it computes at a time
// kWarps       of a block
// kMinBlocks   blocks that a multiprocessor should hold
// kCluster     blocks that share a tile, each with every kCluster-th chunk
template <class T_, int kChannels_, int kTileRows_, int kTileCols_, int kChunk_, int kWarps_, int kMinBlocks_,
          int kCluster_ = 1>
struct Tile {
  using T = T_;
  static constexpr int kChannels = kChannels_, kChunk = kChunk_, kCluster = kCluster_, kMinBlocks = kMinBlocks_;
  static constexpr int kWarps = kWarps_, kThreads = kWarps * kWarp;
  static constexpr int kTileRows = kTileRows_, kTileCols = kTileCols_, kSites = kTileRows * kTileCols;
  static constexpr int kQuads = kSites / 4;  // 2x2 sites, what a thread of the depthwise convolution takes
  // The tile and the ring of one position around it.
  static constexpr int kHaloRows = kTileRows + 2, kHaloCols = kTileCols + 2, kPositions = kHaloRows * kHaloCols;
  static constexpr int kVectors = kChannels / 8;  // of 16 bytes in a row of x

  static_assert(sizeof(T) == 2, "tensor cores take fp16 and bf16");
  static_assert(kChannels % 32 == 0 && kChunk % 32 == 0,
                "rows are odd multiples of 16 bytes, and K comes in steps of 32");
  static_assert(kTileRows % 2 == 0 && (kTileCols == 8 || kTileCols == 16), "a warp's vote covers whole rows of quads");
  static_assert(kSites % kWarp == 0 && kSites <= kThreads, "a thread decides a site");
  static_assert(kHaloRows <= kWarp, "a warp counts the rows");
};

}  // namespace dyn2trt::inverted_residual
