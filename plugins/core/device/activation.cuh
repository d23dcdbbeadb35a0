// The activations of the op contract, on float. NaN stays NaN, as in torch.
#pragma once

#include <cmath>

#include "device/platform.cuh"
#include "device/ptx/clamp.cuh"
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

// Of all values at once: one branch, which all threads take alike.
template <int N>
DYN2TRT_DEVICE void activate(float (&x)[N], const Activation& a) {
  if (a.swish) {
#pragma unroll
    for (int i = 0; i < N; ++i) x[i] *= ptx::clamp_or_nan(x[i] + a.shift, a.low, a.high) * (1.0f / 6.0f);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) x[i] = ptx::clamp_or_nan(x[i], a.low, a.high);
  }
}

DYN2TRT_DEVICE float activate(float x, const Activation& a) {
  float one[1] = {x};
  activate(one, a);
  return one[0];
}

}  // namespace dyn2trt
