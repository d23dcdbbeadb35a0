// From a block of the C ABI to the arguments of its two launches.
#pragma once

#include "fused/tiles/params.h"
#include "fused/tiles/tiles.h"
#include "launch/launch.cuh"

namespace dyn2trt::tiles {

template <class T>
Pixels<T> pixels(const Dyn2trtDense& tensor) {
  return {static_cast<T*>(tensor.data), tensor.stride_n, static_cast<int>(tensor.stride_h),
          static_cast<int>(tensor.stride_w)};
}

// Hidden values, without gaps.
template <class T>
Pixels<T> hidden_pixels(void* workspace, const Dyn2trtDense& y) {
  return {static_cast<T*>(workspace), static_cast<int64_t>(y.h) * y.w * y.c, y.w * y.c, y.c};
}

// Of both convolutions.
template <class T>
ConvParams<T> shared_params(const Call& call) {
  ConvParams<T> params = {};
  params.gate = gate_view(call.block, gate_offset(call.block));
  if (params.gate.kind != DYN2TRT_GATE_LOGITS && params.gate.logits == nullptr) {
    params.gate.logits = reinterpret_cast<float*>(static_cast<char*>(call.workspace) + hidden_bytes(call.block));
  }
  params.h = call.block.y.h;
  params.w = call.block.y.w;
  params.cols = call.block.y.c;
  params.activation = activation_of(call.block.activation);
  return params;
}

template <class T>
ConvParams<T> first_params(const Call& call) {
  ConvParams<T> params = shared_params<T>(call);
  const Dyn2trtDense& x = call.block.x;
  params.source = pixels<const T>(x);
  params.source_h = x.h;
  params.source_w = x.w;
  params.channels = x.c;
  params.weight = static_cast<const T*>(call.block.convolutions[0].weight);
  params.bias = static_cast<const T*>(call.block.convolutions[0].bias);
  params.target = hidden_pixels<T>(call.workspace, call.block.y);
  return params;
}

template <class T>
ConvParams<T> second_params(const Call& call) {
  ConvParams<T> params = shared_params<T>(call);
  if (params.gate.kind != DYN2TRT_GATE_LOGITS) {  // the first launch wrote them
    params.gate.kind = DYN2TRT_GATE_LOGITS;
    params.gate.given = params.gate.logits;
    params.logits_are_late = true;
  }
  const Dyn2trtDense& y = call.block.y;
  params.source = hidden_pixels<const T>(call.workspace, y);
  params.source_h = y.h;
  params.source_w = y.w;
  params.channels = y.c;
  params.weight = static_cast<const T*>(call.block.convolutions[1].weight);
  params.bias = static_cast<const T*>(call.block.convolutions[1].bias);
  params.target = pixels<T>(y);
  params.identity = pixels<const T>(call.block.identity);
  return params;
}

// Launches a convolution on all tiles. `conv` is part of `params`, or all of it.
template <class Kernel, class Tile, class Params, class T>
int launch_conv(Params& params, ConvParams<T>& conv, int images, void* stream) {
  conv.tiles_y = ceil_div(conv.h, Tile::kHeight);
  conv.tiles_x = ceil_div(conv.w, Tile::kWidth);
  const Grid grid = {static_cast<unsigned>(images * conv.tiles_y * conv.tiles_x),
                     static_cast<unsigned>(ceil_div(conv.cols, Tile::kCols))};
  return launch<Kernel>(grid, params, stream);
}

}  // namespace dyn2trt::tiles
