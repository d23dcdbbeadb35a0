// Slabs of the input and chunks of the weights into shared memory, by cp.async.
//
// Channels beyond the last one are zeros up to the next multiple of 16, the K of one mma; what lies beyond that is
// neither written nor multiplied.
#pragma once

#include "device/ptx/cp_async.cuh"
#include "fused/tiles/params.h"
#include "fused/tiles/tile.cuh"

namespace dyn2trt::tiles {

// Steps of 16 channels that slab `slab` has.
DYN2TRT_DEVICE int slab_steps(int channels, int slab) {
  return min(kSlabChannels / 16, ceil_div(channels - slab * kSlabChannels, 16));
}

// The sites that the tile reads, channels [64 slab, 64 slab + 64); zeros outside the image.
template <class T, class Tile>
DYN2TRT_DEVICE void load_slab(const ConvParams<T>& p, const Place& tile, int slab, SlabRow* rows) {
  const T* image = p.source.image(tile.image);
  const int first_row = tile.row * Tile::kStride - 1, first_column = tile.column * Tile::kStride - 1;
  const int parts = 2 * slab_steps(p.channels, slab);
  for (int i = threadIdx.x; i < Tile::kSlabSites * kSlabParts; i += Tile::kThreads) {
    const int site = i / kSlabParts, part = i % kSlabParts;
    if (part >= parts) continue;
    const int row = first_row + site / Tile::kSlabWidth, column = first_column + site % Tile::kSlabWidth;
    const int channel = slab * kSlabChannels + part * 8;
    const bool there = row >= 0 && row < p.source_h && column >= 0 && column < p.source_w && channel < p.channels;
    ptx::cp_async_16(slab_part<Tile::kStride>(rows, site, part),
                     image + (there ? p.source.offset(row, column) + channel : 0), there);
  }
}

// Chunk `chunk` of K (a tap of a slab) of output channels [first_col, first_col + kCols), a row each.
template <class T, class Tile>
DYN2TRT_DEVICE void load_weights(const ConvParams<T>& p, int first_col, int chunk, SlabRow* rows) {
  const int slab = chunk / kTaps, tap = chunk - slab * kTaps;
  const int parts = 2 * slab_steps(p.channels, slab);
  constexpr int kCopies = Tile::kCols * kSlabParts;
#pragma unroll
  for (int pass = 0; pass < ceil_div(kCopies, Tile::kThreads); ++pass) {
    const int i = pass * Tile::kThreads + static_cast<int>(threadIdx.x);
    const int col = i / kSlabParts, part = i % kSlabParts;
    if (i >= kCopies || part >= parts) continue;
    const int channel = slab * kSlabChannels + part * 8;
    const bool there = first_col + col < p.cols && channel < p.channels;
    const int offset = ((first_col + col) * kTaps + tap) * p.channels + channel;
    ptx::cp_async_16(slab_part<1>(rows, col, part), p.weight + (there ? offset : 0), there);
  }
}

}  // namespace dyn2trt::tiles
