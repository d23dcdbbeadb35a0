// Sizes of a block's tile, and how its operands lie in shared memory.
//
// A block computes one 3x3 convolution at the sites of a spatial tile that need it, for some of the output channels.
// The tile's input, with the ring of sites around it that a 3x3 reads, lies in shared memory a slab at a time: all
// sites, 64 channels. K runs slab by slab and through the nine taps of each, so any number of channels fits.
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::tiles {

constexpr int kSlabChannels = 64;  // 128 bytes a site: a line of the cache
constexpr int kSlabParts = 8;      // vectors of 16 bytes
constexpr int kTaps = 9;
constexpr int kWarpCols = 32;  // output channels of a warp

// One site of a slab, or one output channel of a chunk of weights: 64 values along K.
struct alignas(16) SlabRow {
  unsigned char bytes[2 * kSlabChannels];
};

// kHeight x kWidth output sites and the input sites that they read.
template <int kHeight_, int kWidth_, int kStride_>
struct Footprint {
  static constexpr int kHeight = kHeight_, kWidth = kWidth_, kStride = kStride_;
  static constexpr int kSites = kHeight * kWidth;
  static constexpr int kSlabHeight = (kHeight - 1) * kStride + 3, kSlabWidth = (kWidth - 1) * kStride + 3;
  static constexpr int kSlabSites = kSlabHeight * kSlabWidth;

  static_assert(kSites % kWarp == 0, "every lane has a site");
  static_assert(kHeight + 2 <= kWarp && kWidth + 2 <= kWarp, "a row of the mask is a word, and a warp holds all rows");

  // Where site (row, column) of the tile has the middle of its 3x3 in a slab.
  static DYN2TRT_DEVICE int centre(int row, int column) {
    return (row * kStride + 1) * kSlabWidth + column * kStride + 1;
  }
  // Where tap `tap` of a 3x3 stands to its middle.
  static DYN2TRT_DEVICE int shift(int tap) { return (tap / 3 - 1) * kSlabWidth + tap % 3 - 1; }
};

// A tile of the mma.sync path, of kCols output channels. kRowWarps warps share the sites, kCols / 32 the channels, and
// kSplits groups of them take every kSplits-th chunk of K. kStages chunks (of each group) of weights are on their way.
template <int kHeight_, int kWidth_, int kCols_, int kRowWarps_, int kSplits_, int kStages_, int kStride_>
struct Tile : Footprint<kHeight_, kWidth_, kStride_> {
  using Tile::Footprint::kSites;
  static constexpr int kCols = kCols_, kStages = kStages_;
  static constexpr int kRowWarps = kRowWarps_, kColWarps = kCols / kWarpCols, kSplits = kSplits_;
  static constexpr int kThreads = kRowWarps * kColWarps * kSplits * kWarp;
  static constexpr int kBlocks = kSites / 16 / kRowWarps;  // of 16 sites that a warp has at most

  static_assert(kSites % (16 * kRowWarps) == 0 && kCols % kWarpCols == 0, "warps tile the block");
  static_assert(kStages >= 2 && kStages - 1 <= kTaps / kSplits, "a slab is asked for that many steps before its use");
};

// Where part `part` of row `row` lies, in bytes from the first row. Parts are shuffled within a row so that 8 rows
// which are `step` apart hold the same part in different banks: ldmatrix reads 8 rows at once.
template <int step>
DYN2TRT_DEVICE unsigned part_offset(unsigned row, unsigned part) {
  return row * sizeof(SlabRow) + 16 * (part ^ (row / step % kSlabParts));
}

template <int step>
DYN2TRT_DEVICE void* slab_part(SlabRow* rows, unsigned row, unsigned part) {
  return rows->bytes + part_offset<step>(row, part);
}

// Where a block's tile lies on the output grid: its first site.
struct Place {
  int image, row, column;
};

template <class Tile>
DYN2TRT_DEVICE Place place_of(int tile, int tiles_y, int tiles_x) {
  const int line = tile / tiles_x;
  return {line / tiles_y, line % tiles_y * Tile::kHeight, (tile - line * tiles_x) * Tile::kWidth};
}

}  // namespace dyn2trt::tiles
