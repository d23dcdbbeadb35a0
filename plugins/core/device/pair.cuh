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

// a * b + c, rounded once.
template <class T>
DYN2TRT_DEVICE uint32_t fma_pair(uint32_t a, uint32_t b, uint32_t c) {
#if DYN2TRT_ON_HOST
  const float2 x = unpack2<T>(a), y = unpack2<T>(b), z = unpack2<T>(c);
  // Products of 16-bit elements are exact in double, and so are nearly all sums with a third.
  return pack2<T>(static_cast<float>(double{x.x} * y.x + z.x), static_cast<float>(double{x.y} * y.y + z.y));
#else
  return bits_of(__hfma2(as_pair<T>(a), as_pair<T>(b), as_pair<T>(c)));
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
  return bits_of(__hmin2_nan(__hmax2_nan(as_pair<T>(x), as_pair<T>(low)), as_pair<T>(high)));
#endif
}

// Of all pairs at once: one branch, which all threads take alike.
template <class T, int N>
DYN2TRT_DEVICE void activate_pairs(uint32_t (&x)[N], const PairActivation& a) {
  if (a.swish) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float2 value = unpack2<T>(x[i]);
      x[i] = pack2<T>(activate(value.x, DYN2TRT_HARD_SWISH), activate(value.y, DYN2TRT_HARD_SWISH));
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) x[i] = clamp_pair<T>(x[i], a.low, a.high);
  }
}

}  // namespace dyn2trt
