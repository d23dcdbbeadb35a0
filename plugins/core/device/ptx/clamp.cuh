// max.NaN and min.NaN: a value between bounds, two instructions, and NaN stays NaN unlike with fmaxf and fminf.
//
// PTX ISA, "Floating Point Instructions: max" (sm_80 on; by comparisons below).
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::ptx {

DYN2TRT_DEVICE float clamp_or_nan(float x, float low, float high) {
#if DYN2TRT_ARCH >= 800
  asm("max.NaN.f32 %0, %0, %1;\n\tmin.NaN.f32 %0, %0, %2;" : "+f"(x) : "f"(low), "f"(high));
  return x;
#else
  const float above = x < low ? low : x;
  return above > high ? high : above;
#endif
}

}  // namespace dyn2trt::ptx
