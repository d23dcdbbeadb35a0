// The end of a tile: sums are added to x in shared memory, then all of the tile goes out in 16-byte stores, idle sites
// with it.
#pragma once

#include "fused/inverted_residual/load.cuh"

namespace dyn2trt::inverted_residual {

// y = x + sums + bias at the active sites, in place of the tile's x.
template <class Sums, class Shared>
DYN2TRT_DEVICE void add_residual(const Sums& sums, Shared& shared) {
  using T = typename Shared::T;
  const int sites = shared.lists.active_count;
  sums.for_each([&](int row, int channel, float2 sum) {
    if (row >= sites) return;
    auto* at = reinterpret_cast<uint32_t*>(shared.x[shared.lists.site_position[row]].data + channel);
    const float2 x = unpack2<T>(*at);
    const float2 bias = unpack2<T>(*reinterpret_cast<const uint32_t*>(shared.project_bias + channel));
    *at = pack2<T>(sum.x + bias.x + x.x, sum.y + bias.y + x.y);
  });
}

// Every kCluster-th site of the tile from `first_site` on. `value(site, channel, x)` is what goes out.
template <class Tile, class Shared, class Value>
DYN2TRT_DEVICE void write_tile(const Params<typename Tile::T>& p, const Place& at, int first_site, Shared& shared,
                               Value value) {
  const Lane lane = Lane::of_thread(ptx::opaque(threadIdx.x));
#pragma unroll 1
  for (int i = lane.row; i * Tile::kCluster + first_site < Tile::kSites; i += Tile::kWarps * 8) {
    const int site = i * Tile::kCluster + first_site, row = site / Tile::kTileCols, col = site % Tile::kTileCols;
    if (!inside(p, at.row + row, at.col + col)) continue;
    const auto* from = shared.x[(row + 1) * Tile::kHaloCols + col + 1].data;
    auto* to = p.y.data + p.y.offset(at.image, at.row + row, at.col + col);
#pragma unroll
    for (int v = 0; v < Tile::kVectors; v += 4) {
      const int channel = (lane.vector + v) * 8;
      if (channel < p.x.c) store_vector(to + channel, value(site, channel, load_vector<8>(from + channel)));
    }
  }
}

}  // namespace dyn2trt::inverted_residual
