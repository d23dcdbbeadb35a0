// The tiles of the mma.sync path, and a block's two launches. One translation unit a dtype instantiates them.
#pragma once

#include "fused/tiles/arguments.h"
#include "fused/tiles/conv_mma.cuh"

namespace dyn2trt::tiles {

// Height, width, output channels; warps along the sites, splits of K, stages, stride.
struct SmallTiles {  // for few sites: many blocks
  using First = Tile<8, 8, 32, 4, 2, 4, 1>;
  using FirstStrided = Tile<8, 8, 32, 4, 2, 3, 2>;
  using Second = First;
};
struct MediumTiles {
  using First = Tile<8, 16, 64, 4, 1, 4, 1>;
  using FirstStrided = Tile<8, 8, 64, 4, 1, 3, 2>;  // its input is four times as large
  using Second = First;
};

template <class T, class Tiles>
int run_mma(const Call& call) {
  using First = typename Tiles::First;
  using FirstStrided = typename Tiles::FirstStrided;
  using Second = typename Tiles::Second;
  const int images = call.block.y.n;
  if (call.block.stride_h == 1) {
    DYN2TRT_TRY((launch_conv<ConvMma<T, First, false>, First>(first_params<T>(call), images, call.stream)));
  } else {
    DYN2TRT_TRY(
        (launch_conv<ConvMma<T, FirstStrided, false>, FirstStrided>(first_params<T>(call), images, call.stream)));
  }
  return launch_conv<ConvMma<T, Second, true>, Second>(second_params<T>(call), images, call.stream);
}

}  // namespace dyn2trt::tiles
