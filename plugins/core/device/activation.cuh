// The activations of the op contract, on float. NaN stays NaN, as in torch.
#pragma once

#include "device/platform.cuh"
#include "dyn2trt/core.h"

namespace dyn2trt {

// `activation` is uniform over the grid, so the branch costs next to nothing beside the memory traffic around it.
DYN2TRT_DEVICE float activate(float x, int activation) {
  switch (activation) {
    case DYN2TRT_RELU:
      return x < 0.0f ? 0.0f : x;
    case DYN2TRT_RELU6:
      return x < 0.0f ? 0.0f : (x > 6.0f ? 6.0f : x);
    case DYN2TRT_HARD_SWISH: {
      const float gate = x < -3.0f ? 0.0f : (x > 3.0f ? 6.0f : x + 3.0f);
      return x * gate * (1.0f / 6.0f);
    }
    default:
      return x;
  }
}

template <int kActivation>
DYN2TRT_DEVICE float activate(float x) {
  return activate(x, kActivation);
}

}  // namespace dyn2trt
