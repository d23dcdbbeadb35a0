// The thread that keeps bulk copies going: slabs of the input into a ring of two, chunks of weights into kStages.
#pragma once

#include "device/ptx/pdl.cuh"
#include "fused/tiles/tile_sm90a.cuh"

namespace dyn2trt::tiles {

template <class T, class Tile>
DYN2TRT_DEVICE void copy_slab(const WarpgroupParams<T>& p, const Place& tile, int slab,
                              WarpgroupShared<T, Tile>& shared) {
  ptx::Mbarrier* const full = &shared.slab_full[slab % 2];
  ptx::mbarrier_arrive_expect(full, Tile::kSlabSites * static_cast<int>(sizeof(SlabRow)));
  ptx::bulk_copy(shared.slabs[slab % 2].rows, &p.source, full, slab * kSlabChannels, tile.column * Tile::kStride - 1,
                 tile.row * Tile::kStride - 1, tile.image);
}

template <class T, class Tile>
DYN2TRT_DEVICE void copy_weights(const WarpgroupParams<T>& p, int first_col, int chunk, int stage,
                                 WarpgroupShared<T, Tile>& shared) {
  const int slab = chunk / kTaps, tap = chunk - slab * kTaps;
  ptx::mbarrier_arrive_expect(&shared.full[stage], Tile::kCols * static_cast<int>(sizeof(SlabRow)));
  ptx::bulk_copy(shared.weights[stage], &p.weights, &shared.full[stage], slab * kSlabChannels, tap, first_col);
}

// `wait`: for the launch ahead, which makes the slabs; weights are asked for before.
template <class T, class Tile>
DYN2TRT_DEVICE void produce(const WarpgroupParams<T>& p, const Place& tile, int first_col, int chunks, bool wait,
                            WarpgroupShared<T, Tile>& shared) {
  const int slabs = chunks / kTaps, head = min(Tile::kStages, chunks);
  if (!wait) copy_slab<T, Tile>(p, tile, 0, shared);
  for (int chunk = 0; chunk < head; ++chunk) copy_weights<T, Tile>(p, first_col, chunk, chunk, shared);
  if (wait) {
    ptx::wait_for_prior_kernels();
    copy_slab<T, Tile>(p, tile, 0, shared);
  }
  if (slabs > 1) copy_slab<T, Tile>(p, tile, 1, shared);
  Stage<Tile::kStages> stage;
  for (int chunk = head; chunk < chunks; ++chunk) {
    ptx::mbarrier_wait(&shared.empty[stage.at], stage.parity);
    // Chunk - kStages has been used. With the last one of a slab, the slab after next may take its place.
    const int used = chunk - Tile::kStages + 1;
    if (used % kTaps == 0 && used / kTaps + 1 < slabs) copy_slab<T, Tile>(p, tile, used / kTaps + 1, shared);
    copy_weights<T, Tile>(p, first_col, chunk, stage.at, shared);
    stage.advance(1);
  }
}

}  // namespace dyn2trt::tiles
