// Both products by wgmma (sm_90a): rows gathered by ldmatrix into registers, weights read from shared memory.
//
// A warpgroup takes 64 of the listed rows and all columns, or half of them where there are warpgroups to spare.
#pragma once

#include "device/ptx/ldmatrix.cuh"
#include "device/ptx/mbarrier.cuh"
#include "device/ptx/opaque.cuh"
#include "device/ptx/wgmma.cuh"
#include "fused/inverted_residual/params.h"
#include "fused/inverted_residual/shared.cuh"

namespace dyn2trt::inverted_residual {

// Weights [kRows, K] as wgmma reads B without a swizzle: blocks of 8 rows by 8 elements, each 128 bytes, along K first.
template <class T, int kRows, int kDepth>
struct alignas(128) BlockedWeight {
  static constexpr int kAlongK = 128, kAlongRows = kDepth / 8 * 128;
  T data[kRows * kDepth];

  DYN2TRT_DEVICE T* vector(int row, int i) { return data + row / 8 * (kDepth * 8) + i * 64 + row % 8 * 8; }
  // Rows from `row` on, a multiple of 8, and elements from k on, a multiple of 8.
  DYN2TRT_DEVICE ptx::MatrixDescriptor matrix(int row, int k) {
    return ptx::blocked_matrix(vector(row, k / 8), kAlongK, kAlongRows);
  }
};

template <class Tile>
struct Wgmma {
  using T = typename Tile::T;
  static constexpr int kListedRows = 64;
  static constexpr int kGroups = Tile::kWarps / 4;
  using ExpandWeight = BlockedWeight<T, Tile::kChunk, Tile::kChannels>;
  using ProjectWeight = BlockedWeight<T, Tile::kChannels, Tile::kChunk>;

  // What cp.async wrote is read by the async proxy.
  static DYN2TRT_DEVICE void fence(DYN2TRT_PLACE_PARAMETERS) { ptx::fence_proxy_async(DYN2TRT_PLACE); }

  template <class Shared>
  static DYN2TRT_DEVICE void expand(const PairActivation& activation, Shared& shared) {
    const int group = ptx::opaque(threadIdx.x) / kWarp / 4;
    const int tiles = ceil_div(shared.lists.needed_count, 64);
    if (2 * tiles <= kGroups) {
      if (group < 2 * tiles)
        expand_rows<Tile::kChunk / 2>(activation, group / 2, group % 2 * (Tile::kChunk / 2), shared);
    } else {
#pragma unroll 1
      for (int tile = group; tile < tiles; tile += kGroups) expand_rows<Tile::kChunk>(activation, tile, 0, shared);
    }
  }

  class Sums {
   public:
    DYN2TRT_DEVICE explicit Sums(int sites) {
      const int group = threadIdx.x / kWarp / 4, tiles = ceil_div(sites, 64);
      halves_ = 2 * tiles <= kGroups;
      tile_ = halves_ ? group / 2 : group;
      channel_ = halves_ ? group % 2 * (Tile::kChannels / 2) : 0;
      mine_ = tile_ < tiles;
#pragma unroll
      for (int i = 0; i < kSums; ++i) sum_[i] = 0.0f;
    }

    template <class Shared>
    DYN2TRT_DEVICE void add_chunk(Shared& shared) {
      if (!mine_) return;
      if (halves_) {
        add<Tile::kChannels / 2>(shared);
      } else {
        add<Tile::kChannels>(shared);
      }
    }

    // f(row, channel, two neighbouring sums) for all that this thread has.
    template <class F>
    DYN2TRT_DEVICE void for_each(F f) const {
      if (!mine_) return;
      const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp % 4;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = tile_ * 64 + warp * 16 + lane / 4 + 8 * half;
#pragma unroll
        for (int j = 0; j < Tile::kChannels / 8; ++j) {
          if (halves_ && j >= Tile::kChannels / 16) continue;
          f(row, channel_ + j * 8 + lane % 4 * 2, make_float2(sum_[4 * j + 2 * half], sum_[4 * j + 2 * half + 1]));
        }
      }
    }

   private:
    static constexpr int kSums = Tile::kChannels / 2;
    static_assert(ceil_div(Tile::kSites, 64) <= kGroups, "a warpgroup takes 64 sites");

    template <int kColumns, class Shared>
    DYN2TRT_DEVICE void add(Shared& shared) {
      const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp % 4;
      const T* a = shared.chunk.filtered[tile_ * 64 + warp * 16 + lane % 16].data + lane / 16 * 8;
      auto& sums = reinterpret_cast<float (&)[kColumns / 2]>(sum_);
      multiply<kColumns, Tile::kChunk / 16>(sums, a, 0, channel_, shared.chunk.project);
    }

    bool halves_, mine_;
    int tile_, channel_;
    float sum_[kSums];
  };

 private:
  // sum += the rows at `a` (a lane's own address), K from `first` on, kSteps times 16, times columns from `column` on.
  template <int kColumns, int kSteps, class Weight>
  static DYN2TRT_DEVICE void multiply(float (&sum)[kColumns / 2], const T* a, int first, int column, Weight& weight) {
    uint32_t rows[kSteps][4];
#pragma unroll
    for (int k = 0; k < kSteps; ++k) ptx::ldmatrix_x4(rows[k], a + first + k * 16);
    ptx::hold(sum);
    ptx::wgmma_fence();
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      ptx::wgmma<T, kColumns>(sum, rows[k], weight.matrix(column, first + k * 16), 1);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::hold(sum);
  }

  // 64 rows of the list times kColumns hidden channels of the chunk from `column` on.
  template <int kColumns, class Shared>
  static DYN2TRT_DEVICE void expand_rows(const PairActivation& activation, int tile, int column, Shared& shared) {
    const int lane = threadIdx.x % kWarp, first = tile * 64 + threadIdx.x / kWarp % 4 * 16, pair = lane % 4 * 2;
    const T* a = shared.x[shared.lists.row_position[first + lane % 16]].data + lane / 16 * 8;
    float sum[kColumns / 2];
#pragma unroll
    for (int j = 0; j < kColumns / 8; ++j) {
      const float2 bias =
          unpack2<T>(*reinterpret_cast<const uint32_t*>(&shared.chunk.expand_bias[column + j * 8 + pair]));
      sum[4 * j] = sum[4 * j + 2] = bias.x;
      sum[4 * j + 1] = sum[4 * j + 3] = bias.y;
    }
    // A comes in two parts where registers are short: with too few, ptxas waits for every product.
    constexpr int kSteps = Tile::kChannels / 16, kRegisters = 65536 / (Tile::kMinBlocks * Tile::kThreads);
    constexpr int kParts = kSteps * 4 + kColumns / 2 + Tile::kChannels / 2 > kRegisters - 36 ? 2 : 1;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      multiply<kColumns, kSteps / kParts>(sum, a, part * (Tile::kChannels / kParts), column, shared.chunk.expand);
    }
    const int rows = shared.lists.needed_count;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + lane / 4 + 8 * half;
      if (row >= rows) continue;
      uint32_t value[kColumns / 8];
#pragma unroll
      for (int j = 0; j < kColumns / 8; ++j) value[j] = pack2<T>(sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1]);
      activate_pairs<T>(value, activation);
      T* to = shared.chunk.hidden[shared.lists.row_position[row]].data + column + pair;
#pragma unroll
      for (int j = 0; j < kColumns / 8; ++j) *reinterpret_cast<uint32_t*>(to + j * 8) = value[j];
    }
    ptx::reconverge();  // the next product takes the warpgroup as one
  }
};

}  // namespace dyn2trt::inverted_residual
