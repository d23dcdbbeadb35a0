// Arithmetic on two 16-bit elements that share a register (pack2): half the instructions of fp32, each result rounded.
#pragma once

#include "device/activation.cuh"
#include "device/dtype.cuh"

namespace dyn2trt {

// An activation as the elements' bits in both halves of a register. Host code works them out.
struct PairActivation {
  uint32_t low, high;
  bool swish;  // hard_swish, in fp32: low and high are not looked at
};

template <class T>
PairActivation pair_activation(int activation) {
  constexpr bool kBfloat16 = DtypeOf<T>::value == DYN2TRT_BFLOAT16;
  constexpr uint32_t kInfinity = kBfloat16 ? 0x7f80 : 0x7c00, kSix = kBfloat16 ? 0x40c0 : 0x4600, kSign = 0x8000;
  const bool clamps = activation == DYN2TRT_RELU || activation == DYN2TRT_RELU6;
  const uint32_t low = clamps ? 0 : kSign | kInfinity, high = activation == DYN2TRT_RELU6 ? kSix : kInfinity;
  return {low << 16 | low, high << 16 | high, activation == DYN2TRT_HARD_SWISH};
}

#if !DYN2TRT_ON_HOST
// The register as CUDA's type of two elements.
template <class T>
DYN2TRT_DEVICE auto as_pair(uint32_t bits) {
  std::conditional_t<DtypeOf<T>::value == DYN2TRT_BFLOAT16, __nv_bfloat162, __half2> pair;
  memcpy(&pair, &bits, sizeof pair);
  return pair;
}
template <class Pair>
DYN2TRT_DEVICE uint32_t as_bits(Pair pair) {
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}
#endif

// a * b + c, rounded once.
template <class T>
DYN2TRT_DEVICE uint32_t fma_pair(uint32_t a, uint32_t b, uint32_t c) {
#if DYN2TRT_ON_HOST
  const float2 x = unpack2<T>(a), y = unpack2<T>(b), z = unpack2<T>(c);
  // Products of 16-bit elements are exact in double, and so are nearly all sums with a third.
  return pack2<T>(static_cast<float>(double{x.x} * y.x + z.x), static_cast<float>(double{x.y} * y.y + z.y));
#else
  return as_bits(__hfma2(as_pair<T>(a), as_pair<T>(b), as_pair<T>(c)));
#endif
}

// NaN stays NaN.
template <class T>
DYN2TRT_DEVICE uint32_t clamp_pair(uint32_t x, uint32_t low, uint32_t high) {
#if DYN2TRT_ON_HOST
  const float2 value = unpack2<T>(x), least = unpack2<T>(low), most = unpack2<T>(high);
  const auto clamped = [](float v, float a, float b) { return v < a ? a : (v > b ? b : v); };
  return pack2<T>(clamped(value.x, least.x, most.x), clamped(value.y, least.y, most.y));
#else
  return as_bits(__hmin2_nan(__hmax2_nan(as_pair<T>(x), as_pair<T>(low)), as_pair<T>(high)));
#endif
}

// The activation of two floats, rounded to elements.
template <class T>
DYN2TRT_DEVICE uint32_t activate_pair(float x, float y, const PairActivation& a) {
  if (a.swish) return pack2<T>(activate(x, DYN2TRT_HARD_SWISH), activate(y, DYN2TRT_HARD_SWISH));
  return clamp_pair<T>(pack2<T>(x, y), a.low, a.high);
}

// The same of two elements.
template <class T>
DYN2TRT_DEVICE uint32_t activate_pair(uint32_t x, const PairActivation& a) {
  if (!a.swish) return clamp_pair<T>(x, a.low, a.high);
  const float2 value = unpack2<T>(x);
  return pack2<T>(activate(value.x, DYN2TRT_HARD_SWISH), activate(value.y, DYN2TRT_HARD_SWISH));
}

}  // namespace dyn2trt
