// From the C ABI's struct to a launch.
#pragma once

#include <tuple>

#include "fused/inverted_residual/forms.h"
#include "launch/launch.cuh"

namespace dyn2trt::inverted_residual {

template <class Kernel, class T>
int launch_kernel(const Dyn2trtGatedBlock& block, const float* offset, void* stream) {
  using Tile = typename Kernel::Tile;
  const auto pointers = [](const Dyn2trtConvolution& c) {
    return std::pair(static_cast<const T*>(c.weight), static_cast<const T*>(c.bias));
  };
  Params<T> p = {};
  p.y = view<T>(block.y);
  p.x = {static_cast<const T*>(block.x.data),
         block.x.n,
         block.x.c,
         block.x.h,
         block.x.w,
         block.x.stride_n,
         block.x.stride_c,
         block.x.stride_h,
         block.x.stride_w};
  p.gate = gate_view(block, offset);
  std::tie(p.expand_weight, p.expand_bias) = pointers(block.convolutions[0]);
  std::tie(p.depthwise_weight, p.depthwise_bias) = pointers(block.convolutions[1]);
  std::tie(p.project_weight, p.project_bias) = pointers(block.convolutions[2]);
  p.activation = pair_activation<T>(block.activation);
  p.expanded = block.convolutions[0].c_out;
  p.tiles_x = ceil_div(p.x.w, Tile::kTileCols);
  p.tiles_y = ceil_div(p.x.h, Tile::kTileRows);
  p.chunks = ceil_div(ceil_div(p.expanded, Tile::kChunk), Tile::kCluster);
  const auto blocks = int64_t{p.x.n} * p.tiles_x * p.tiles_y * Tile::kCluster;
  return launch<Kernel>({static_cast<unsigned>(blocks)}, p, stream);
}

template <class Form, class T, int... kWidths>
int launch_width(const Dyn2trtGatedBlock& block, const float* offset, void* stream, Widths<kWidths...>) {
  int status = DYN2TRT_UNSUPPORTED;
  // The first that is wide enough; Form's widths ascend, and `takes` has seen to it that one is.
  static_cast<void>(
      ((block.x.c <= kWidths &&
        (status = launch_kernel<typename Form::template KernelOf<T, kWidths>, T>(block, offset, stream), true)) ||
       ...));
  return status;
}

template <class Form, class T>
int launch_form(const Dyn2trtGatedBlock& block, const float* offset, void* stream) {
  return launch_width<Form, T>(block, offset, stream, typename Form::widths{});
}

}  // namespace dyn2trt::inverted_residual
