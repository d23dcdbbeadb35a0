// A block's 3x3 convolution of a tile by mma.sync, ldmatrix and cp.async: sm_80 on.
//
// Grid: x = tiles of all images, y = groups of kCols output channels.
#pragma once

#include "device/ptx/pdl.cuh"
#include "fused/tiles/epilogue.cuh"
#include "fused/tiles/load.cuh"
#include "fused/tiles/multiply.cuh"

namespace dyn2trt::tiles {

// Two slabs of the input; when they have been used, what leaves the tile.
template <class Tile>
struct Outgoing {
  float4 partial[Tile::kBlocks * kWarpCols / 8][Tile::kSplits > 1 ? Tile::kThreads / Tile::kSplits : 1];
  uint16_t staging[Tile::kSites * Tile::kCols];
};

// kSecond: the block's last convolution, at the active sites; else its first, at the sites which that one reads.
template <class T, class Tile, bool kSecond>
struct ConvMma {
  static constexpr const char* kName = kSecond ? "tile_conv2_mma" : "tile_conv1_mma";
  static constexpr int kThreads = Tile::kThreads;
  static constexpr int kMinBlocks = 2;
  static constexpr bool kOverlaps = true, kFollows = kSecond;
  using Params = ConvParams<T>;

  struct Shared {
    union {
      SlabRow slabs[2][Tile::kSlabSites];
      Outgoing<Tile> out;
    };
    SlabRow weights[Tile::kStages][Tile::kSplits][Tile::kCols];
    MaskShared<Tile> mask;
  };
  static_assert(sizeof(Outgoing<Tile>) <= 2 * Tile::kSlabSites * sizeof(SlabRow), "what leaves takes the slabs' place");
  static_assert(sizeof(Shared) <= 99 * 1024, "what sm_86, 89 and 120 have");

  static __device__ void run(const Params& p, Shared& shared) {
#if DYN2TRT_ARCH == 0 || DYN2TRT_ARCH >= 800
    compute(p, shared);
#endif
  }

 private:
  static_assert(Tile::kBlocks <= 2, "compute() knows one block or all");

  struct Work {
    int first_col;
    int chunks;  // of K
  };

  static DYN2TRT_DEVICE void compute(const Params& p, Shared& shared) {
    const Place tile = place_of<Tile>(blockIdx.x, p.tiles_y, p.tiles_x);
    const Work work = {static_cast<int>(blockIdx.y) * Tile::kCols, kTaps * ceil_div(p.channels, kSlabChannels)};
    // The second convolution begins beside the first one's last blocks: all that does not need their hidden values (or
    // logits) comes before its wait. A block that has nothing to compute waits too, or what follows could begin before
    // the first convolution has ended.
    if (!kSecond || p.logits_are_late) ptx::wait_for_prior_kernels();
    ptx::launch_dependents();
    find_active<T, Tile, !kSecond>(p, tile, shared.mask, !kSecond && blockIdx.y == 0 && p.gate.logits != nullptr);
    __syncthreads();
    const int rows = list_sites<T, Tile, !kSecond>(p, tile, shared.mask);
    if (rows > 0) load_first_weights(p, work, shared);
    if (kSecond) {
      copy_idle<T, Tile>(p, tile, shared.mask.active, work.first_col, threadIdx.x, kThreads);
      if (!p.logits_are_late) ptx::wait_for_prior_kernels();
    }
    if (rows == 0) return;
    load_slab<T, Tile>(p, tile, 0, shared.slabs[0]);
    ptx::cp_async_commit();
    // The steps' weights all lie in that one group: the next ones are empty.
    for (int step = 1; step < Tile::kStages - 1; ++step) ptx::cp_async_commit();
    __syncthreads();  // the list is whole

    Sums<Tile::kBlocks> sums;
    sums.clear();
    // All warps take as many blocks of 16 sites as the one that has most: they wait for each other anyway.
    if constexpr (Tile::kBlocks > 1) {
      if (rows <= 16 * Tile::kRowWarps) {
        multiply_all<1>(p, tile, work, rows, sums, shared);
      } else {
        multiply_all<Tile::kBlocks>(p, tile, work, rows, sums, shared);
      }
    } else {
      multiply_all<1>(p, tile, work, rows, sums, shared);
    }
    __syncthreads();  // nobody reads the slabs any more
    add_splits(sums, shared.out);
    if (split() == 0) stage(p, work, rows, sums, shared.out);
    __syncthreads();
    store_rows<T, Tile, kSecond>(p, tile, shared.mask.list, rows, work.first_col, staging(shared.out), threadIdx.x,
                                 kThreads);
  }

  static DYN2TRT_DEVICE int lane() { return threadIdx.x % kWarp; }
  static DYN2TRT_DEVICE int warp() { return threadIdx.x / kWarp % (Tile::kRowWarps * Tile::kColWarps); }
  static DYN2TRT_DEVICE int split() { return threadIdx.x / kWarp / (Tile::kRowWarps * Tile::kColWarps); }
  static DYN2TRT_DEVICE int row_warp() { return warp() / Tile::kColWarps; }
  static DYN2TRT_DEVICE int warp_col() { return warp() % Tile::kColWarps * kWarpCols; }
  static DYN2TRT_DEVICE T* staging(Outgoing<Tile>& out) { return reinterpret_cast<T*>(out.staging); }

  // The weights of the chunks that the splits take in step `step`.
  static DYN2TRT_DEVICE void load_step(const Params& p, const Work& work, int step, Shared& shared) {
#pragma unroll
    for (int i = 0; i < Tile::kSplits; ++i) {
      const int chunk = step * Tile::kSplits + i;
      if (chunk < work.chunks) {
        load_weights<T, Tile>(p, work.first_col, chunk, shared.weights[step % Tile::kStages][i]);
      }
    }
  }

  static DYN2TRT_DEVICE void load_first_weights(const Params& p, const Work& work, Shared& shared) {
    for (int step = 0; step < Tile::kStages - 1; ++step) load_step(p, work, step, shared);
  }

  template <int kBlocks>
  static DYN2TRT_DEVICE void multiply_all(const Params& p, const Place& tile, const Work& work, int rows,
                                          Sums<Tile::kBlocks>& sums, Shared& shared) {
    const int part = lane() / 16;
    int centre[kBlocks];
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      // Beyond the last site: that one again, into sums that nobody stores.
      const int site = shared.mask.list[min((i * Tile::kRowWarps + row_warp()) * 16 + lane() % 16, rows - 1)];
      centre[i] = Tile::centre(site >> 8, site & 255);
    }
    const unsigned cols = part_offset<1>(warp_col() + lane() / 16 * 8 + lane() % 8, lane() / 8 % 2);
    const int slabs = work.chunks / kTaps, steps = ceil_div(work.chunks, Tile::kSplits);
    int next_slab = 1;
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      ptx::cp_async_wait<Tile::kStages - 2>();
      __syncthreads();  // the step's operands are there for all, and those of the step before have been used by all
      load_step(p, work, step + Tile::kStages - 1, shared);
      // Into the place of the slab before the one in use.
      if (next_slab < slabs && step * Tile::kSplits >= kTaps * (next_slab - 1)) {
        load_slab<T, Tile>(p, tile, next_slab, shared.slabs[next_slab % 2]);
        ++next_slab;
      }
      ptx::cp_async_commit();
      const int chunk = step * Tile::kSplits + split();
      if (chunk >= work.chunks) continue;
      const int slab = chunk / kTaps, tap = chunk - slab * kTaps;
      unsigned sites[kBlocks];
#pragma unroll
      for (int i = 0; i < kBlocks; ++i) sites[i] = part_offset<Tile::kStride>(centre[i] + Tile::shift(tap), part);
      multiply_chunk<T, kBlocks>(sums, shared.slabs[slab % 2], sites, shared.weights[step % Tile::kStages][split()],
                                 cols, slab_steps(p.channels, slab));
    }
  }

  // Adds the sums of all splits up in the first one.
  static DYN2TRT_DEVICE void add_splits(Sums<Tile::kBlocks>& sums, Outgoing<Tile>& out) {
    if (Tile::kSplits == 1) return;
    static_assert(Tile::kSplits <= 2, "one split hands its sums to the other");
    const int slot = threadIdx.x % (kThreads / Tile::kSplits);
    if (split() == 1) {
#pragma unroll
      for (int i = 0; i < Tile::kBlocks * kWarpCols / 8; ++i) {
        const float* v = sums.value[i / 4][i % 4];
        out.partial[i][slot] = make_float4(v[0], v[1], v[2], v[3]);
      }
    }
    __syncthreads();
    if (split() == 0) {
#pragma unroll
      for (int i = 0; i < Tile::kBlocks * kWarpCols / 8; ++i) {
        float* v = sums.value[i / 4][i % 4];
        const float4 other = out.partial[i][slot];
        v[0] += other.x;
        v[1] += other.y;
        v[2] += other.z;
        v[3] += other.w;
      }
    }
  }

  // sums + bias, of the first convolution with its activation, into rows of `out.staging`.
  static DYN2TRT_DEVICE void stage(const Params& p, const Work& work, int rows, const Sums<Tile::kBlocks>& sums,
                                   Outgoing<Tile>& out) {
    const auto finished = [&](float low, float high) {
      return kSecond ? pack2<T>(low, high) : pack2<T>(activate(low, p.activation), activate(high, p.activation));
    };
#pragma unroll
    for (int j = 0; j < kWarpCols / 8; ++j) {
      const int col = warp_col() + j * 8 + lane() % 4 * 2;
      if (work.first_col + col >= p.cols) continue;
      const float low = to_float(p.bias[work.first_col + col]), high = to_float(p.bias[work.first_col + col + 1]);
#pragma unroll
      for (int i = 0; i < Tile::kBlocks; ++i) {
        const int row = (i * Tile::kRowWarps + row_warp()) * 16 + lane() / 4;
        const float* v = sums.value[i][j];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if (row + 8 * half >= rows) continue;
          const int at = Staging<T, Tile::kCols>::at(row + 8 * half, col / kVector) + col % kVector;
          *reinterpret_cast<uint32_t*>(staging(out) + at) = finished(v[2 * half] + low, v[2 * half + 1] + high);
        }
      }
    }
  }
};

}  // namespace dyn2trt::tiles
