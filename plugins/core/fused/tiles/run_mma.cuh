// The tiles of the mma.sync path, and a block's two launches. One translation unit a dtype instantiates them.
#pragma once

#include "fused/tiles/arguments.h"
#include "fused/tiles/conv_mma.cuh"

namespace dyn2trt::tiles {

// Height, width, output channels; warps along the sites, splits of K, stages, stride.
struct SmallTiles {  // for few sites: many blocks
  using First = Tile<8, 8, 32, 4, 2, 4, 1>;
  using FirstStrided = Tile<8, 8, 32, 4, 2, 3, 2>;
};
struct MediumTiles {
  using First = Tile<8, 16, 64, 4, 1, 4, 1>;
  using FirstStrided = Tile<8, 8, 64, 4, 1, 3, 2>;  // its input is four times as large
};

template <class T, class Tile, bool kSecond>
int launch_mma(ConvParams<T> params, int images, void* stream) {
  return launch_conv<ConvMma<T, Tile, kSecond>, Tile>(params, params, images, stream);
}

template <class T, class Tiles>
int run_mma(const Call& call) {
  const int images = call.block.y.n;
  const ConvParams<T> first = first_params<T>(call);
  if (call.block.stride_h == 1) {
    DYN2TRT_TRY((launch_mma<T, typename Tiles::First, false>(first, images, call.stream)));
  } else {
    DYN2TRT_TRY((launch_mma<T, typename Tiles::FirstStrided, false>(first, images, call.stream)));
  }
  return launch_mma<T, typename Tiles::First, true>(second_params<T>(call), images, call.stream);
}

}  // namespace dyn2trt::tiles
