// The first launch: logits of the gate, where they are not given; the list of active sites; the list of the sites that
// the convolutions before the last have to compute, the halo.
//
// A block has kTiles tiles of 8x8 output sites and writes one segment of each list. It computes the logits of its sites
// and of a ring of one site around each tile: neighbours come to the same decision, see device/gate.cuh.
#pragma once

#include "device/gate.cuh"
#include "device/ptx/pdl.cuh"
#include "device/scan.cuh"
#include "fused/rows/entry.h"
#include "fused/rows/limits.h"

namespace dyn2trt::rows {

constexpr int kRing = kSide + 2;

template <class T>
struct ListsParams {
  GateView gate;
  const T* x;  // [n, x_h, x_w], x_pitch elements a site; not read when logits are given
  int x_h, x_w, x_pitch, channels;
  int n, h, w, stride;   // the output grid, and the block's stride
  int tiles_y, tiles_x;  // of an image
  List active, halo;
  Reach active_reach, halo_reach;
  bool halo_on_input;  // halo: sites of x's grid that a strided 3x3 reads, up to 4 an output site; else of the output's
  float* logits;       // where computed logits go, for the launches behind
  int* zeroed;         // counters of the launches behind
  int zeroed_count;
};

template <class T, int kTiles>
struct Lists {
  static constexpr const char* kName = "rows_lists";
  static constexpr int kThreads = kTiles * kTileSites;
  static constexpr int kMinBlocks = 1;
  static constexpr bool kOverlaps = true;
  static constexpr bool kAllShared = true;
  using Params = ListsParams<T>;
  struct Shared {
    ScanShared<kThreads> scan;
    float logits[kTiles][kRing][kRing];  // NaN outside of the map: not active, whatever the threshold
  };

  static __device__ void run(const Params& p, Shared& shared) {
    ptx::wait_for_prior_kernels();
    ptx::launch_dependents();
    if (blockIdx.x == 0) {
      for (int i = threadIdx.x; i < p.zeroed_count; i += kThreads) p.zeroed[i] = 0;
    }
    find_logits(p, shared);
    __syncthreads();
    write_lists(p, shared);
  }

 private:
  // A place in the ring of a tile.
  struct Site {
    int image, row, column;
    bool inside;
  };
  static DYN2TRT_DEVICE Site site_of(const Params& p, int tile_of_block, int ring_row, int ring_column) {
    const int per_image = p.tiles_y * p.tiles_x, tile = static_cast<int>(blockIdx.x) * kTiles + tile_of_block;
    const int image = tile / per_image, rest = tile % per_image;
    const int row = rest / p.tiles_x * kSide + ring_row - 1, column = rest % p.tiles_x * kSide + ring_column - 1;
    return {image, row, column, image < p.n && row >= 0 && row < p.h && column >= 0 && column < p.w};
  }

  static DYN2TRT_DEVICE void find_logits(const Params& p, Shared& shared) {
    const bool computed = p.gate.kind == DYN2TRT_GATE_POINTWISE || p.gate.kind == DYN2TRT_GATE_SQUEEZE;
    const int lanes = computed ? kGateLanes : 1, lane = threadIdx.x % lanes;
    for (int first = 0; first < kTiles * kRing * kRing; first += kThreads / lanes) {
      const int i = first + static_cast<int>(threadIdx.x) / lanes;
      const bool exists = i < kTiles * kRing * kRing;
      const int tile = i / (kRing * kRing), row = i / kRing % kRing, column = i % kRing;
      const Site site = site_of(p, tile, row, column);
      const bool inside = exists && site.inside;
      float logit = __uint_as_float(0x7fffffffu);
      if (computed) {
        const float sum = sum_of(p, site, inside, lane);
        if (inside) logit = gate_logit(p.gate, sum, site.image);
      } else if (inside && p.gate.kind == DYN2TRT_GATE_LAYER) {
        logit = gate_logit(p.gate, 0.0f, site.image);
      } else if (inside) {
        logit = p.gate.given[(site.image * p.h + site.row) * p.w + site.column];
      }
      if (exists && lane == 0) shared.logits[tile][row][column] = logit;
    }
  }

  // The gate's sum over x at a site. All lanes of a warp take part.
  static DYN2TRT_DEVICE float sum_of(const Params& p, const Site& site, bool inside, int lane) {
    const int reach = p.gate.kind == DYN2TRT_GATE_SQUEEZE ? 1 : 0;
    float sum = 0.0f;
    for (int dy = -reach; inside && dy <= reach; ++dy) {
      for (int dx = -reach; dx <= reach; ++dx) {
        const int y = site.row * p.stride + dy, x = site.column * p.stride + dx;
        if (y < 0 || y >= p.x_h || x < 0 || x >= p.x_w) continue;
        const T* pixel = p.x + static_cast<int64_t>((site.image * p.x_h + y) * p.x_w + x) * p.x_pitch;
        const int tap = (dy + reach) * (2 * reach + 1) + dx + reach;
        sum = gate_tap(sum, p.gate.weight + tap * p.channels, p.channels, lane,
                       [&](int channel) { return load_vector<kGateVector>(pixel + channel); });
      }
    }
    return gate_sum(kFullWarp, sum);
  }

  // A thread a site.
  static DYN2TRT_DEVICE void write_lists(const Params& p, Shared& shared) {
    const int tile = threadIdx.x / kTileSites, in_tile = threadIdx.x % kTileSites;
    const int row = in_tile / kSide + 1, column = in_tile % kSide + 1;
    const Site site = site_of(p, tile, row, column);
    const auto active = [&](int dy, int dx) { return shared.logits[tile][row + dy][column + dx] >= p.gate.threshold; };
    const int id = (site.image * p.h + site.row) * p.w + site.column;
    const bool own = site.inside && active(0, 0);
    if (site.inside && p.logits != nullptr) p.logits[id] = shared.logits[tile][row][column];
    if (site.inside && p.gate.logits != nullptr) p.gate.logits[id] = shared.logits[tile][row][column];
    unsigned halo = 0;  // on the input: bit 2a+b for the site (2 row + a, 2 column + b)
    if (site.inside && p.halo_on_input) {
      const bool down = active(1, 0), right = active(0, 1), both = down || right || active(1, 1);
      const bool has_row = 2 * site.row + 1 < p.x_h, has_column = 2 * site.column + 1 < p.x_w;
      halo = (own ? 1u : 0u) | ((own || right) && has_column ? 2u : 0u) | ((own || down) && has_row ? 4u : 0u) |
             ((own || both) && has_row && has_column ? 8u : 0u);
    } else if (site.inside) {
#pragma unroll
      for (int i = 0; i < 9; ++i) halo |= active(i / 3 - 1, i % 3 - 1) ? 1u : 0u;
    }
    int total = 0;
    const int counts = (own ? 1 : 0) | __popc(halo) << 16;
    const int before = block_exclusive_scan<kThreads>(counts, shared.scan, total);
    const int segment = static_cast<int>(blockIdx.x);
    if (own) {
      p.active.entries[segment * kThreads + (before & 0xffff)] =
          make_entry(id, p.active_reach.border(site.row, site.column));
    }
    if (p.halo_on_input) {
      uint32_t* to = p.halo.entries + segment * 4 * kThreads + (before >> 16);
      for (int i = 0; i < 4; ++i) {
        if ((halo >> i & 1u) == 0) continue;
        *to++ = make_entry((site.image * p.x_h + 2 * site.row + i / 2) * p.x_w + 2 * site.column + i % 2, 0);
      }
    } else if (halo != 0) {
      p.halo.entries[segment * kThreads + (before >> 16)] = make_entry(id, p.halo_reach.border(site.row, site.column));
    }
    if (threadIdx.x == 0) {
      p.active.counts[segment] = total & 0xffff;
      p.halo.counts[segment] = total >> 16;
    }
  }
};

}  // namespace dyn2trt::rows
