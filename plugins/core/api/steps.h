// What the ops are made of, one launch each. dtype is a value here, a type in the .cu file behind it.
#pragma once

#include "api/checks.h"
#include "kernels/compact_params.h"

namespace dyn2trt {

// mask -> site sets. See kernels/compact.cuh. With y it also writes y = activation(identity), where no position is
// active at least, in the same launch if it can; y then lies on the mask's grid.
struct CompactStep {
  const float* mask;
  float threshold;
  int32_t n, mask_h, mask_w;
  int32_t n_sets;
  struct {
    Dyn2trtSiteSet set;
    Dyn2trtGeometry geometry;
  } sets[kMaxSets];
  int32_t* zeros = nullptr;  // set to 0 on the way
  int32_t n_zeros = 0;
  int32_t dtype;
  const Dyn2trtDense *identity = nullptr, *y = nullptr;
  int32_t activation = DYN2TRT_NONE;
};
int compact(const CompactStep& step, void* stream);

// x at the sites of a set -> rows.
struct GatherStep {
  int32_t dtype;
  Dyn2trtDense x;
  Dyn2trtSiteSet set;
  void* rows;
};
int gather(const GatherStep& step, void* stream);

// A convolution at the sites of a set. It reads the first of these that is given: x, rows through slots, rows of the
// same number. It writes rows_out, or when y is there y = out_activation(identity + result) at the sites.
struct ConvStep {
  int32_t dtype;
  uint32_t flags;
  Dyn2trtGeometry geometry;
  int32_t c_in, c_out;
  int32_t h_in, w_in;
  const Dyn2trtDense* x = nullptr;
  const int32_t* slots = nullptr;
  const void* rows = nullptr;
  Dyn2trtSiteSet output;
  bool depthwise = false;  // the convolution itself is depthwise
  // A depthwise convolution of that geometry before a 1x1: fused kernels only.
  const void *depthwise_weight = nullptr, *depthwise_bias = nullptr;
  int32_t depthwise_activation = DYN2TRT_NONE;
  const void *weight, *bias;
  int32_t activation = DYN2TRT_NONE;
  void* rows_out = nullptr;
  const Dyn2trtDense *identity = nullptr, *y = nullptr;
  int32_t out_activation = DYN2TRT_NONE;
  // Memory for blocks that share a tile, see split_memory(); null: they do not.
  float* partial = nullptr;
  int32_t* arrivals = nullptr;  // all 0 before and after the launch
  int32_t forced_tile = -1;     // of the gathered GEMM; -1 leaves the choice to it
};
int convolve(const ConvStep& step, void* stream);

// The tile that DYN2TRT_TILE forces on a convolution, -1 without one.
inline int32_t tile_of(uint32_t flags, int32_t convolution) {
  return static_cast<int32_t>(flags >> (8 + 4 * convolution) & 0xfu) - 1;
}

// Whether convolve() takes a step that writes y or has a depthwise convolution before it.
bool can_fuse(const ConvStep& step);

// How much of that memory a step can make use of.
struct SplitBytes {
  std::size_t partial, arrivals;
};
SplitBytes split_memory(const ConvStep& step);

// rows into base, or with rows null: activation(base) alone. Slots make it one launch; without them sites and count
// are read.
struct ScatterStep {
  int32_t dtype;
  int32_t reduction, activation;
  Dyn2trtDense base, y;
  const void* rows;
  Dyn2trtSiteSet set;
};
int scatter(const ScatterStep& step, void* stream);

}  // namespace dyn2trt
