// What the compiler must not look through. Nothing happens at run time.
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::ptx {

// The same value, of which nothing can be computed ahead of this line: keeps addresses that are cheap to compute from
// being held in registers across a loop.
DYN2TRT_DEVICE int opaque(int value) {
#if !DYN2TRT_ON_HOST
  asm volatile("" : "+r"(value));
#endif
  return value;
}

// The same for sums that an instruction in flight writes: keeps copies of them from being made or moved across this
// line.
template <int N>
DYN2TRT_DEVICE void hold([[maybe_unused]] float (&values)[N]) {
#if !DYN2TRT_ON_HOST
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(values[i])::"memory");
#endif
}

// Brings a warp together after a branch, for an instruction that takes it as one. Orders nothing.
DYN2TRT_DEVICE void reconverge() {
#if !DYN2TRT_ON_HOST
  __syncwarp();
#endif
}

}  // namespace dyn2trt::ptx
