// The mask of a tile: which of its sites are active, a word a row, and the list of those that a convolution computes.
#pragma once

#include "device/scan.cuh"
#include "fused/tiles/params.h"
#include "fused/tiles/tile.cuh"

namespace dyn2trt::tiles {

template <class Tile>
struct MaskShared {
  static constexpr int kHeight = Tile::kHeight + 2, kWidth = Tile::kWidth + 2;  // the tile and a ring of one site
  unsigned active[kHeight];                                                     // bit c: column c of the ring's rows
  uint16_t list[Tile::kSites];                                                  // row << 8 | column in the tile
  float logits[kHeight * kWidth];                                               // computed ones
};

// The logit of an output site, the same in the kGateLanes lanes that share it; of what lies outside, bias and offset
// alone. All lanes of a warp take part.
template <class T, int kStride>
DYN2TRT_DEVICE float compute_logit(const ConvParams<T>& p, int image, int row, int column, bool inside) {
  const GateView& gate = p.gate;
  const int lane = threadIdx.x % kGateLanes;
  const T* x = p.source.image(image);
  float sum = 0.0f;
  const int reach = gate.kind == DYN2TRT_GATE_SQUEEZE ? 1 : 0;
  for (int dy = -reach; inside && dy <= reach; ++dy) {
    for (int dx = -reach; dx <= reach; ++dx) {
      const int y = row * kStride + dy, x_ = column * kStride + dx;
      if (y < 0 || y >= p.source_h || x_ < 0 || x_ >= p.source_w) continue;
      const T* pixel = x + p.source.offset(y, x_);
      const int tap = (dy + reach) * (2 * reach + 1) + dx + reach;
      sum = gate_tap(sum, gate.weight + tap * p.channels, p.channels, lane,
                     [&](int first) { return load_vector<kGateVector>(pixel + first); });
    }
  }
  return gate_logit(gate, gate_sum(kFullWarp, sum), image);
}

// Fills shared.active, of the ring too where kRing; elsewhere the ring counts as idle. Writes the tile's own logits
// to gate.logits where `publish`. Ends without a barrier.
template <class T, class Tile, bool kRing>
DYN2TRT_DEVICE void find_active(const ConvParams<T>& p, const Place& tile, MaskShared<Tile>& shared, bool publish) {
  using Mask = MaskShared<Tile>;
  const GateView& gate = p.gate;
  const bool computed = gate.kind == DYN2TRT_GATE_POINTWISE || gate.kind == DYN2TRT_GATE_SQUEEZE;
  if (kRing && computed) {
    constexpr int kAtOnce = Tile::kThreads / kGateLanes;
    for (int first = 0; first < Mask::kHeight * Mask::kWidth; first += kAtOnce) {
      const int i = first + static_cast<int>(threadIdx.x) / kGateLanes;
      const int row = tile.row + i / Mask::kWidth - 1, column = tile.column + i % Mask::kWidth - 1;
      const bool inside = i < Mask::kHeight * Mask::kWidth && row >= 0 && row < p.h && column >= 0 && column < p.w;
      const float logit = compute_logit<T, Tile::kStride>(p, tile.image, row, column, inside);
      if (inside && threadIdx.x % kGateLanes == 0) shared.logits[i] = logit;
    }
    __syncthreads();
  }
  const int64_t image = static_cast<int64_t>(tile.image) * p.h * p.w;
  const int lane = threadIdx.x % kWarp;
  for (int r = threadIdx.x / kWarp; r < Mask::kHeight; r += Tile::kThreads / kWarp) {
    const int row = tile.row + r - 1, column = tile.column + lane - 1;
    const bool own = r >= 1 && r <= Tile::kHeight && lane >= 1 && lane <= Tile::kWidth;
    const bool inside = (kRing ? lane < Mask::kWidth : own) && row >= 0 && row < p.h && column >= 0 && column < p.w;
    bool active = false;
    if (inside) {
      const int64_t site = image + row * p.w + column;
      const float logit = gate.kind == DYN2TRT_GATE_LOGITS  ? gate.given[site]
                          : gate.kind == DYN2TRT_GATE_LAYER ? gate.offset[tile.image]
                                                            : shared.logits[r * Mask::kWidth + lane];
      active = logit >= gate.threshold;
      if (publish && own) gate.logits[site] = logit;
    }
    const unsigned word = __ballot_sync(kFullWarp, active);
    if (lane == 0) shared.active[r] = word;
  }
}

// Lists the tile's sites that are active, or where kDilated those that have an active one among their 3x3 neighbours.
// Returns how many. After a barrier behind find_active; ends without one.
template <class T, class Tile, bool kDilated>
DYN2TRT_DEVICE int list_sites(const ConvParams<T>& p, const Place& tile, MaskShared<Tile>& shared) {
  const int lane = threadIdx.x % kWarp;
  // Lane r holds row r of the tile, bit c its column c.
  unsigned word = 0;
  if (lane < Tile::kHeight && tile.row + lane < p.h) {
    if (kDilated) {
      const unsigned rows = shared.active[lane] | shared.active[lane + 1] | shared.active[lane + 2];
      word = rows | rows >> 1 | rows >> 2;
    } else {
      word = shared.active[lane + 1] >> 1;
    }
    word &= (1u << min(Tile::kWidth, p.w - tile.column)) - 1u;
  }
  const int through = warp_inclusive_scan(__popc(word));
  const int before = through - __popc(word);
  for (int first = threadIdx.x / kWarp * kWarp; first < Tile::kSites; first += Tile::kThreads) {
    const int site = first + lane, row = site / Tile::kWidth, column = site % Tile::kWidth;
    const unsigned here = __shfl_sync(kFullWarp, word, row);
    const int rank = __shfl_sync(kFullWarp, before, row) + __popc(here & ((1u << column) - 1u));
    if (here >> column & 1u) shared.list[rank] = static_cast<uint16_t>(row << 8 | column);
  }
  return __shfl_sync(kFullWarp, through, kWarp - 1);
}

}  // namespace dyn2trt::tiles
