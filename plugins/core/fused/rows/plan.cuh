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

// Whether `tile` may be used. Blocks share tiles when there are few: no more shares than `most_shares`.
DYN2TRT_DEVICE bool fits(const TileShape& tile, const Work& work, int most_shares) {
  return tile.blocks <= kMaxBlocks && tile.columns <= kMaxColumns && tile.splits <= work.chunks &&
         (tile.splits == 1 || tiles_of(tile, work) * tile.splits <= most_shares);
}

// In cycles, by constants fitted to measurements of forced tiles: docs/kernels_rows.md.
DYN2TRT_DEVICE int cost(const TileShape& tile, const Work& work) {
  constexpr int kLeast = 550, kTile = 2600, kShare = 720;
  const int area = tile.blocks * tile.columns;
  const int bytes = tile.blocks * kBlockBytes + tile.columns * kColumnBytes;
  // Of a chunk: the products, the gathering of rows, the bytes from L2.
  const int chunk = max(max(area * 5 / 2, tile.blocks * 200), max(bytes / 36, kLeast));
  const int waves = ceil_div(tiles_of(tile, work) * tile.splits, work.grid);
  return waves * (ceil_div(work.chunks, tile.splits) * chunk + kTile + 18 * area) +
         (tile.splits > 1 ? kShare + 15 * tile.splits * tile.columns : 0);
}

}  // namespace plan

// The tile of least cost. All lanes of a warp take part.
DYN2TRT_DEVICE TileShape choose_tile(const Work& work) {
  constexpr unsigned kMostCost = (1u << 27) - 1;
  const int lane = threadIdx.x % kWarp;
  const TileShape own = plan::candidate(lane);
  unsigned best = 0xffffffffu;  // cost, then lane
  if (lane < plan::kCandidates && plan::fits(own, work, min(work.grid, kMaxShares))) {
    best = min(static_cast<unsigned>(plan::cost(own, work)), kMostCost) << 5 | static_cast<unsigned>(lane);
  }
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) best = min(best, __shfl_xor_sync(kFullWarp, best, step));
  return plan::candidate(static_cast<int>(best % kWarp));
}

// The forced tile, not shared where there are too many of them; else the chosen one. All lanes of a warp take part.
template <class T>
DYN2TRT_DEVICE TileShape tile_for(const ConvParams<T>& p, int rows) {
  const Work work = {rows, p.columns, p.taps * ceil_div(p.channels, kChunk), static_cast<int>(gridDim.x)};
  const TileShape forced = p.forced;
  if (forced.blocks == 0) return choose_tile(work);
  return plan::fits(forced, work, kMaxShares) ? forced : TileShape{forced.blocks, forced.columns, 1};
}

template <class T>
DYN2TRT_DEVICE Tiling make_tiling(const ConvParams<T>& p, int rows, const TileShape& tile) {
  const int column_tiles = ceil_div(p.columns, tile.columns);
  const int stage_bytes = tile.blocks * kBlockBytes + tile.columns * kColumnBytes;
  return {rows,
          tile,
          column_tiles,
          p.taps * ceil_div(p.channels, kChunk),
          ceil_div(rows, tile.blocks * kBlockRows) * column_tiles * tile.splits,
          min(kRingBytes / stage_bytes, kMaxStages),
          stage_bytes};
}

}  // namespace dyn2trt::rows
