// The element types of tensors and their conversions to and from float, in which all arithmetic is done.
#pragma once

#include <type_traits>

#include "device/platform.cuh"
#include "dyn2trt/core.h"

#if DYN2TRT_ON_HOST
#include "emulator/float16.h"
#endif

namespace dyn2trt {

#if DYN2TRT_ON_HOST
using half_t = emulator::half;
using bfloat16_t = emulator::bfloat16;
#else
using half_t = __half;
using bfloat16_t = __nv_bfloat16;
#endif

template <class T>
struct DtypeOf;
template <>
struct DtypeOf<float> {
  static constexpr Dyn2trtDtype value = DYN2TRT_FLOAT32;
};
template <>
struct DtypeOf<half_t> {
  static constexpr Dyn2trtDtype value = DYN2TRT_FLOAT16;
};
template <>
struct DtypeOf<bfloat16_t> {
  static constexpr Dyn2trtDtype value = DYN2TRT_BFLOAT16;
};

DYN2TRT_DEVICE float to_float(float x) { return x; }

#if DYN2TRT_ON_HOST
using emulator::to_float;  // the same functions that argument-dependent lookup finds
#else
DYN2TRT_DEVICE float to_float(half_t x) { return __half2float(x); }
DYN2TRT_DEVICE float to_float(bfloat16_t x) { return __bfloat162float(x); }
#endif

// Rounds to nearest even; overflow becomes infinity.
template <class T>
DYN2TRT_DEVICE T from_float(float x);

template <>
DYN2TRT_DEVICE float from_float<float>(float x) {
  return x;
}
#if DYN2TRT_ON_HOST
template <>
DYN2TRT_DEVICE half_t from_float<half_t>(float x) {
  return emulator::to_half(x);
}
template <>
DYN2TRT_DEVICE bfloat16_t from_float<bfloat16_t>(float x) {
  return emulator::to_bfloat16(x);
}
#else
template <>
DYN2TRT_DEVICE half_t from_float<half_t>(float x) {
  return __float2half_rn(x);
}
template <>
DYN2TRT_DEVICE bfloat16_t from_float<bfloat16_t>(float x) {
  return __float2bfloat16_rn(x);
}
#endif

#if !DYN2TRT_ON_HOST
// A register as CUDA's type of two 16-bit elements, and back.
template <class T>
DYN2TRT_DEVICE auto as_pair(uint32_t bits) {
  std::conditional_t<DtypeOf<T>::value == DYN2TRT_BFLOAT16, __nv_bfloat162, __half2> pair;
  memcpy(&pair, &bits, sizeof pair);
  return pair;
}
template <class Pair>
DYN2TRT_DEVICE uint32_t bits_of(const Pair& pair) {
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}
#endif

// Two 16-bit elements in one register, the first in the low half: how mma operands are packed.
template <class T>
DYN2TRT_DEVICE uint32_t pack2(float low, float high) {
  static_assert(sizeof(T) == 2, "two elements of 16 bits fill a register");
#if DYN2TRT_ON_HOST
  const T pair[2] = {from_float<T>(low), from_float<T>(high)};
  uint32_t bits;
  memcpy(&bits, pair, sizeof bits);
  return bits;
#else  // one instruction, where two conversions would take three
  if constexpr (DtypeOf<T>::value == DYN2TRT_BFLOAT16) {
    return bits_of(__floats2bfloat162_rn(low, high));
  } else {
    return bits_of(__floats2half2_rn(low, high));
  }
#endif
}

template <class T>
DYN2TRT_DEVICE float2 unpack2(uint32_t bits) {
  static_assert(sizeof(T) == 2, "two elements of 16 bits fill a register");
#if DYN2TRT_ON_HOST
  T pair[2];
  memcpy(pair, &bits, sizeof bits);
  return make_float2(to_float(pair[0]), to_float(pair[1]));
#else
  if constexpr (DtypeOf<T>::value == DYN2TRT_BFLOAT16) {
    return __bfloat1622float2(as_pair<T>(bits));
  } else {
    return __half22float2(as_pair<T>(bits));
  }
#endif
}

}  // namespace dyn2trt
