// A warp's part of a chunk's product: up to kBlocks blocks of 16 sites by 32 output channels, fp32 sums.
#pragma once

#include "device/ptx/ldmatrix.cuh"
#include "device/ptx/mma.cuh"
#include "fused/tiles/tile.cuh"

namespace dyn2trt::tiles {

template <int kBlocks>
struct Sums {
  float value[kBlocks][kWarpCols / 8][4];

  DYN2TRT_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < kBlocks * kWarpCols / 2; ++i) value[i / 16][i / 4 % 4][i % 4] = 0.0f;
  }
};

// 16 channels of K: sites' and weights' fragments.
template <int kBlocks>
struct Fragments {
  uint32_t a[kBlocks][4];
  uint32_t b[2][4];  // each two blocks of 8 output channels

  // sites: where this lane's row of each block lies in the slab (part_offset, of part 0 or 1 by the lane's half); cols
  // likewise in the chunk. K's step changes only the part, and by a number that has no bit in common with the halves.
  DYN2TRT_DEVICE void load(const SlabRow* slab, const unsigned (&sites)[kBlocks], const SlabRow* weights, unsigned cols,
                           int step) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      ptx::ldmatrix_x4(b[i], weights->bytes + ((cols + i * 16 * sizeof(SlabRow)) ^ (step * 32)));
    }
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) ptx::ldmatrix_x4(a[i], slab->bytes + (sites[i] ^ (step * 32)));
  }

  template <class T, int kAll>
  DYN2TRT_DEVICE void multiply(Sums<kAll>& sums) const {
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
#pragma unroll
      for (int j = 0; j < kWarpCols / 8; ++j) {
        const uint32_t col[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        ptx::mma_m16n8k16<T>(sums.value[i][j], a[i], col);
      }
    }
  }
};

// A chunk whole: the next step's fragments are on their way while one is multiplied. `steps` is 4 but in a last slab
// of fewer channels.
template <class T, int kBlocks, int kAll>
DYN2TRT_DEVICE void multiply_chunk(Sums<kAll>& sums, const SlabRow* slab, const unsigned (&sites)[kBlocks],
                                   const SlabRow* weights, unsigned cols, int steps) {
  constexpr int kSteps = kSlabChannels / 16;
  if (steps == kSteps) {
    Fragments<kBlocks> fragments[2];
    fragments[0].load(slab, sites, weights, cols, 0);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (step + 1 < kSteps) fragments[(step + 1) % 2].load(slab, sites, weights, cols, step + 1);
      fragments[step % 2].template multiply<T>(sums);
    }
  } else {
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      Fragments<kBlocks> fragments;
      fragments.load(slab, sites, weights, cols, step);
      fragments.template multiply<T>(sums);
    }
  }
}

}  // namespace dyn2trt::tiles
