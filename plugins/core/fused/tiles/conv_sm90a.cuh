// A block's 3x3 convolution of a tile by bulk copies and wgmma: sm_90a. What it computes is conv_mma.cuh's.
//
// Grid: x = tiles of all images, y = groups of kCols output channels.
#pragma once

#include "device/ptx/named_barrier.cuh"
#include "device/ptx/setmaxnreg.cuh"
#include "fused/tiles/consume_sm90a.cuh"
#include "fused/tiles/epilogue.cuh"
#include "fused/tiles/produce_sm90a.cuh"

namespace dyn2trt::tiles {

template <class T, class Tile, bool kSecond>
struct ConvWgmma {
  static constexpr const char* kName = kSecond ? "tile_conv2_wgmma" : "tile_conv1_wgmma";
  static constexpr int kThreads = Tile::kThreads;
  static constexpr int kMinBlocks = 1;
  static constexpr bool kOverlaps = true, kFollows = kSecond;
  using Params = WarpgroupParams<T>;
  using Shared = WarpgroupShared<T, Tile>;

  static __device__ void run(const Params& p, Shared& shared) {
    const ConvParams<T>& conv = p.conv;
    const Place tile = place_of<Tile>(blockIdx.x, conv.tiles_y, conv.tiles_x);
    const int first_col = static_cast<int>(blockIdx.y) * Tile::kCols;
    const int chunks = kTaps * ceil_div(conv.channels, kSlabChannels);
    if (threadIdx.x == 0) init_barriers(p, shared);
    // As in conv_mma.cuh: the second convolution waits for what it needs of the first, but every thread waits.
    const bool waits_late = kSecond && !conv.logits_are_late;
    if (!waits_late) ptx::wait_for_prior_kernels();
    ptx::launch_dependents();
    find_active<T, Tile, !kSecond>(conv, tile, shared.mask, !kSecond && blockIdx.y == 0 && conv.gate.logits != nullptr);
    for (int i = threadIdx.x; i < Tile::kCols; i += kThreads) {
      shared.bias[i] = first_col + i < conv.cols ? to_float(conv.bias[first_col + i]) : 0.0f;
    }
    __syncthreads();
    const int rows = list_sites<T, Tile, !kSecond>(conv, tile, shared.mask);
    __syncthreads();  // the list and the barriers are there
    if (rows == 0) {
      if (kSecond) copy_idle<T, Tile>(conv, tile, shared.mask.active, first_col, threadIdx.x, kThreads);
    } else if (threadIdx.x < kWarpgroup) {
      if (Tile::kManySums) ptx::give_registers_back<56>();
      if (threadIdx.x == 0) {
        produce<T, Tile>(p, tile, first_col, chunks, waits_late, shared);
      } else if (kSecond && threadIdx.x >= kWarp) {
        copy_idle<T, Tile>(conv, tile, shared.mask.active, first_col, threadIdx.x - kWarp, kWarpgroup - kWarp);
      }
    } else {
      if (Tile::kManySums) ptx::take_registers<224>();
      const Consumer c = consumer();
      float sums[Tile::kBlocks][Tile::kCols / 2];
      const int mine = consume<T, Tile>(c, sums, rows, chunks, shared);
      ptx::named_barrier(1, Tile::kConsumers);  // nobody reads the slabs or the weights any more
      if (Tile::kSplits == 2) add_splits(c, sums, shared);
      if (c.group == 0 || Tile::kSplits == 1) store(conv, tile, c, sums, rows, mine, first_col, shared);
    }
    if (waits_late) ptx::wait_for_prior_kernels();
  }

 private:
  static DYN2TRT_DEVICE void init_barriers(const Params& p, Shared& shared) {
    ptx::prefetch_map(&p.source);
    ptx::prefetch_map(&p.weights);
    for (int i = 0; i < Tile::kStages; ++i) {
      ptx::mbarrier_init(&shared.full[i], 1);
      ptx::mbarrier_init(&shared.empty[i], Tile::kConsumers / kWarp / Tile::kSplits);  // a warp one arrival
    }
    for (int i = 0; i < 2; ++i) ptx::mbarrier_init(&shared.slab_full[i], 1);
    ptx::mbarrier_init_fence();
  }

  // The second split's sums into the first one's.
  static DYN2TRT_DEVICE void add_splits(const Consumer& c, float (&sums)[Tile::kBlocks][Tile::kCols / 2],
                                        Shared& shared) {
    constexpr int kParts = Tile::kCols / 8;
    const int slot = c.warp * kWarp + c.lane;
    if (c.group == 1) {
#pragma unroll
      for (int i = 0; i < Tile::kBlocks * kParts; ++i) {
        const float* v = sums[i / kParts] + i % kParts * 4;
        shared.partial[i][slot] = make_float4(v[0], v[1], v[2], v[3]);
      }
    }
    ptx::named_barrier(1, Tile::kConsumers);
    if (c.group == 0) {
#pragma unroll
      for (int i = 0; i < Tile::kBlocks * kParts; ++i) {
        float* v = sums[i / kParts] + i % kParts * 4;
        const float4 other = shared.partial[i][slot];
        v[0] += other.x;
        v[1] += other.y;
        v[2] += other.z;
        v[3] += other.w;
      }
    }
  }

  // Each warp its own 16 rows of a block, by way of shared memory.
  static DYN2TRT_DEVICE void store(const ConvParams<T>& p, const Place& tile, const Consumer& c,
                                   const float (&sums)[Tile::kBlocks][Tile::kCols / 2], int rows, int mine,
                                   int first_col, Shared& shared) {
#pragma unroll
    for (int b = 0; b < Tile::kBlocks; ++b) {
      const int first_row = block_number<Tile>(c, b) * 64 + c.warp * 16;
      if (b >= mine || first_row >= rows) continue;
      T* const staging = shared.staging + first_row * Tile::kCols;
#pragma unroll
      for (int j = 0; j < Tile::kCols / 8; ++j) {
        const int col = j * 8 + c.lane % 4 * 2;
        const float low = shared.bias[col], high = shared.bias[col + 1];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float x = sums[b][4 * j + 2 * half] + low, y = sums[b][4 * j + 2 * half + 1] + high;
          const uint32_t pair =
              kSecond ? pack2<T>(x, y) : pack2<T>(activate(x, p.activation), activate(y, p.activation));
          const int at = Staging<T, Tile::kCols>::at(c.lane / 4 + 8 * half, j) + c.lane % 4 * 2;
          *reinterpret_cast<uint32_t*>(staging + at) = pair;
        }
      }
      __syncwarp();
      store_rows<T, Tile, kSecond>(p, tile, shared.mask.list + first_row, min(16, rows - first_row), first_col, staging,
                                   c.lane, kWarp);
    }
  }
};

}  // namespace dyn2trt::tiles
