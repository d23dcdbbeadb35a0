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

}  // namespace dyn2trt::ptx
