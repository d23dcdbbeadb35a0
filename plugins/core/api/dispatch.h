// From a dtype as a value to a dtype as a type.
#pragma once

#include "device/dtype.cuh"

namespace dyn2trt {

// Calls run with a null pointer whose type names the dtype, already checked.
template <class Run>
int with_dtype(int32_t dtype, Run run) {
  switch (dtype) {
    case DYN2TRT_FLOAT16:
      return run(static_cast<half_t*>(nullptr));
    case DYN2TRT_BFLOAT16:
      return run(static_cast<bfloat16_t*>(nullptr));
    default:
      return run(static_cast<float*>(nullptr));
  }
}

}  // namespace dyn2trt
