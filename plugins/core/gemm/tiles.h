// The tiles that are compiled, as types for the kernels and as data for the choice among them (choose.h).
#pragma once

#include "gemm/tile.cuh"

namespace dyn2trt::gemm {

// Rows x columns of the block, of a warp; stages; blocks a multiprocessor.
using Tile128x128 = Tile<128, 128, 64, 32, 3, 2>;
using Tile64x64 = Tile<64, 64, 32, 32, 4, 4>;
using Tile128x32 = Tile<128, 32, 32, 32, 4, 3>;
using Tile32x64 = Tile<32, 64, 16, 32, 4, 4>;
using Tile64x32 = Tile<64, 32, 16, 32, 3, 4>;
using Tile64x64Depthwise = Tile<64, 64, 32, 32, 3, 3>;
using Tile64x96 = Tile<64, 96, 32, 48, 3, 3>;
using Tile64x192 = Tile<64, 192, 32, 48, 3, 2>;
using Tile32x96 = Tile<32, 96, 16, 48, 3, 4>;
using Tile32x192 = Tile<32, 192, 16, 48, 3, 2>;

template <class... Tiles>
struct TileList {};

using LargeTiles = TileList<Tile128x128, Tile64x64, Tile128x32, Tile32x64>;

// Without the largest, beside whose sums nothing else fits into registers: neither elements on their way from an NCHW
// tensor nor the operands of products on CUDA cores.
using SmallTiles = TileList<Tile64x64, Tile128x32, Tile32x64>;

// A tile of the depthwise kernels should cover all columns: what it computes for A is lost with the tile.
using DepthwiseTiles = TileList<Tile64x32, Tile64x64Depthwise, Tile64x96, Tile64x192, Tile32x96, Tile32x192>;

}  // namespace dyn2trt::gemm
