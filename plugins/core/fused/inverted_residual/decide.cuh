// Which of the tile's sites are active. Each is decided in the one block that owns it (in a cluster by all of its
// blocks, from the same numbers in the same order), so no two blocks can disagree.
#pragma once

#include "fused/inverted_residual/load.cuh"

namespace dyn2trt::inverted_residual {

// Whether the gate has to look at x.
DYN2TRT_DEVICE bool computes_logits(const GateView& gate) {
  return gate.kind == DYN2TRT_GATE_POINTWISE || gate.kind == DYN2TRT_GATE_SQUEEZE;
}

// The logits of the tile's sites from x in shared memory, eight lanes a site (device/gate.cuh). A convolution's zeros
// outside the image are left out: they would add nothing.
template <class Tile, class Shared>
DYN2TRT_DEVICE void compute_logits(const Params<typename Tile::T>& p, const Place& at, Shared& shared) {
  const int lane = threadIdx.x % kGateLanes;
  const bool around = p.gate.kind == DYN2TRT_GATE_SQUEEZE;
#pragma unroll 1
  for (int site = threadIdx.x / kGateLanes; site < Tile::kSites; site += Tile::kThreads / kGateLanes) {
    const int row = site / Tile::kTileCols, col = site % Tile::kTileCols;
    float sum = 0.0f;
#pragma unroll 1
    for (int tap = around ? 0 : 4; tap < (around ? 9 : 5); ++tap) {
      const int halo_row = row + tap / 3, halo_col = col + tap % 3;
      if (!inside(p, at.row + row, at.col + col) || !inside(p, at.row + halo_row - 1, at.col + halo_col - 1)) continue;
      const auto& x = shared.x[halo_row * Tile::kHaloCols + halo_col];
      const float* weight = p.gate.weight + (around ? tap * p.x.c : 0);
      sum = gate_tap(sum, weight, p.x.c, lane, [&](int first) { return load_vector<kGateVector>(x.data + first); });
    }
    sum = gate_sum(kFullWarp, sum);
    if (lane == 0) shared.logits[site] = gate_logit(p.gate, sum, at.image);
  }
}

// The decision on site threadIdx.x; false where there is none. `given` is that site's logit, unless it is computed
// here. Ends with all threads past a barrier if it is.
template <class Tile, class Shared>
DYN2TRT_DEVICE bool decide(const Params<typename Tile::T>& p, const Place& at, float given, bool writes,
                           Shared& shared) {
  if (computes_logits(p.gate)) {
    ptx::cp_async_wait<0>();
    __syncthreads();  // x is there for all
    compute_logits<Tile>(p, at, shared);
    __syncthreads();  // and so are the logits
  }
  const int site = threadIdx.x, row = at.row + site / Tile::kTileCols, col = at.col + site % Tile::kTileCols;
  if (site >= Tile::kSites || !inside(p, row, col)) return false;
  const float logit = computes_logits(p.gate) ? shared.logits[site] : given;
  if (writes && p.gate.logits != nullptr && p.gate.kind != DYN2TRT_GATE_LOGITS) {
    p.gate.logits[(static_cast<int64_t>(at.image) * p.x.h + row) * p.x.w + col] = logit;
  }
  return logit >= p.gate.threshold;
}

// A logit that is not computed here, of site threadIdx.x: loaded before x is asked for.
template <class Tile>
DYN2TRT_DEVICE float given_logit(const Params<typename Tile::T>& p, const Place& at) {
  const int site = threadIdx.x, row = at.row + site / Tile::kTileCols, col = at.col + site % Tile::kTileCols;
  if (site >= Tile::kSites || !inside(p, row, col) || computes_logits(p.gate)) return 0.0f;
  if (p.gate.kind == DYN2TRT_GATE_LAYER) return p.gate.offset[at.image];
  return p.gate.given[(static_cast<int64_t>(at.image) * p.x.h + row) * p.x.w + col];
}

}  // namespace dyn2trt::inverted_residual
