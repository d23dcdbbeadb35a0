// The gathered GEMM: a persistent kernel over the tiles of a device-side number of rows.
//
// A block walks through (tile of columns, tap, chunk of channels) as one sequence of steps, so that the pipeline does
// not run dry between the column tiles of a row of tiles. Where all of K fits into the pipeline's stages, A stays there
// for all of them and only B streams.
#pragma once

#include "gemm/epilogue.cuh"
#include "gemm/load_weight.cuh"
#include "gemm/multiply.cuh"
#include "gemm/split.cuh"

namespace dyn2trt::gemm {

// A block's shared memory: the same bytes for every dtype.
template <class Tile>
struct BlockShared {
  OperandRow a[Tile::kStages][Tile::kRows];
  OperandRow b[Tile::kStages][Tile::kCols];
  Staging<Tile::kWarpCols> staging[Tile::kWarps];
  Addresses<Tile::kRows> addresses;
  RowNumbers numbers;
  int last;
};

// A place in the sequence of steps.
struct Cursor {
  int col_tile, tap, channel, chunk;  // chunk counts through taps and channels

  template <int kChunkLength>
  DYN2TRT_DEVICE void advance(int taps, int channels) {
    ++chunk;
    channel += kChunkLength;
    if (channel < channels) return;
    channel = 0;
    if (++tap < taps) return;
    tap = 0;
    chunk = 0;
    ++col_tile;
  }
};

template <class T, class Math, template <class, class> class Load, class Tile>
struct GatheredGemm {
  static constexpr const char* kName = "gathered_gemm";
  static constexpr int kThreads = Tile::kThreads;
  static constexpr int kMinBlocks = Tile::kMinBlocks;
  using Params = Arguments;
  using Loader = Load<T, Tile>;
  using Sums = typename Math::template Warp<Tile::kWarpRows, Tile::kWarpCols>;

  using Shared = BlockShared<Tile>;

  static __device__ void run(const Params& p, Shared& shared) {
    number_rows(p, shared.numbers);
    __syncthreads();
    const int taps = p.depthwise_weight == nullptr ? p.kernel_h * p.kernel_w : 1;  // in the product's K
    const int chunks = taps * ceil_div(p.channels, kChunk<T>);
    const Schedule work =
        make_schedule<Tile::kRows, Tile::kCols>(shared.numbers.first[p.images], p.cols, chunks, p.partial != nullptr);
    for (int tile = work.first_tile; tile < work.last_tile;) {
      const int row_tile = tile / work.col_tiles, col_tile = tile % work.col_tiles;
      const int col_tiles = min(work.col_tiles - col_tile, work.last_tile - tile);
      __syncthreads();  // the tile before may still be read
      look_up<Tile::kRows, kThreads>(p, shared.numbers, row_tile * Tile::kRows, shared.addresses);
      __syncthreads();
      multiply_row_of_tiles(p, work, taps, chunks, tile, col_tile, col_tiles, shared);
      tile += col_tiles;
    }
  }

 private:
  static DYN2TRT_DEVICE void multiply_row_of_tiles(const Params& p, const Schedule& work, int taps, int chunks,
                                                   int tile, int first_col_tile, int col_tiles, Shared& shared) {
    constexpr int kStages = Tile::kStages;
    const int warp = threadIdx.x / kWarp;
    const int warp_row = warp / Tile::kColWarps * Tile::kWarpRows;
    const int warp_col = warp % Tile::kColWarps * Tile::kWarpCols;
    const bool resident = chunks <= kStages && work.splits == 1;  // A is loaded once and stays
    const int steps = work.splits == 1 ? col_tiles * chunks : work.last_chunk - work.first_chunk;

    const int chunks_of_tap = chunks / taps;
    Cursor next = {first_col_tile, work.first_chunk / chunks_of_tap, work.first_chunk % chunks_of_tap * kChunk<T>,
                   work.first_chunk};                                 // to be loaded
    int use_chunk = work.first_chunk, use_col_tile = first_col_tile;  // to be multiplied

    Loader load;
    OperandRow* a_stage = nullptr;
    // Starts the copies of step `step`; finish_load() completes what passes through registers.
    const auto start_load = [&](int step) {
      a_stage = nullptr;
      if (step < steps) {
        if (!resident || next.col_tile == first_col_tile) {
          a_stage = shared.a[resident ? next.chunk : step % kStages];
          load.fetch(p, shared.addresses, next.tap, next.channel, a_stage);
        }
        load_weight<T, Tile>(p, taps, next.col_tile * Tile::kCols, next.tap, next.channel, shared.b[step % kStages]);
      }
      ptx::cp_async_commit();
    };
    const auto finish_load = [&](int step) {
      if (a_stage != nullptr) load.store(p, shared.addresses, next.channel, a_stage);
      if (step < steps) next.template advance<kChunk<T>>(taps, p.channels);
    };

    for (int step = 0; step < kStages - 1; ++step) {
      start_load(step);
      finish_load(step);
    }
    Sums sums;
    sums.clear();
    for (int step = 0; step < steps; ++step) {
      ptx::cp_async_wait<kStages - 2>();
      __syncthreads();  // the step's operands are there for all, and the stage before has been used by all
      start_load(step + kStages - 1);
      sums.multiply(shared.a[resident ? use_chunk : step % kStages] + warp_row, shared.b[step % kStages] + warp_col);
      finish_load(step + kStages - 1);
      if (++use_chunk < work.last_chunk) continue;
      if (work.splits == 1 || add_up<kThreads>(p, work, tile, sums, shared.last)) {
        write_tile<T, Tile>(p, sums, shared.addresses, use_col_tile * Tile::kCols, shared.staging[warp]);
      }
      sums.clear();
      use_chunk = work.first_chunk;
      ++use_col_tile;
    }
    ptx::cp_async_wait<0>();
  }
};

}  // namespace dyn2trt::gemm
