// Sizes of a block's tile on warpgroups, and its shared memory: sm_90a.
#pragma once

#include "device/ptx/tma.cuh"
#include "fused/tiles/mask.cuh"

namespace dyn2trt::tiles {

constexpr int kWarpgroup = 4 * kWarp;

// One warpgroup keeps bulk copies going (and copies idle sites), two multiply: they share the blocks of 64 sites, or
// with kSplits 2 take every second chunk of K.
template <int kHeight_, int kWidth_, int kCols_, int kSplits_, int kStages_, int kStride_>
struct WarpgroupTile : Footprint<kHeight_, kWidth_, kStride_> {
  using WarpgroupTile::Footprint::kSites;
  static constexpr int kCols = kCols_, kSplits = kSplits_, kStages = kStages_;
  static constexpr int kConsumers = 2 * kWarpgroup, kThreads = kWarpgroup + kConsumers;
  static constexpr int kBlocks = kSites / 64 * kSplits / 2;  // of 64 sites that a warpgroup has at most
  static constexpr bool kManySums = kBlocks * kCols >= 256;  // more registers than a third of all

  static_assert(kBlocks >= 1 && kBlocks <= 2 && (kSplits == 1 || kSplits == 2), "the main loop knows these");
  // A stage belongs to one warpgroup. If both took turns, one would miss a phase of its barrier and, by parity, take
  // the phase before it for its own.
  static_assert(kStages % kSplits == 0, "every warpgroup has stages of its own");
  // The producer asks for slab m when it reuses the stage of the last chunk of slab m - 2, which it does only if there
  // are more chunks than stages.
  static_assert(kStages >= 2 && kStages <= 2 * kTaps, "else the last slab is never asked for");
};

// A slab as a bulk copy lays it out, a multiple of 1024 bytes: the swizzle of part_offset<1>.
template <class Tile>
struct alignas(1024) Slab {
  SlabRow rows[Tile::kSlabSites];
};

template <class T, class Tile>
struct WarpgroupShared {
  union {
    Slab<Tile> slabs[2];
    T staging[Tile::kSites * Tile::kCols];  // when the slabs have been used
  };
  union {
    alignas(1024) SlabRow weights[Tile::kStages][Tile::kCols];
    float4 partial[Tile::kBlocks * Tile::kCols / 8][kWarpgroup];  // sums of the second split
  };
  MaskShared<Tile> mask;
  float bias[Tile::kCols];
  // Chunk of weights landed; used by all its consumers; slab landed.
  ptx::Mbarrier full[Tile::kStages], empty[Tile::kStages], slab_full[2];
};

template <class T>
struct WarpgroupParams {
  ConvParams<T> conv;
  ptx::TensorMap source;   // [n, h, w, c], boxes of the tile's input sites and 64 channels
  ptx::TensorMap weights;  // [cols, 9, channels], boxes of kCols x 1 x 64
};

// A place in the ring of stages.
template <int kStages>
struct Stage {
  int at = 0, parity = 0;  // parity: of the round through the ring

  DYN2TRT_DEVICE void advance(int by) {
    at += by;
    if (at >= kStages) {
      at -= kStages;
      parity ^= 1;
    }
  }
};

}  // namespace dyn2trt::tiles
