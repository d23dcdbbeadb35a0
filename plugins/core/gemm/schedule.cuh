// Which part of the product a block computes. The grid knows shapes only, so blocks share the work out among
// themselves, by the number of rows that they read: no block waits for another, and none is told anything by the host.
//
// Tiles are numbered row by row of tiles. With enough of them every block takes an equal run of consecutive tiles; with
// few, several blocks share a tile, each for a part of K (split.cuh adds up what they find).
#pragma once

#include "gemm/arguments.h"

namespace dyn2trt::gemm {

constexpr int kMinChunksOfSplit = 4;  // below this, adding up costs more than it saves
constexpr int kMaxSplits = 16;

struct Schedule {
  int col_tiles;
  int first_tile, last_tile;    // this block's run, last exclusive
  int splits, split;            // blocks of a tile, and which of them this one is
  int first_chunk, last_chunk;  // its part of K, in chunks
};

// rows: rows in use; chunks: length of K; sharers: how many blocks there is memory for to share tiles, 0 for none.
template <int kRows, int kCols>
DYN2TRT_DEVICE Schedule make_schedule(int rows, int cols, int chunks, int sharers) {
  const int blocks = gridDim.x, block = blockIdx.x;
  Schedule work;
  work.col_tiles = ceil_div(cols, kCols);
  const int tiles = ceil_div(rows, kRows) * work.col_tiles;
  const int sharing = min(blocks, sharers);
  if (tiles > 0 && tiles <= sharing / 2 && chunks >= 2 * kMinChunksOfSplit) {
    int splits = min(min(sharing / tiles, chunks / kMinChunksOfSplit), kMaxSplits);
    const int chunks_of_split = ceil_div(chunks, splits);
    splits = ceil_div(chunks, chunks_of_split);
    work.splits = splits;
    work.split = block % splits;
    work.first_tile = min(block / splits, tiles);
    work.last_tile = min(block / splits + 1, tiles);
    work.first_chunk = work.split * chunks_of_split;
    work.last_chunk = min(chunks, work.first_chunk + chunks_of_split);
  } else {
    work.splits = 1;
    work.split = 0;
    const int each = tiles / blocks, more = tiles % blocks;  // the first `more` blocks take one tile more
    work.first_tile = block * each + min(block, more);
    work.last_tile = work.first_tile + each + (block < more ? 1 : 0);
    work.first_chunk = 0;
    work.last_chunk = chunks;
  }
  return work;
}

}  // namespace dyn2trt::gemm
