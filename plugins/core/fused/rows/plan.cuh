// Which tile a convolution takes, from the number of rows: decided on the device, by every warp for itself.
#pragma once

#include "fused/rows/params.h"
#include "fused/rows/shape.h"

namespace dyn2trt::rows {

// The tiles of a launch. A tile's number counts its share of K first, then its columns, then its rows.
struct Tiling {
  int rows;
  TileShape tile;
  int column_tiles, chunks, total, stages, stage_bytes;

  struct Place {
    int first_row, first_column, share, shared_tile;  // shared_tile: its number without the share
    int first_chunk, end_chunk;

    DYN2TRT_DEVICE int chunks() const { return end_chunk - first_chunk; }
  };
  DYN2TRT_DEVICE Place place(int number) const {
    const int share = number % tile.splits, rest = number / tile.splits;
    return {rest / column_tiles * tile.blocks * 64, rest % column_tiles * tile.columns, share, rest,
            chunks * share / tile.splits,           chunks * (share + 1) / tile.splits};
  }
};

// Of `chunks` chunks of 64 along K, 9 a slab of channels where there are 9 taps.
struct Work {
  int rows, columns, chunks, grid;
};

namespace plan {

constexpr int kWideTiles = 5;
constexpr int kCandidates = kWideTiles + 2 * kMaxSplits;

// Lane l of a warp weighs candidate l.
DYN2TRT_DEVICE TileShape candidate(int lane) {
  if (lane >= kWideTiles + kMaxSplits) return {1, 64, lane - kWideTiles - kMaxSplits + 1};
  if (lane >= kWideTiles) return {1, 32, lane - kWideTiles + 1};
  return {lane == 0 ? 1 : lane == 1 || lane == 3 ? 2 : 4, lane < 3 ? 128 : 64, 1};
}

DYN2TRT_DEVICE int tiles_of(const TileShape& tile, const Work& work) {
  return ceil_div(work.rows, 64 * tile.blocks) * ceil_div(work.columns, tile.columns);
}

// Whether `tile` may be used at all.
DYN2TRT_DEVICE bool fits(const TileShape& tile, const Work& work) {
  return tile.blocks <= kMaxBlocks && tile.columns <= kMaxColumns && tile.splits <= work.chunks &&
         (tile.splits == 1 || tiles_of(tile, work) * tile.splits <= min(work.grid, kMaxShares));
}

// In cycles, by constants fitted to measurements of forced tiles: docs/kernels_rows.md.
DYN2TRT_DEVICE int cost(const TileShape& tile, const Work& work) {
  const int shares = tiles_of(tile, work) * tile.splits;
  const int waves = ceil_div(shares, work.grid);
  const int products = tile.blocks * tile.columns * 2;  // of a chunk, by the tensor cores
  const int gathers = tile.blocks * 128;                // by the producers
  const int chunk = max(max(products, gathers), 120);
  return waves * (ceil_div(work.chunks, tile.splits) * chunk + 900 + tile.blocks * tile.columns * 3) +
         (tile.splits > 1 ? 2600 + tile.splits * tile.columns * 8 : 0);
}

}  // namespace plan

// The tile of least cost. All lanes of a warp take part.
DYN2TRT_DEVICE TileShape choose_tile(const Work& work) {
  constexpr unsigned kMostCost = (1u << 27) - 1;
  const int lane = threadIdx.x % kWarp;
  const TileShape own = plan::candidate(lane);
  unsigned best = 0xffffffffu;  // cost, then lane
  if (lane < plan::kCandidates && plan::fits(own, work)) {
    best = min(static_cast<unsigned>(plan::cost(own, work)), kMostCost) << 5 | static_cast<unsigned>(lane);
  }
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) best = min(best, __shfl_xor_sync(kFullWarp, best, step));
  return plan::candidate(static_cast<int>(best % kWarp));
}

// A forced tile as far as it fits, else the chosen one. All lanes of a warp take part.
template <class T>
DYN2TRT_DEVICE Tiling make_tiling(const ConvParams<T>& p, int rows) {
  const int chunks = p.taps * ceil_div(p.channels, kChunk);
  const Work work = {rows, p.columns, chunks, static_cast<int>(gridDim.x)};
  Tiling t = {};
  t.rows = rows;
  t.chunks = chunks;
  if (p.forced.blocks > 0) {
    t.tile = p.forced;
    if (!plan::fits(t.tile, work)) t.tile = {1, 32, 1};
  } else {
    t.tile = choose_tile(work);
  }
  t.column_tiles = ceil_div(p.columns, t.tile.columns);
  t.total = plan::tiles_of(t.tile, work) * t.tile.splits;
  t.stage_bytes = t.tile.blocks * kBlockBytes + t.tile.columns * kColumnBytes;
  t.stages = min(kRingBytes / t.stage_bytes, kMaxStages);
  return t;
}

}  // namespace dyn2trt::rows
