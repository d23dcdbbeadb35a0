// The activations of the op contract, on float. NaN stays NaN, as in torch.
#pragma once

#include <cmath>

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

// The same as numbers instead of branches, for kernels in which a thread applies it to many values: clamp(x + shift),
// times x / 6 for hard_swish. Host code works the numbers out, so they lie in constant memory.
struct Activation {
  float shift, low, high;
  bool swish;
};

inline Activation activation_of(int activation) {
  switch (activation) {
    case DYN2TRT_RELU:
      return {0.0f, 0.0f, INFINITY, false};
    case DYN2TRT_RELU6:
      return {0.0f, 0.0f, 6.0f, false};
    case DYN2TRT_HARD_SWISH:
      return {3.0f, 0.0f, 6.0f, true};
    default:
      return {0.0f, -INFINITY, INFINITY, false};
  }
}

DYN2TRT_DEVICE float activate(float x, const Activation& a) {
  const float shifted = x + a.shift;
  const float above = shifted < a.low ? a.low : shifted;
  const float clamped = above > a.high ? a.high : above;
  return a.swish ? x * clamped * (1.0f / 6.0f) : clamped;
}

}  // namespace dyn2trt
