// mma.sync: a warp multiplies a 16xK by a Kx8 matrix into fp32 accumulators.
//
// PTX ISA, "Warp level matrix multiply-accumulate: mma". With g = lane/4 and t = lane%4:
//   16-bit, K = 16: a[0] is A[g][2t..2t+1], a[1] A[g+8][2t..], a[2] A[g][2t+8..], a[3] A[g+8][2t+8..];
//                   b[0] is B[2t..2t+1][g], b[1] B[2t+8..][g]
//   tf32, K = 8:    a[0] is A[g][t], a[1] A[g+8][t], a[2] A[g][t+4], a[3] A[g+8][t+4]; b[0] is B[t][g], b[1] B[t+4][g]
//   d[0..1] is D[g][2t..2t+1], d[2..3] D[g+8][2t..]
//
// sm_75 has fp16 with K = 8 only: there, fp16 runs as two halves, and bf16 and tf32 on CUDA cores by shuffles (right,
// not quick).
#pragma once

#include "device/dtype.cuh"
#include "device/platform.cuh"

namespace dyn2trt::ptx {

// An fp32 value rounded to tf32 (10 bits of mantissa), as mma_m16n8k8_tf32 takes it.
DYN2TRT_DEVICE uint32_t to_tf32(float x) {
#if DYN2TRT_ON_HOST
  return emulator::to_tf32(x);
#elif DYN2TRT_ARCH >= 800
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(x));
  return bits;
#else
  return (__float_as_uint(x) + 0x1000u) & 0xffffe000u;
#endif
}

namespace emulated {

// D += A*B by shuffles. `element(register, half)` turns a register into one of its elements as a float.
template <int kPerRegister, class Element>
DYN2TRT_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Element element) {
  const int lane = threadIdx.x % kWarp;
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {  // the first and second half of K
    for (int j = 0; j < 4; ++j) {         // the lane of a quad that holds this part of K
      const uint32_t low_row = __shfl_sync(kFullWarp, a[2 * half], 4 * g + j);
      const uint32_t high_row = __shfl_sync(kFullWarp, a[2 * half + 1], 4 * g + j);
      const uint32_t even_column = __shfl_sync(kFullWarp, b[half], 4 * (2 * t) + j);
      const uint32_t odd_column = __shfl_sync(kFullWarp, b[half], 4 * (2 * t + 1) + j);
#pragma unroll
      for (int e = 0; e < kPerRegister; ++e) {
        d[0] += element(low_row, e) * element(even_column, e);
        d[1] += element(low_row, e) * element(odd_column, e);
        d[2] += element(high_row, e) * element(even_column, e);
        d[3] += element(high_row, e) * element(odd_column, e);
      }
    }
  }
}

template <class T>
DYN2TRT_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma<2>(d, a, b, [](uint32_t bits, int e) {
    const float2 pair = unpack2<T>(bits);
    return e == 0 ? pair.x : pair.y;
  });
}

DYN2TRT_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma<1>(d, a, b, [](uint32_t bits, int) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
  });
}

}  // namespace emulated

// D += A*B, A and B of half_t or bfloat16_t, K = 16.
template <class T>
DYN2TRT_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  static_assert(sizeof(T) == 2, "half_t or bfloat16_t");
#if DYN2TRT_ON_HOST
  emulator::mma_m16n8k16(d, a, b, DtypeOf<T>::value == DYN2TRT_BFLOAT16);
#elif DYN2TRT_ARCH >= 800
  if constexpr (DtypeOf<T>::value == DYN2TRT_BFLOAT16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#else
  if constexpr (DtypeOf<T>::value == DYN2TRT_BFLOAT16) {
    emulated::mma_m16n8k16<T>(d, a, b);
  } else {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      asm volatile(
          "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};\n"
          : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
          : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
    }
  }
#endif
}

// D += A*B, A and B of tf32 (see to_tf32), K = 8.
DYN2TRT_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if DYN2TRT_ON_HOST
  emulator::mma_m16n8k8_tf32(d, a, b);
#elif DYN2TRT_ARCH >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulated::mma_m16n8k8_tf32(d, a, b);
#endif
}

}  // namespace dyn2trt::ptx
