// The gathered convolution: a persistent kernel whose blocks take tiles of (rows of a list) x (columns).
//
// Warps have roles: producers fill a ring of stages, consumers multiply and write, the others copy idle positions.
#pragma once

#include "device/ptx/setmaxnreg.cuh"
#include "fused/rows/consume.cuh"
#include "fused/rows/copy_idle.cuh"
#include "fused/rows/produce.cuh"

namespace dyn2trt::rows {

template <class T>
struct Conv {
  static constexpr const char* kName = "rows_conv";
  static constexpr int kThreads = kConvThreads;
  static constexpr int kMinBlocks = 1;
  static constexpr bool kOverlaps = true;
  static constexpr bool kAllShared = true;
  using Params = ConvParams<T>;
  using Shared = ConvShared;

  static __device__ void run(const Params& p, Shared& shared) {
    const int warp = __shfl_sync(kFullWarp, static_cast<int>(threadIdx.x) / kWarp, 0);  // the same in all lanes
    if (threadIdx.x == 0) {
      ptx::prefetch_map(&p.weight);
      for (int s = 0; s < kMaxStages; ++s) {
        ptx::mbarrier_init(&shared.full[s], kProducers + 1);  // and the thread that has weights copied
        ptx::mbarrier_init(&shared.empty[s], kConsumers / kWarp);
      }
      for (int s = 0; s < 2; ++s) {
        ptx::mbarrier_init(&shared.rows_full[s], kProducers);
        ptx::mbarrier_init(&shared.rows_empty[s], kConsumers / kWarp);
      }
      ptx::mbarrier_init_fence();
    }
    if (!p.lists_are_ahead) {
      ptx::wait_for_prior_kernels();
      ptx::launch_dependents();
    }
    const int rows = count_rows(p, shared);
    const TileShape tile = tile_for(p, rows);
    if (warp < kProducers / kWarp) {
      ptx::give_registers_back<kProducerRegisters>();
      Producer<T>::run(p, shared, make_tiling(p, rows, tile), !p.lists_are_ahead);
    } else if (warp < (kProducers + kConsumers) / kWarp) {
      ptx::take_registers<kConsumerRegisters>();
      Consumer<T>::run(p, shared, make_tiling(p, rows, tile), warp / 4 - 1);
    } else {
      ptx::give_registers_back<kCopierRegisters>();
      ptx::wait_for_prior_kernels();
      copy_idle(p.copy, p.activation);
    }
  }

 private:
  // The list's length; where each of its segments begins.
  static DYN2TRT_DEVICE int count_rows(const Params& p, Shared& shared) {
    const int segment = threadIdx.x;
    const int count = segment < p.segments ? clamp(ptx::load_ahead(p.list.counts + segment), 0, p.capacity) : 0;
    int rows = 0;
    const int before = block_exclusive_scan<kThreads>(count, shared.scan, rows);
    if (segment < kMaxSegments) shared.first_row[segment] = before;
    __syncthreads();
    return rows;
  }
};

}  // namespace dyn2trt::rows
