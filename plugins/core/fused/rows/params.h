// What a launch of a gathered convolution is given.
#pragma once

#include "device/pair.cuh"
#include "device/ptx/tma.cuh"
#include "fused/rows/entry.h"
#include "fused/rows/limits.h"

namespace dyn2trt::rows {

// Channels-last pixels [n, h, w] in vectors of kVector elements, `pitch` from a site to the next.
template <class T>
struct Pixels {
  T* data;
  int pitch;
};

// A tile of the product: 64 * blocks rows, columns, and how many blocks share its K. 0 blocks: the kernel chooses.
struct TileShape {
  int blocks, columns, splits;
};

// y = activation(identity) at idle sites, in chunks of sites that warps draw from a counter.
template <class T>
struct IdleCopy {
  const float* logits;
  float threshold;
  Pixels<const T> identity;
  Pixels<T> y;
  int sites, vectors;           // vectors: of a site
  int chunk_sites, first, end;  // chunks [first, end) are this launch's share
  int* counter;
};

// The activation of eight elements: none, relu or relu6, which are clamps.
template <class T>
DYN2TRT_DEVICE uint4 clamp_vector(uint4 v, const PairActivation& a) {
  return make_uint4(clamp_pair<T>(v.x, a.low, a.high), clamp_pair<T>(v.y, a.low, a.high),
                    clamp_pair<T>(v.z, a.low, a.high), clamp_pair<T>(v.w, a.low, a.high));
}

// A 1x1 or 3x3 convolution at the sites of a list.
template <class T>
struct ConvParams {
  ptx::TensorMap weight;  // [columns, taps, channels]
  const T* bias;          // [columns]
  Pixels<const T> source;
  Reach source_map;          // the grid of the source, and the step on it from one site of the list's grid to the next
  Pixels<T> target;          // on the list's grid [sites_h, sites_w]
  Pixels<const T> residual;  // data is null: none
  List list;
  int segments, capacity;
  bool lists_are_ahead;         // made by a launch that the one ahead has waited for
  int sites, sites_h, sites_w;  // of the list's grid; sites: of all images
  int taps, channels, columns;
  PairActivation activation;
  TileShape forced;
  float* partial;  // of tiles that blocks share
  int* tickets;
  IdleCopy<T> copy;
};

}  // namespace dyn2trt::rows
