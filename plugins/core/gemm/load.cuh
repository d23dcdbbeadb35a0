// Sixteen bytes of channels, whole or in part.
#pragma once

#include "device/ptx/cp_async.cuh"
#include "device/vector.cuh"

namespace dyn2trt::gemm {

// kVectors: addresses are multiples of 16 bytes and channels come in whole vectors. It is a template parameter, decided
// once outside of loops, because a branch around every load would keep the loads from overlapping.

// Channels from `from` on, of which `remaining` exist; zeros follow.
template <bool kVectors, class T>
DYN2TRT_DEVICE Vector<T, kVectorWidth<T>> load_channels(const T* from, int remaining) {
  Vector<T, kVectorWidth<T>> value;
  if constexpr (kVectors) {
    // As four words: elements of 16 bits would be merged with their zeros one by one.
    uint4 words = make_uint4(0, 0, 0, 0);
    if (remaining > 0) words = *reinterpret_cast<const uint4*>(from);
    memcpy(&value, &words, sizeof value);
  } else {
    value = zero_vector<T, kVectorWidth<T>>();
#pragma unroll
    for (int e = 0; e < kVectorWidth<T>; ++e) {
      if (e < remaining) value[e] = from[e];
    }
  }
  return value;
}

template <bool kVectors, class T>
DYN2TRT_DEVICE void store_channels(T* to, const Vector<T, kVectorWidth<T>>& value, int remaining) {
  if constexpr (kVectors) {
    if (remaining > 0) store_vector(to, value);
  } else {
#pragma unroll
    for (int e = 0; e < kVectorWidth<T>; ++e) {
      if (e < remaining) to[e] = value[e];
    }
  }
}

// Channels into shared memory: whole vectors asynchronously (they are there once the next committed group has been
// waited for), others at once.
template <bool kVectors, class T>
DYN2TRT_DEVICE void copy_channels(void* to, const T* from, int remaining) {
  if constexpr (kVectors) {
    ptx::cp_async_16(to, from, remaining > 0);
  } else {
    store_vector(static_cast<T*>(to), load_channels<false>(from, remaining));
  }
}

}  // namespace dyn2trt::gemm
