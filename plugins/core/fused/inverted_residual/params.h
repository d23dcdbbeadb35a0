// What the kernels are given.
#pragma once

#include "device/dense.cuh"
#include "device/gate.cuh"
#include "device/pair.cuh"

namespace dyn2trt::inverted_residual {

template <class T>
struct Params {
  Dense<const T> x;  // channels-last, as y
  Dense<T> y;
  GateView gate;
  const T *expand_weight, *expand_bias;        // [e, c], [e]
  const T *depthwise_weight, *depthwise_bias;  // [3, 3, e], [e]
  const T *project_weight, *project_bias;      // [c, e], [c]
  PairActivation activation;
  int expanded;          // e
  int tiles_x, tiles_y;  // of an image
  int chunks;            // of hidden channels, of each block of a cluster
};

// Where a tile stands.
struct Place {
  int image, row, col;  // of its first site

  template <class Tile, class T>
  static DYN2TRT_DEVICE Place of(const Params<T>& p, int tile) {
    const int line = tile / p.tiles_x;
    const int image = line / p.tiles_y;
    return {image, (line - image * p.tiles_y) * Tile::kTileRows, (tile - line * p.tiles_x) * Tile::kTileCols};
  }
};

template <class T>
DYN2TRT_DEVICE bool inside(const Params<T>& p, int row, int col) {
  return row >= 0 && row < p.x.h && col >= 0 && col < p.x.w;
}

}  // namespace dyn2trt::inverted_residual
