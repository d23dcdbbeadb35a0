// A consumer warpgroup's products: sites' rows from the slabs by ldmatrix, weights by wgmma from shared memory.
//
// Half a chunk of wgmma runs while the next half's rows are loaded. ptxas serializes wgmma when it sees fit to copy
// accumulators (its remarks C7514 and C7520 say so): they start from zero by wgmma's own predicate, never by a value.
#pragma once

#include "device/ptx/ldmatrix.cuh"
#include "device/ptx/wgmma.cuh"
#include "fused/tiles/tile_sm90a.cuh"

namespace dyn2trt::tiles {

// The same value in all lanes, as the compiler then knows.
DYN2TRT_DEVICE int uniform(int value) { return __shfl_sync(kFullWarp, value, 0); }

struct Consumer {
  int group;  // warpgroup, 0 or 1
  int warp;   // of the warpgroup
  int lane;
};

DYN2TRT_DEVICE Consumer consumer() {
  const int thread = static_cast<int>(threadIdx.x) - kWarpgroup;
  return {uniform(thread / kWarpgroup), uniform(thread / kWarp % 4), thread % kWarp};
}

// Number of block `i` of a warpgroup among the tile's blocks of 64 sites.
template <class Tile>
DYN2TRT_DEVICE int block_number(const Consumer& c, int i) {
  return Tile::kSplits == 2 ? i : 2 * i + c.group;
}

// The chunks of this warpgroup, for kBlocks blocks of 64 sites. centre: of this lane's row of each block.
template <class T, class Tile, int kBlocks>
DYN2TRT_DEVICE void multiply_chunks(const Consumer& c, float (&sums)[Tile::kBlocks][Tile::kCols / 2],
                                    const int (&centre)[Tile::kBlocks], int chunks, WarpgroupShared<T, Tile>& shared) {
  constexpr int kStep = Tile::kSplits;
  uint32_t a[2][kBlocks][2][4];  // of both halves of a chunk, two steps of 16 channels each
  unsigned row[kBlocks];
  const SlabRow* slab_rows = nullptr;
  const auto find_rows = [&](int chunk) {
    const int slab = chunk / kTaps, tap = chunk - slab * kTaps;
    slab_rows = shared.slabs[slab % 2].rows;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) row[b] = part_offset<1>(centre[b] + Tile::shift(tap), c.lane / 16);
  };
  const auto load = [&](int half) {
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (int k = 0; k < 2; ++k) ptx::ldmatrix_x4(a[half][b][k], slab_rows->bytes + (row[b] ^ (half * 2 + k) * 32));
    }
  };
  int keep = 0;
  const auto multiply = [&](int half, const SlabRow* weights) {
    const ptx::MatrixDescriptor matrix = ptx::swizzled_matrix(weights);
    ptx::wgmma_fence();
#pragma unroll
    for (int k = 0; k < 2; ++k) {
#pragma unroll
      for (int b = 0; b < kBlocks; ++b) {
        ptx::wgmma<T, Tile::kCols>(sums[b], a[half][b][k], matrix + (half * 2 + k) * 2, half + k == 0 ? keep : 1);
      }
    }
    ptx::wgmma_commit();
  };
  const auto release = [&](int stage) {
    if (c.lane == 0) ptx::mbarrier_arrive(&shared.empty[stage]);
  };

  int chunk = kStep == 2 ? c.group : 0, last_stage = -1;
  Stage<Tile::kStages> stage;
  stage.advance(chunk);
  ptx::mbarrier_wait(&shared.slab_full[0], 0);
  find_rows(chunk);
  load(0);
  do {
    ptx::mbarrier_wait(&shared.full[stage.at], stage.parity);
    const SlabRow* weights = shared.weights[stage.at];
    multiply(0, weights);
    keep = 1;
    ptx::wgmma_wait<1>();  // the chunk before is done
    if (last_stage >= 0) release(last_stage);
    load(1);
    multiply(1, weights);
    last_stage = stage.at;
    stage.advance(kStep);
    const int next = chunk + kStep;
    const int loaded = next < chunks ? next : chunk;  // after the last chunk: rows that nobody uses
    if (loaded / kTaps != chunk / kTaps) {
      ptx::mbarrier_wait(&shared.slab_full[loaded / kTaps % 2], loaded / (2 * kTaps) % 2);
    }
    find_rows(loaded);
    ptx::wgmma_wait<1>();  // its rows have been used
    load(0);
    chunk = next;
  } while (chunk < chunks);
  ptx::wgmma_wait<0>();
  release(last_stage);
}

// A warpgroup that has no sites lets the weights pass.
template <class T, class Tile>
DYN2TRT_DEVICE void skip_chunks(const Consumer& c, int chunks, WarpgroupShared<T, Tile>& shared) {
  Stage<Tile::kStages> stage;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    ptx::mbarrier_wait(&shared.full[stage.at], stage.parity);
    if (c.lane == 0) ptx::mbarrier_arrive(&shared.empty[stage.at]);
    stage.advance(1);
  }
}

// Sums of all chunks; returns how many blocks of sites this warpgroup has.
template <class T, class Tile>
DYN2TRT_DEVICE int consume(const Consumer& c, float (&sums)[Tile::kBlocks][Tile::kCols / 2], int rows, int chunks,
                           WarpgroupShared<T, Tile>& shared) {
  const int blocks = ceil_div(rows, 64);
  const int mine = uniform(Tile::kSplits == 2 ? blocks : (blocks - c.group + 1) / 2);
  int centre[Tile::kBlocks];
#pragma unroll
  for (int b = 0; b < Tile::kBlocks; ++b) {
    // Beyond the last site: that one again, into sums that nobody stores.
    const int site = shared.mask.list[min(block_number<Tile>(c, b) * 64 + c.warp * 16 + c.lane % 16, rows - 1)];
    centre[b] = Tile::centre(site >> 8, site & 255);
  }
  if (mine == 0) {
    skip_chunks<T, Tile>(c, chunks, shared);
  } else if (mine == 1) {
    multiply_chunks<T, Tile, 1>(c, sums, centre, chunks, shared);
  } else if constexpr (Tile::kBlocks > 1) {
    multiply_chunks<T, Tile, Tile::kBlocks>(c, sums, centre, chunks, shared);
  }
  return mine;
}

}  // namespace dyn2trt::tiles
