// The consumers: two warpgroups that multiply. Of a tile of several 64-row blocks each takes its half of the blocks, of
// a tile of one block its half of the columns.
#pragma once

#include "device/ptx/opaque.cuh"
#include "device/ptx/pdl.cuh"
#include "device/ptx/wgmma.cuh"
#include "fused/rows/epilogue.cuh"
#include "fused/rows/plan.cuh"
#include "fused/rows/shared.cuh"
#include "fused/rows/split.cuh"

namespace dyn2trt::rows {

template <class T>
struct Consumer {
  using Params = ConvParams<T>;
  using Shared = ConvShared;

  static DYN2TRT_DEVICE void run(const Params& p, Shared& shared, const Tiling& t, int group) {
    ptx::wait_for_prior_kernels();
    Pipe pipe;
    const bool halves = t.tile.blocks == 1;
    const int columns = halves ? t.tile.columns / 2 : t.tile.columns;
    int tiles = 0;
    for (int number = blockIdx.x; number < t.total; number += gridDim.x, ++tiles) {
      if (t.tile.blocks == 4) {
        if (columns == 128) process<2, 128>(p, shared, t, number, pipe, tiles, group);
        if (columns == 64) process<2, 64>(p, shared, t, number, pipe, tiles, group);
      } else {
        if (columns == 128) process<1, 128>(p, shared, t, number, pipe, tiles, group);
        if (columns == 64) process<1, 64>(p, shared, t, number, pipe, tiles, group);
        if (columns == 32) process<1, 32>(p, shared, t, number, pipe, tiles, group);
        if (columns == 16) process<1, 16>(p, shared, t, number, pipe, tiles, group);
      }
    }
  }

 private:
  // kBlocks 64-row blocks by kColumns of the tile.
  template <int kBlocks, int kColumns>
  static DYN2TRT_DEVICE void process(const Params& p, Shared& shared, const Tiling& t, int number, Pipe& pipe,
                                     int tiles, int group) {
    const bool halves = t.tile.blocks == 1;
    const int first_block = halves ? 0 : group * kBlocks, first_column = halves ? group * kColumns : 0;
    // Zeroed although the first product starts at zero: undefined, the sums of all sizes of tiles would be alive at
    // once.
    float sums[kBlocks][kColumns / 2];
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (int i = 0; i < kColumns / 2; ++i) sums[b][i] = 0.0f;
    }
    multiply<kBlocks, kColumns>(shared, t, t.place(number).chunks(), first_block * kBlockBytes,
                                t.tile.blocks * kBlockBytes + first_column * kColumnBytes, pipe, sums);
    const Tiling::Place place = t.place(ptx::opaque(number));  // computed again: the sums leave few registers
    const int buffer = tiles % 2;
    ptx::mbarrier_wait(&shared.rows_full[buffer], tiles / 2 & 1);
    bool last = true;
    if constexpr (kBlocks == 1 && kColumns <= 32) {
      if (t.tile.splits > 1) last = add_shares<kColumns>(p, shared, t, place, sums[0]);
    }
    if (last) {
#pragma unroll
      for (int b = 0; b < kBlocks; ++b) {
        write_block<kColumns, kBlocks * kColumns >= 256>(p, shared, buffer, (first_block + b) * 64,
                                                         place.first_column + first_column, sums[b]);
      }
    }
    __syncwarp();
    if (threadIdx.x % kWarp == 0) ptx::mbarrier_arrive(&shared.rows_empty[buffer]);
  }

  // A group of products a stage; a stage is free when the next one's products have begun and its own are over.
  template <int kBlocks, int kColumns>
  static DYN2TRT_DEVICE void multiply(Shared& shared, const Tiling& t, int chunks, int a_offset, int b_offset,
                                      Pipe& pipe, float (&sums)[kBlocks][kColumns / 2]) {
    const bool releases = threadIdx.x % kWarp == 0;
    int keep = 0, before = -1;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      ptx::mbarrier_wait(&shared.full[pipe.stage], pipe.parity);
      ptx::fence_proxy_async();  // cp.async wrote A
      unsigned char* const stage = shared.ring + pipe.stage * t.stage_bytes;
      const ptx::MatrixDescriptor a = ptx::swizzled_matrix(stage + a_offset),
                                  b = ptx::swizzled_matrix(stage + b_offset);
      ptx::wgmma_fence();
#pragma unroll
      for (int k = 0; k < kChunk / 16; ++k) {
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          ptx::wgmma<T, kColumns>(sums[block], a + 2 * k + block * (kBlockBytes >> 4), b + 2 * k, k == 0 ? keep : 1);
        }
      }
      ptx::wgmma_commit();
      keep = 1;
      ptx::wgmma_wait<1>();
      if (before >= 0 && releases) ptx::mbarrier_arrive(&shared.empty[before]);
      before = pipe.stage;
      pipe.advance(t.stages);
    }
    ptx::wgmma_wait<0>();
    if (releases) ptx::mbarrier_arrive(&shared.empty[before]);
  }
};

}  // namespace dyn2trt::rows
