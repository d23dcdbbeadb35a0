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

// Tiles that follow each other in one row of tiles.
struct TileRun {
  int first;      // number of the first tile
  int col_tile;   // and its place in the row
  int col_tiles;  // how many
};

// A block's shared memory: the same bytes for every dtype.
template <class Tile>
struct BlockShared {
  OperandRow a[Tile::kStages][Tile::kRows];
  OperandRow b[Tile::kStages][Tile::kCols];
  Staging<Tile::kWarpCols> staging[Tile::kWarps];
  Addresses<Tile::kRows> addresses;
  RowNumbers numbers;
  // Here rather than in every thread's registers.
  Schedule work;
  TileRun tiles;
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
  using Params = Arguments;
  using Loader = Load<T, Tile>;
  using Sums = typename Math::template Warp<Tile::kWarpRows, Tile::kWarpCols>;

  using Shared = BlockShared<Tile>;

  // Where registers are short and residence does not matter, a block may have them all: bf16 on CUDA cores (sm_75
  // alone) converts, and the largest tiles have no place on sm_75, but its code also has to run where a driver compiles
  // it for a newer device.
  static constexpr bool kRelaxed =
      (Sums::kOnCudaCores && sizeof(T) == 2) || (DYN2TRT_ARCH > 0 && DYN2TRT_ARCH < 800 && sizeof(Shared) > 64 * 1024);
  static constexpr int kMinBlocks = kRelaxed ? 1 : Tile::kMinBlocks;

  static __device__ void run(const Params& p, Shared& shared) {
    const int taps = p.depthwise_weight == nullptr ? p.kernel_h * p.kernel_w : 1;  // in the product's K
    const Schedule& work = shared.work;
    number_rows(p, shared.numbers);
    __syncthreads();
    if (threadIdx.x == 0) {
      shared.work = make_schedule<Tile::kRows, Tile::kCols>(shared.numbers.first[p.images], p.cols,
                                                            taps * ceil_div(p.channels, kChunk<T>), p.sharers);
    }
    __syncthreads();
    for (int tile = work.first_tile; tile < work.last_tile;) {
      __syncthreads();  // the tiles before may still be read
      const int row_tile = tile / work.col_tiles, col_tile = tile % work.col_tiles;
      if (threadIdx.x == 0) {
        shared.tiles = {tile, col_tile, min(work.col_tiles - col_tile, work.last_tile - tile)};
      }
      look_up<Tile::kRows, kThreads>(p, shared.numbers, row_tile * Tile::kRows, shared.addresses);
      __syncthreads();
      multiply_tiles(p, taps, shared);
      tile = shared.tiles.first + shared.tiles.col_tiles;
    }
  }

 private:
  // The tiles of shared.tiles.
  static DYN2TRT_DEVICE void multiply_tiles(const Params& p, int taps, Shared& shared) {
    constexpr int kStages = Tile::kStages;
    const Schedule& work = shared.work;
    const TileRun& tiles = shared.tiles;
    const int warp = threadIdx.x / kWarp;
    const int warp_row = warp / Tile::kColWarps * Tile::kWarpRows;
    const int warp_col = warp % Tile::kColWarps * Tile::kWarpCols;
    const int chunks = work.last_chunk - work.first_chunk;
    const int steps = tiles.col_tiles * chunks;
    const bool resident = chunks <= kStages && work.splits == 1;  // A is loaded once and stays

    Loader load;
    const int chunks_of_tap = ceil_div(p.channels, kChunk<T>);
    Cursor next = {tiles.col_tile, work.first_chunk / chunks_of_tap, work.first_chunk % chunks_of_tap * kChunk<T>,
                   work.first_chunk};  // to be loaded
    int next_stage = 0;
    int use_chunk = work.first_chunk, use_col_tile = tiles.col_tile, use_stage = 0;  // to be multiplied

    Sums sums;
    sums.clear();
    // The first kStages - 1 passes only load. They share the loop, since its loads are long code.
    for (int step = 1 - kStages; step < steps; ++step) {
      if (step >= 0) {
        ptx::cp_async_wait<kStages - 2>();
        __syncthreads();  // the step's operands are there for all, and the stage before has been used by all
      }
      const bool loads = step + kStages - 1 < steps;
      const bool loads_a = loads && (!resident || next.col_tile == tiles.col_tile);
      OperandRow* a_stage = shared.a[resident ? next.chunk : next_stage];
      if (loads_a) load.fetch(p, shared.addresses, next.tap, next.channel, a_stage);
      if (loads) {
        load_weight<T, Tile>(p, taps, next.col_tile * Tile::kCols, next.tap, next.channel, shared.b[next_stage]);
      }
      ptx::cp_async_commit();
      if (step >= 0) {
        sums.multiply(shared.a[resident ? use_chunk : use_stage] + warp_row, shared.b[use_stage] + warp_col);
      }
      if (loads_a) load.store(p, shared.addresses, next.channel, a_stage);
      next.template advance<kChunk<T>>(taps, p.channels);
      next_stage = next_stage == kStages - 1 ? 0 : next_stage + 1;
      if (step < 0) continue;

      use_stage = use_stage == kStages - 1 ? 0 : use_stage + 1;
      if (++use_chunk < work.last_chunk) continue;
      if (work.splits == 1 || add_up<kThreads>(p, work, tiles.first, sums, shared.last)) {
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
