// The tiles of the sm_90a path, their tensor maps, and a block's two launches. One translation unit a dtype
// instantiates them.
#pragma once

#include "fused/tiles/arguments.h"
#include "fused/tiles/conv_sm90a.cuh"
#include "launch/tensor_map.h"

namespace dyn2trt::tiles {

// Height, width, output channels; splits of K, stages, stride. The input of a tile with stride 2 is four times as
// large.
struct SmallWarpgroupTiles {  // for few sites: many blocks
  using First = WarpgroupTile<8, 8, 32, 2, 18, 1>;
  using FirstStrided = WarpgroupTile<8, 8, 32, 2, 18, 2>;
};
struct WideWarpgroupTiles {  // for few sites and many channels
  using First = WarpgroupTile<8, 8, 64, 2, 10, 1>;
  using FirstStrided = WarpgroupTile<8, 8, 64, 2, 10, 2>;
};
struct MediumWarpgroupTiles {
  using First = WarpgroupTile<8, 16, 128, 1, 6, 1>;
  using FirstStrided = WarpgroupTile<8, 16, 128, 1, 4, 2>;
};
struct LargeWarpgroupTiles {
  using First = WarpgroupTile<16, 16, 128, 1, 6, 1>;
  using FirstStrided = MediumWarpgroupTiles::FirstStrided;
};

// [n, h, w, c] in boxes of the sites that a tile reads.
template <class T, class Tile>
int map_pixels(const Pixels<const T>& pixels, int n, int h, int w, int c, ptx::TensorMap& map) {
  // The strides of a single row or image may be anything.
  const int64_t line = h > 1 ? pixels.line_stride : int64_t{w} * pixels.pixel_stride;
  const int64_t image = n > 1 ? pixels.image_stride : h * line;
  const auto bytes = [](int64_t elements) { return static_cast<uint64_t>(elements) * sizeof(T); };
  const TensorBox box = {
      pixels.data,
      DtypeOf<T>::value,
      4,
      {static_cast<uint64_t>(c), static_cast<uint64_t>(w), static_cast<uint64_t>(h), static_cast<uint64_t>(n)},
      {0, bytes(pixels.pixel_stride), bytes(line), bytes(image)},
      {kSlabChannels, Tile::kSlabWidth, Tile::kSlabHeight, 1}};
  return make_tensor_map(box, map);
}

// [cols, 9, channels] in boxes of a tap of the tile's output channels.
template <class T, class Tile>
int map_weights(const T* weights, int cols, int channels, ptx::TensorMap& map) {
  const uint64_t row = channels * sizeof(T);
  const TensorBox box = {weights,
                         DtypeOf<T>::value,
                         3,
                         {static_cast<uint64_t>(channels), kTaps, static_cast<uint64_t>(cols), 1},
                         {0, row, kTaps * row, 0},
                         {kSlabChannels, 1, Tile::kCols, 1}};
  return make_tensor_map(box, map);
}

template <class T, class Tile, bool kSecond>
int launch_wgmma(const ConvParams<T>& conv, int images, void* stream) {
  WarpgroupParams<T> params = {};
  params.conv = conv;
  DYN2TRT_TRY((map_pixels<T, Tile>(conv.source, images, conv.source_h, conv.source_w, conv.channels, params.source)));
  DYN2TRT_TRY((map_weights<T, Tile>(conv.weight, conv.cols, conv.channels, params.weights)));
  return launch_conv<ConvWgmma<T, Tile, kSecond>, Tile>(params, params.conv, images, stream);
}

template <class T, class Tiles>
int run_wgmma(const Call& call) {
  const int images = call.block.y.n;
  const ConvParams<T> first = first_params<T>(call);
  if (call.block.stride_h == 1) {
    DYN2TRT_TRY((launch_wgmma<T, typename Tiles::First, false>(first, images, call.stream)));
  } else {
    DYN2TRT_TRY((launch_wgmma<T, typename Tiles::FirstStrided, false>(first, images, call.stream)));
  }
  return launch_wgmma<T, typename Tiles::First, true>(second_params<T>(call), images, call.stream);
}

}  // namespace dyn2trt::tiles
