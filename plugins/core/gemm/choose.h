// The choice of a tile and a grid, from shapes and the device alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "gemm/kernel.cuh"
#include "gemm/tiles.h"
#include "launch/launch.cuh"

namespace dyn2trt::gemm {

struct TileData {
  int rows, cols;
  int blocks;  // that a multiprocessor holds at once
  int shared_bytes;
};

struct Problem {
  int64_t rows;  // capacity
  int cols;
  int chunks;         // length of K
  bool depthwise;     // A is computed by a depthwise convolution
  bool shared_tiles;  // blocks may share a tile
};

struct Choice {
  int tile;    // index in the list, -1: none fits
  int blocks;  // grid
};

template <class Tile>
constexpr TileData tile_data() {
  return {Tile::kRows, Tile::kCols, Tile::kMinBlocks, static_cast<int>(sizeof(BlockShared<Tile>))};
}

template <class... Tiles>
constexpr std::array<TileData, sizeof...(Tiles)> tile_table(TileList<Tiles...>) {
  return {tile_data<Tiles>()...};
}

// Blocks that may share one tile.
inline int splits_of(int chunks) { return std::max(1, std::min(kMaxSplits, chunks / kMinChunksOfSplit)); }

inline int64_t tiles_of(const TileData& tile, const Problem& problem) {
  return ceil_div<int64_t>(problem.rows, tile.rows) * ceil_div<int64_t>(problem.cols, tile.cols);
}

// Blocks that may share tiles, and the memory that they need. Sizes alone decide, never the device, and more rows never
// want less: a TensorRT plan reserves the memory once, at its largest shape, and may run on another GPU.
constexpr int64_t kMostPartialBytes = int64_t{8} << 20;

inline int64_t partial_bytes(const TileData& tile) { return int64_t{sizeof(float)} * tile.rows * tile.cols; }

inline int sharers_of(const TileData& tile, const Problem& problem) {
  const int splits = splits_of(problem.chunks);
  if (splits == 1) return 0;
  return static_cast<int>(std::min(tiles_of(tile, problem) * splits, kMostPartialBytes / partial_bytes(tile)));
}

// Gates leave a part of the positions active, and which part only the device knows: plan for what halos of published
// budgets come to. With more than that active there are more tiles than planned, and the device is full anyway.
constexpr double kExpectedActive = 0.3;

// What a tile costs, in units of the product of one row and one column at full speed. Small tiles load more bytes for
// the same arithmetic: loading a row or a column costs as much as kLoadCost products. A depthwise convolution costs
// each row as much as kDepthwiseCost further columns.
constexpr double kLoadCost = 24;
constexpr double kDepthwiseCost = 64;

inline double tile_cost(const TileData& tile, bool depthwise) {
  return tile.rows * (tile.cols + (depthwise ? kDepthwiseCost : 0)) + kLoadCost * (tile.rows + tile.cols);
}

// The tile of least estimated time, or the forced one.
template <std::size_t kTiles>
Choice choose(const std::array<TileData, kTiles>& tiles, const DeviceLimits& device, const Problem& problem,
              int forced) {
  Choice best = {-1, 0};
  double best_time = 0;
  for (int i = 0; i < static_cast<int>(kTiles); ++i) {
    const TileData& tile = tiles[i];
    // A kibibyte a block is the system's. Blocks beyond what fits would wait for others, and the work is shared evenly.
    const int fitting = (device.shared_bytes + 1024) / (tile.shared_bytes + 1024);
    const int resident = std::max(1, std::min(tile.blocks, fitting));
    if (tile.shared_bytes > device.shared_bytes || (forced >= 0 && forced != i)) continue;
    const int64_t col_tiles = ceil_div<int64_t>(problem.cols, tile.cols);
    const int64_t expected =
        ceil_div<int64_t>(static_cast<int64_t>(kExpectedActive * static_cast<double>(problem.rows)) + 1, tile.rows) *
        col_tiles;
    const int splits = problem.shared_tiles ? splits_of(problem.chunks) : 1;
    const double time = tile_cost(tile, problem.depthwise) *
                        std::max(static_cast<double>(expected) / device.multiprocessors, 1.0 / splits);
    if (best.tile >= 0 && time >= best_time) continue;
    best_time = time;
    best.tile = i;
    best.blocks = static_cast<int>(
        std::min<int64_t>(tiles_of(tile, problem) * splits, int64_t{device.multiprocessors} * resident));
  }
  return best;
}

}  // namespace dyn2trt::gemm
