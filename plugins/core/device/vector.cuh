// N consecutive elements moved as one load or store, 16 bytes at most.
#pragma once

#include "device/dtype.cuh"

namespace dyn2trt {

template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  static_assert(sizeof(T) * N <= 16 && (N & (N - 1)) == 0, "one load moves a power of two up to 16 bytes");
  T data[N];

  DYN2TRT_DEVICE T& operator[](int i) { return data[i]; }
  DYN2TRT_DEVICE const T& operator[](int i) const { return data[i]; }
};

// Elements of T in 16 bytes: 4 of fp32, 8 of fp16 and bf16.
template <class T>
constexpr int kVectorWidth = 16 / static_cast<int>(sizeof(T));

// address must be aligned to the vector's size.
template <int N, class T>
DYN2TRT_DEVICE Vector<T, N> load_vector(const T* address) {
  return *reinterpret_cast<const Vector<T, N>*>(address);
}

template <int N, class T>
DYN2TRT_DEVICE void store_vector(T* address, const Vector<T, N>& value) {
  *reinterpret_cast<Vector<T, N>*>(address) = value;
}

template <class T, int N>
DYN2TRT_DEVICE Vector<T, N> zero_vector() {
  Vector<T, N> zero;
#pragma unroll
  for (int i = 0; i < N; ++i) zero[i] = from_float<T>(0.0f);
  return zero;
}

}  // namespace dyn2trt
