// What a block keeps in shared memory.
#pragma once

#include "device/vector.cuh"
#include "fused/inverted_residual/tile.cuh"

namespace dyn2trt::inverted_residual {

// 16 bytes longer than its elements: eight rows, one after the other, lie in different banks, as ldmatrix wants them.
template <class T, int kElements>
struct alignas(16) Row {
  T data[kElements + 8];
};

// Who needs what. "Position" numbers tile and ring together, row by row.
template <class Tile, int kListedRows>
struct Lists {
  static constexpr int kPadded = round_up(Tile::kPositions, kListedRows);
  alignas(8) int16_t quad_rows[Tile::kQuads][4];  // of a quad's sites, their row of `filtered`; -1: idle
  uint16_t quad_position[Tile::kQuads];           // first of the 4x4 positions that a quad's convolution reads
  uint16_t row_position[kPadded];                 // of a row of the expand product
  uint16_t site_position[Tile::kSites];           // of a row of the project product
  int16_t site_row[Tile::kSites];                 // the other way round; -1: idle
  uint32_t active[Tile::kTileRows];               // a bit a column
  uint32_t needed[Tile::kHaloRows];
  int active_before[Tile::kTileRows];  // sums over the rows above
  int needed_before[Tile::kHaloRows];
  int quads_before[Tile::kTileRows / 2];
  int needed_count, active_count, quad_count;
};

// Of a chunk. How weights lie is up to the product (Math).
template <class Tile, class Math>
struct Chunk {
  using T = typename Tile::T;
  Row<T, Tile::kChunk> hidden[Tile::kPositions];  // by position
  Row<T, Tile::kChunk> filtered[round_up(Tile::kSites, Math::kListedRows)];
  typename Math::ExpandWeight expand;
  typename Math::ProjectWeight project;
  T depthwise[2][10][Tile::kChunk];  // of this chunk and the next: nine taps, then the bias
  T expand_bias[Tile::kChunk];
};

template <class Tile, class Math>
struct Shared {
  using T = typename Tile::T;
  Row<T, Tile::kChannels> x[Tile::kPositions];  // by position; the tile's own rows end as y
  union {
    float logits[Tile::kSites];  // before the first chunk, where the gate is computed here
    Chunk<Tile, Math> chunk;
    float partial[Tile::kCluster > 1 ? Tile::kSites : 1][Tile::kChannels + 8];  // after the last, of a cluster
  };
  alignas(16) T project_bias[Tile::kChannels];
  Lists<Tile, Math::kListedRows> lists;
};

}  // namespace dyn2trt::inverted_residual
