// Both products by mma.sync (sm_80 on): rows gathered by ldmatrix, sums in registers.
//
// A warp takes 16-row tiles of the listed rows and some of the columns. With many row tiles warps stand in two columns,
// with few in four or eight, so that none is idle while another has two tiles.
#pragma once

#include "device/ptx/ldmatrix.cuh"
#include "device/ptx/mma.cuh"
#include "device/ptx/opaque.cuh"
#include "fused/inverted_residual/params.h"
#include "fused/inverted_residual/shared.cuh"

namespace dyn2trt::inverted_residual {

// sum[i][j] += rows of the 16 at a[i] (a lane's own address) times columns 8j to 8j+7 at b (rows of kPitch elements),
// over K of 32 * kSteps.
template <class T, int kPitch, int kSteps, int kColTiles, int kRowTiles, int kMoreRows, int kMoreCols>
DYN2TRT_DEVICE void multiply(float (&sum)[kMoreRows][kMoreCols][4], const T* const (&a)[kRowTiles], const T* b) {
  const int lane = threadIdx.x % kWarp;
  if constexpr (kColTiles % 2 == 0) {  // four matrices of B are two tiles of columns
    b += (lane / 16 * 8 + lane % 8) * kPitch + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < 32 * kSteps; k += 16) {
      uint32_t rows[kRowTiles][4], cols[kColTiles / 2][4];
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) ptx::ldmatrix_x4(rows[i], a[i] + k);
#pragma unroll
      for (int j = 0; j < kColTiles / 2; ++j) ptx::ldmatrix_x4(cols[j], b + j * 16 * kPitch + k);
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
        for (int j = 0; j < kColTiles; ++j) {
          const uint32_t col[2] = {cols[j / 2][j % 2 * 2], cols[j / 2][j % 2 * 2 + 1]};
          ptx::mma_m16n8k16<T>(sum[i][j], rows[i], col);
        }
      }
    }
  } else {  // or one tile at twice the K
    b += lane % 8 * kPitch + lane / 8 * 8;
#pragma unroll
    for (int k = 0; k < 32 * kSteps; k += 32) {
      uint32_t cols[kColTiles][4];
#pragma unroll
      for (int j = 0; j < kColTiles; ++j) ptx::ldmatrix_x4(cols[j], b + j * 8 * kPitch + k);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t rows[kRowTiles][4];
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) ptx::ldmatrix_x4(rows[i], a[i] + k + half * 16);
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
          for (int j = 0; j < kColTiles; ++j) {
            const uint32_t col[2] = {cols[j][2 * half], cols[j][2 * half + 1]};
            ptx::mma_m16n8k16<T>(sum[i][j], rows[i], col);
          }
        }
      }
    }
  }
}

template <class Tile>
struct Mma {
  using T = typename Tile::T;
  static constexpr int kWarps = Tile::kWarps;
  static constexpr int kListedRows = 16;

  static DYN2TRT_DEVICE void fence() {}  // threads read what cp.async wrote

  struct ExpandWeight {
    Row<T, Tile::kChannels> rows[Tile::kChunk];
    DYN2TRT_DEVICE T* vector(int row, int i) { return rows[row].data + i * 8; }
  };
  struct ProjectWeight {
    Row<T, Tile::kChunk> rows[Tile::kChannels];
    DYN2TRT_DEVICE T* vector(int row, int i) { return rows[row].data + i * 8; }
  };

  // hidden = activation(x * weight + bias) at the listed positions.
  template <class Shared>
  static DYN2TRT_DEVICE void expand(const PairActivation& activation, Shared& shared) {
    const int warp = ptx::opaque(threadIdx.x) / kWarp;  // nothing of this is worth a register outside
    const int tiles = ceil_div(shared.lists.needed_count, 16);
    constexpr int kCols = Tile::kChunk / 8;
    if constexpr (kCols % 8 == 0) {
      if (tiles <= kWarps / 8) {
        if (warp / 8 < tiles) expand_rows<1, kCols / 8>(activation, warp / 8, 0, warp % 8 * (kCols / 8), shared);
        return;
      }
    }
    if (tiles <= kWarps / 4) {
      if (warp / 4 < tiles) expand_rows<1, kCols / 4>(activation, warp / 4, 0, warp % 4 * (kCols / 4), shared);
      return;
    }
    constexpr int kGroups = kWarps / 2, kMost = ceil_div(ceil_div(Tile::kPositions, 16), kGroups);
    static_assert(kMost <= 3, "a warp takes up to three tiles of rows");
    // Two tiles share what is loaded of the weights, where registers allow it.
    constexpr bool kRoom = Tile::kMinBlocks * Tile::kThreads <= 512 || kCols / 2 <= 2;
    const int col = warp % 2 * (kCols / 2);
    int tile = warp / 2;
    if constexpr (kMost > 1 && kRoom) {
      for (; tile + kGroups < tiles; tile += 2 * kGroups) {
        expand_rows<2, kCols / 2>(activation, tile, kGroups, col, shared);
      }
    }
#pragma unroll 1
    for (; tile < tiles; tile += kGroups) expand_rows<1, kCols / 2>(activation, tile, 0, col, shared);
  }

  // y's sums over all chunks: listed sites by channels.
  class Sums {
   public:
    DYN2TRT_DEVICE explicit Sums(int sites) {
      const int warp = threadIdx.x / kWarp, tiles = ceil_div(sites, 16);
      two_columns_ = kFewSites ? false : tiles > kWarps / 2;
      row_step_ = two_columns_ ? kWarps / 2 : kWarps / 4;
      row_tile_ = two_columns_ ? warp / 2 : warp / 4;
      col_tile_ = two_columns_ ? warp % 2 * (kCols / 2) : warp % 4 * (kCols / 4);
      row_tiles_ = tiles > row_tile_ ? ceil_div(tiles - row_tile_, row_step_) : 0;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < kMostCols; ++j) {
#pragma unroll
          for (int e = 0; e < 4; ++e) sum_[i][j][e] = 0.0f;
        }
      }
    }

    template <class Shared>
    DYN2TRT_DEVICE void add_chunk(Shared& shared) {
      if constexpr (!kFewSites) {
        if (two_columns_) {
          add<kCols / 2>(shared);
          return;
        }
      }
      add<kCols / 4>(shared);
    }

    // f(row, channel, two neighbouring sums) for all that this thread has.
    template <class F>
    DYN2TRT_DEVICE void for_each(F f) const {
      const int lane = threadIdx.x % kWarp;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (i >= row_tiles_) continue;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = (row_tile_ + i * row_step_) * 16 + lane / 4 + 8 * half;
#pragma unroll
          for (int j = 0; j < kMostCols; ++j) {
            if (!kFewSites && !two_columns_ && j >= kCols / 4) continue;
            f(row, (col_tile_ + j) * 8 + lane % 4 * 2, make_float2(sum_[i][j][2 * half], sum_[i][j][2 * half + 1]));
          }
        }
      }
    }

   private:
    static constexpr int kCols = Tile::kChannels / 8;                            // tiles of 8
    static constexpr bool kFewSites = ceil_div(Tile::kSites, 16) <= kWarps / 2;  // never more row tiles than that
    static constexpr int kMostCols = kFewSites ? kCols / 4 : kCols / 2;
    static_assert(ceil_div(Tile::kSites, 16) <= kWarps, "a warp takes up to two tiles of rows");

    template <int kColTiles, class Shared>
    DYN2TRT_DEVICE void add(Shared& shared) {
      if (row_tiles_ == 2) {
        add<2, kColTiles>(shared);
      } else if (row_tiles_ == 1) {
        add<1, kColTiles>(shared);
      }
    }

    template <int kRowTiles, int kColTiles, class Shared>
    DYN2TRT_DEVICE void add(Shared& shared) {
      const int lane = threadIdx.x % kWarp;
      const T* a[kRowTiles];
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        a[i] = shared.chunk.filtered[(row_tile_ + i * row_step_) * 16 + lane % 16].data + lane / 16 * 8;
      }
      multiply<T, Tile::kChunk + 8, Tile::kChunk / 32, kColTiles>(sum_, a,
                                                                  shared.chunk.project.vector(col_tile_ * 8, 0));
    }

    bool two_columns_;
    int row_tile_, row_step_, row_tiles_, col_tile_;
    float sum_[2][kMostCols][4];
  };

 private:
  // Row tiles `tile` and, of two, `tile + step`, times kColTiles tiles of columns from `col` on.
  template <int kRowTiles, int kColTiles, class Shared>
  static DYN2TRT_DEVICE void expand_rows(const PairActivation& activation, int tile, int step, int col,
                                         Shared& shared) {
    const int lane = ptx::opaque(threadIdx.x) % kWarp, pair = lane % 4 * 2;
    float sum[kRowTiles][kColTiles][4];
#pragma unroll
    for (int j = 0; j < kColTiles; ++j) {
      const float2 bias =
          unpack2<T>(*reinterpret_cast<const uint32_t*>(&shared.chunk.expand_bias[(col + j) * 8 + pair]));
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        sum[i][j][0] = sum[i][j][2] = bias.x;
        sum[i][j][1] = sum[i][j][3] = bias.y;
      }
    }
    const T* a[kRowTiles];
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      a[i] = shared.x[shared.lists.row_position[(tile + i * step) * 16 + lane % 16]].data + lane / 16 * 8;
    }
    multiply<T, Tile::kChannels + 8, Tile::kChannels / 32, kColTiles>(sum, a, shared.chunk.expand.vector(col * 8, 0));
    const int rows = shared.lists.needed_count;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = (tile + i * step) * 16 + lane / 4 + 8 * half;
        if (row >= rows) continue;
        uint32_t value[kColTiles];
#pragma unroll
        for (int j = 0; j < kColTiles; ++j) value[j] = pack2<T>(sum[i][j][2 * half], sum[i][j][2 * half + 1]);
        activate_pairs<T>(value, activation);
        T* to = shared.chunk.hidden[shared.lists.row_position[row]].data + col * 8 + pair;
#pragma unroll
        for (int j = 0; j < kColTiles; ++j) *reinterpret_cast<uint32_t*>(to + j * 8) = value[j];
      }
    }
  }
};

}  // namespace dyn2trt::inverted_residual
