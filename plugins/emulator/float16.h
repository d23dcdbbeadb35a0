// fp16 and bf16 storage types for the emulator, with no need of CUDA's headers.
#pragma once

#include <cstdint>
#include <cstring>

namespace dyn2trt::emulator {

struct half {
  uint16_t bits;
};
struct bfloat16 {
  uint16_t bits;
};

inline float as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t as_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float to_float(bfloat16 x) { return as_float(static_cast<uint32_t>(x.bits) << 16); }

// Nearest even; NaN stays NaN.
inline bfloat16 to_bfloat16(float x) {
  const uint32_t bits = as_bits(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

inline float to_float(half x) {
  const uint32_t sign = (x.bits & 0x8000u) << 16;
  const uint32_t exponent = (x.bits >> 10) & 0x1fu;
  const uint32_t mantissa = x.bits & 0x3ffu;
  if (exponent == 0x1fu) return as_float(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return as_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  // Subnormal: mantissa * 2^-24, exact in fp32.
  const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
  return sign != 0 ? -magnitude : magnitude;
}

// Nearest even; overflow becomes infinity, NaN stays NaN.
inline half to_half(float x) {
  const uint32_t bits = as_bits(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // 65520 and beyond
  if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 0.5 makes the float's own rounding land on multiples of 2^-24.
    const uint32_t rounded = as_bits(as_float(magnitude) + 0.5f) - 0x3f000000u;
    return {static_cast<uint16_t>(sign | rounded)};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u;
  return {static_cast<uint16_t>(sign | (rounded >> 13))};
}

// Nearest, ties away from zero, as cvt.rna.tf32.f32 does.
inline uint32_t to_tf32(float x) {
  const uint32_t bits = as_bits(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
  return (bits + 0x1000u) & 0xffffe000u;
}

}  // namespace dyn2trt::emulator
