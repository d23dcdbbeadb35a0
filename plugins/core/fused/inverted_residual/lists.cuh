// From decisions to lists: the positions that expand computes, the sites that project computes, the quads between them.
//
// Rows of bits are widened by one position each way for the ring that an active site's 3x3 reads, a warp sums up their
// counts, and every entry then finds its place by itself: the lists are in the order of positions, whatever ran first.
#pragma once

#include "fused/inverted_residual/load.cuh"

namespace dyn2trt::inverted_residual {

// Both sites of each of a pair of rows' quads or-ed into the quad's first bit.
DYN2TRT_DEVICE uint32_t quads_of(uint32_t upper, uint32_t lower) {
  const uint32_t either = upper | lower;
  return (either | either >> 1) & 0x55555555u;
}

DYN2TRT_DEVICE int bits_below(uint32_t bits, int column) { return __popc(bits & ((1u << column) - 1)); }

// Counts everything. Starts with `active` of site threadIdx.x, ends with all threads past a barrier.
template <class Tile, class Lists>
DYN2TRT_DEVICE void count(int height, int width, const Place& at, bool active, Lists& lists) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  if (warp < Tile::kSites / kWarp) {
    constexpr int kRowsOfVote = kWarp / Tile::kTileCols;
    const uint32_t vote = __ballot_sync(kFullWarp, active);
    if (lane < kRowsOfVote) {
      lists.active[warp * kRowsOfVote + lane] = vote >> (lane * Tile::kTileCols) & ((1u << Tile::kTileCols) - 1);
    }
  }
  __syncthreads();
  if (warp == 0) {
    uint32_t needed = 0;
    if (lane < Tile::kHaloRows) {
      for (int row = lane - 2; row <= lane; ++row) {
        if (row >= 0 && row < Tile::kTileRows) needed |= lists.active[row];
      }
      needed |= needed << 1 | needed << 2;
      // Inside the image only.
      const int row = at.row + lane - 1;
      const int right = min(Tile::kHaloCols, width - at.col + 1);
      const uint32_t columns = ((1u << right) - 1) & ~(at.col == 0 ? 1u : 0u);
      needed = row >= 0 && row < height ? needed & columns : 0;
      lists.needed[lane] = needed;
    }
    const int needed_count = __popc(needed);
    const int active_count = lane < Tile::kTileRows ? __popc(lists.active[lane]) : 0;
    const int quad_count =
        lane < Tile::kTileRows / 2 ? __popc(quads_of(lists.active[2 * lane], lists.active[2 * lane + 1])) : 0;
    int needed_sum = needed_count, active_sum = active_count, quad_sum = quad_count;  // with all lanes below
#pragma unroll
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const int a = __shfl_up_sync(kFullWarp, needed_sum, distance);
      const int b = __shfl_up_sync(kFullWarp, active_sum, distance);
      const int c = __shfl_up_sync(kFullWarp, quad_sum, distance);
      if (lane >= distance) needed_sum += a, active_sum += b, quad_sum += c;
    }
    if (lane < Tile::kHaloRows) lists.needed_before[lane] = needed_sum - needed_count;
    if (lane < Tile::kTileRows) lists.active_before[lane] = active_sum - active_count;
    if (lane < Tile::kTileRows / 2) lists.quads_before[lane] = quad_sum - quad_count;
    if (lane == kWarp - 1) {
      lists.needed_count = needed_sum, lists.active_count = active_sum, lists.quad_count = quad_sum;
    }
  }
  __syncthreads();
}

// The positions that expand computes, and the rows of x in the ring among them, unless those are there already.
template <class Tile, class Shared>
DYN2TRT_DEVICE void list_positions(const Params<typename Tile::T>& p, const Place& at, bool ring_loaded,
                                   Shared& shared) {
  auto& lists = shared.lists;
  const Lane lane = Lane::of_thread(threadIdx.x);
#pragma unroll 1
  for (int position = lane.row; position < Tile::kPositions; position += Tile::kWarps * 8) {
    const int row = position / Tile::kHaloCols, col = position % Tile::kHaloCols;
    const uint32_t needed = lists.needed[row];
    if ((needed >> col & 1u) == 0) continue;
    if (lane.vector == 0) lists.row_position[lists.needed_before[row] + bits_below(needed, col)] = position;
    if (in_ring<Tile>(row, col) && !ring_loaded) {
      load_x_row<Tile>(p, at, position, lane.vector, shared.x[position]);
    }
  }
}

// Active sites and quads, and the padding of the positions' list to whole products.
template <class Tile, int kListedRows, class Lists>
DYN2TRT_DEVICE void list_sites(Lists& lists) {
  const int thread = threadIdx.x;
  if (thread < kListedRows && lists.needed_count + thread < round_up(lists.needed_count, kListedRows)) {
    lists.row_position[lists.needed_count + thread] = Tile::kHaloCols + 1;  // any row of x that is there
  }
  if (thread >= Tile::kSites) return;
  const int row = thread / Tile::kTileCols, col = thread % Tile::kTileCols;
  const uint32_t active = lists.active[row];
  int listed = -1;
  if ((active >> col & 1u) != 0) {
    listed = lists.active_before[row] + bits_below(active, col);
    lists.site_position[listed] = (row + 1) * Tile::kHaloCols + col + 1;
  }
  lists.site_row[thread] = listed;
  const uint32_t quads = quads_of(lists.active[row & ~1], lists.active[row | 1]);
  const int head = col & ~1;
  if ((quads >> head & 1u) == 0) return;
  const int quad = lists.quads_before[row / 2] + bits_below(quads, head);
  lists.quad_rows[quad][row % 2 * 2 + col % 2] = listed;
  if (row % 2 == 0 && col % 2 == 0) lists.quad_position[quad] = row * Tile::kHaloCols + col;
}

// Hidden values outside the image are the zeros that the depthwise convolution pads with. They stay for all chunks.
template <class Tile, class Shared>
DYN2TRT_DEVICE void clear_outside(int height, int width, const Place& at, Shared& shared) {
  if (at.row > 0 && at.col > 0 && at.row + Tile::kTileRows < height && at.col + Tile::kTileCols < width) return;
  constexpr int kVectors = Tile::kChunk / 8;
#pragma unroll 1
  for (int i = threadIdx.x; i < Tile::kPositions * kVectors; i += Tile::kThreads) {
    const int position = i / kVectors;
    const int row = at.row + position / Tile::kHaloCols - 1, col = at.col + position % Tile::kHaloCols - 1;
    if (row >= 0 && row < height && col >= 0 && col < width) continue;
    store_vector(shared.chunk.hidden[position].data + i % kVectors * 8, zero_vector<typename Tile::T, 8>());
  }
}

}  // namespace dyn2trt::inverted_residual
