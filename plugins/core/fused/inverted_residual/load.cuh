// Global to shared memory, by cp.async. Channels beyond the tensor's and hidden channels beyond the last arrive as
// zeros.
//
// A warp takes eight rows, a lane one of them and every fourth of its vectors: 64 consecutive bytes a row in global
// memory, and eight banks of 16 bytes in shared memory.
#pragma once

#include "device/ptx/cp_async.cuh"
#include "device/ptx/opaque.cuh"
#include "fused/inverted_residual/params.h"
#include "fused/inverted_residual/shared.cuh"

namespace dyn2trt::inverted_residual {

struct Lane {
  int row, vector;  // its first

  static DYN2TRT_DEVICE Lane of_thread(int thread) { return {thread / kWarp * 8 + thread % 8, thread / 8 % 4}; }
};

template <class Tile, class Row>
DYN2TRT_DEVICE void load_x_row(const Params<typename Tile::T>& p, const Place& at, int position, int vector, Row& to) {
  const int row = at.row + position / Tile::kHaloCols - 1, col = at.col + position % Tile::kHaloCols - 1;
  const auto* from = p.x.data + p.x.offset(at.image, row, col);
#pragma unroll
  for (int v = 0; v < Tile::kVectors; v += 4) {
    const int first = (vector + v) * 8;
    const bool exists = first < p.x.c;
    ptx::cp_async_16(to.data + first, exists ? from + first : p.x.data, exists);
  }
}

// The tile's own rows, which the idle sites need as well.
template <class Tile, class Shared>
DYN2TRT_DEVICE void load_tile(const Params<typename Tile::T>& p, const Place& at, Shared& shared) {
  const Lane lane = Lane::of_thread(threadIdx.x);
#pragma unroll
  for (int first = 0; first < Tile::kSites; first += Tile::kWarps * 8) {
    const int site = first + lane.row, row = site / Tile::kTileCols, col = site % Tile::kTileCols;
    if (site >= Tile::kSites || !inside(p, at.row + row, at.col + col)) continue;
    const int position = (row + 1) * Tile::kHaloCols + col + 1;
    load_x_row<Tile>(p, at, position, lane.vector, shared.x[position]);
  }
}

template <class Tile>
DYN2TRT_DEVICE bool in_ring(int row, int col) {
  return row == 0 || row == Tile::kHaloRows - 1 || col == 0 || col == Tile::kHaloCols - 1;
}

// All of the ring that lies inside the image, for a gate that looks around its site.
template <class Tile, class Shared>
DYN2TRT_DEVICE void load_ring(const Params<typename Tile::T>& p, const Place& at, Shared& shared) {
  const Lane lane = Lane::of_thread(threadIdx.x);
#pragma unroll 1
  for (int position = lane.row; position < Tile::kPositions; position += Tile::kWarps * 8) {
    const int row = position / Tile::kHaloCols, col = position % Tile::kHaloCols;
    if (!in_ring<Tile>(row, col) || !inside(p, at.row + row - 1, at.col + col - 1)) continue;
    load_x_row<Tile>(p, at, position, lane.vector, shared.x[position]);
  }
}

// The weights that expand and the depthwise convolution want of chunk `chunk`, the block's `step`-th.
template <class Tile, class Math, class Shared>
DYN2TRT_DEVICE void load_expand(const Params<typename Tile::T>& p, int chunk, int step, Shared& shared) {
  using T = typename Tile::T;
  const int thread = ptx::opaque(threadIdx.x);
  const Lane lane = Lane::of_thread(thread);
  const int first = chunk * Tile::kChunk;
#pragma unroll
  for (int group = 0; group < Tile::kChunk; group += Tile::kWarps * 8) {
    const int row = group + lane.row;
    if (Tile::kChunk % (Tile::kWarps * 8) != 0 && row >= Tile::kChunk) break;
    const bool row_exists = first + row < p.expanded;
    const T* from = p.expand_weight + (row_exists ? static_cast<int64_t>(first + row) * p.x.c : 0);
#pragma unroll
    for (int v = 0; v < Tile::kVectors; v += 4) {
      const int vector = lane.vector + v;
      const bool exists = row_exists && vector * 8 < p.x.c;
      ptx::cp_async_16(shared.chunk.expand.vector(row, vector), exists ? from + vector * 8 : p.expand_weight, exists);
    }
  }
  constexpr int kVectors = Tile::kChunk / 8;
#pragma unroll 1
  for (int i = thread; i < 11 * kVectors; i += Tile::kThreads) {
    const int tap = i / kVectors, in_chunk = i % kVectors * 8, hidden = first + in_chunk;
    const bool exists = hidden < p.expanded;
    const T* from = tap < 9    ? p.depthwise_weight + static_cast<int64_t>(tap) * p.expanded
                    : tap == 9 ? p.depthwise_bias
                               : p.expand_bias;
    T* to = tap < 10 ? shared.chunk.depthwise[step % 2][tap] : shared.chunk.expand_bias;
    ptx::cp_async_16(to + in_chunk, exists ? from + hidden : from, exists);
  }
}

template <class Tile, class Math, class Shared>
DYN2TRT_DEVICE void load_project(const Params<typename Tile::T>& p, int chunk, Shared& shared) {
  const Lane lane = Lane::of_thread(ptx::opaque(threadIdx.x));
  const int first = chunk * Tile::kChunk;
#pragma unroll
  for (int group = 0; group < Tile::kChannels; group += Tile::kWarps * 8) {
    const int row = group + lane.row;
    if (Tile::kChannels % (Tile::kWarps * 8) != 0 && row >= Tile::kChannels) break;
    const bool row_exists = row < p.x.c;
    const auto* from = p.project_weight + (row_exists ? static_cast<int64_t>(row) * p.expanded + first : 0);
#pragma unroll
    for (int v = 0; v < Tile::kChunk / 8; v += 4) {
      const int vector = lane.vector + v;
      const bool exists = row_exists && first + vector * 8 < p.expanded;
      ptx::cp_async_16(shared.chunk.project.vector(row, vector), exists ? from + vector * 8 : p.project_weight, exists);
    }
  }
}

template <class Tile, class Shared>
DYN2TRT_DEVICE void load_project_bias(const Params<typename Tile::T>& p, Shared& shared) {
  const int first = static_cast<int>(threadIdx.x) * 8;
  if (first >= Tile::kChannels) return;
  const bool exists = first < p.x.c;
  ptx::cp_async_16(shared.project_bias + first, exists ? p.project_bias + first : p.project_bias, exists);
}

}  // namespace dyn2trt::inverted_residual
