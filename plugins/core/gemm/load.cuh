// Sixteen bytes of channels, whole or in part.
#pragma once

#include "device/ptx/cp_async.cuh"
#include "device/vector.cuh"

namespace dyn2trt::gemm {

// Channels from `from` on, of which `remaining` exist (zeros follow). `vectors`: `from` is aligned to 16 bytes and
// `remaining` is no part of a vector.
template <class T>
DYN2TRT_DEVICE Vector<T, kVectorWidth<T>> load_channels(const T* from, int remaining, bool vectors) {
  Vector<T, kVectorWidth<T>> value = zero_vector<T, kVectorWidth<T>>();
  if (vectors) {
    if (remaining > 0) value = load_vector<kVectorWidth<T>>(from);
  } else {
#pragma unroll
    for (int e = 0; e < kVectorWidth<T>; ++e) {
      if (e < remaining) value[e] = from[e];
    }
  }
  return value;
}

// The same into shared memory: asynchronous for whole vectors (after the next committed group has been waited for), at
// once otherwise. `anywhere` is any valid address.
template <class T>
DYN2TRT_DEVICE void copy_channels(void* to, const T* from, const T* anywhere, int remaining, bool vectors) {
  if (vectors) {
    ptx::cp_async_16(to, remaining > 0 ? from : anywhere, remaining > 0);
  } else {
    store_vector(static_cast<T*>(to), load_channels(from, remaining, false));
  }
}

}  // namespace dyn2trt::gemm
