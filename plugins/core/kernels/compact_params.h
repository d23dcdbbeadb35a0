// Parameters of compaction; host code without CUDA may include this.
#pragma once

#include "dyn2trt/core.h"

namespace dyn2trt {

constexpr int kMaxSets = 2;  // of one launch

struct CompactSet {
  int* sites;
  int* slots;
  int* count;
  int h, w;  // grid of the set
  Dyn2trtGeometry geometry;
};

struct CompactParams {
  const float* mask;  // [n, 1, mask_h, mask_w]
  float threshold;
  int n, mask_h, mask_w;
  int shares;  // blocks that share an image's set
  int n_sets;
  CompactSet sets[kMaxSets];
  int* zeros;  // set to 0 on the way
  int n_zeros;
};

}  // namespace dyn2trt
