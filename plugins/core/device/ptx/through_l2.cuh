// Loads and stores past the L1, for what blocks hand to each other within a launch.
//
// PTX ISA, "Data Movement and Conversion Instructions: Cache Operators": .cg caches in L2 alone.
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::ptx {

DYN2TRT_DEVICE float4 load_through_l2(const float* address) {
#if DYN2TRT_ON_HOST
  return *reinterpret_cast<const float4*>(address);
#else
  float4 v;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];\n"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(address)
               : "memory");
  return v;
#endif
}

DYN2TRT_DEVICE void store_through_l2(float* address, float4 v) {
#if DYN2TRT_ON_HOST
  *reinterpret_cast<float4*>(address) = v;
#else
  asm volatile("st.global.cg.v4.f32 [%0], {%1, %2, %3, %4};\n" ::"l"(address), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w)
               : "memory");
#endif
}

}  // namespace dyn2trt::ptx
