// Where __global__, threadIdx, __syncthreads, __shfl_sync and friends come from: CUDA, or the CPU emulator.
//
// Kernels include this (through the other headers of device/) and nothing of CUDA's own.
#pragma once

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#define DYN2TRT_ON_HOST 0
#else
#include "emulator/cuda_on_cpu.h"
#define DYN2TRT_ON_HOST 1
#endif

#include <cstddef>
#include <cstdint>

// The device architecture this pass compiles for (750, 800, ...), 0 in host code and in the emulator.
#if defined(__CUDA_ARCH__)
#define DYN2TRT_ARCH __CUDA_ARCH__
#else
#define DYN2TRT_ARCH 0
#endif

// Whether the library has the kernels of *_sm90a.cu: CMake says so where it builds for sm_90. The emulator has them.
#ifndef DYN2TRT_HAS_SM90A
#define DYN2TRT_HAS_SM90A DYN2TRT_ON_HOST
#endif

// Parameters by which the emulator tells apart where points of synchronisation stand; none on a device.
// DYN2TRT_PLACE hands them on.
#if DYN2TRT_ON_HOST
#define DYN2TRT_PLACE_PARAMETERS const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define DYN2TRT_AND_PLACE , DYN2TRT_PLACE_PARAMETERS  // after other parameters
#define DYN2TRT_PLACE file, line
#else
#define DYN2TRT_PLACE_PARAMETERS
#define DYN2TRT_AND_PLACE
#define DYN2TRT_PLACE
#endif

// Inlined device helper: also callable from host code where that helps dispatch.
#define DYN2TRT_DEVICE __device__ __forceinline__
#define DYN2TRT_HOST_DEVICE __host__ __device__ __forceinline__

namespace dyn2trt {

constexpr int kWarp = 32;
constexpr unsigned kFullWarp = 0xffffffffu;

template <class Integer>
DYN2TRT_HOST_DEVICE constexpr Integer ceil_div(Integer a, Integer b) {
  return (a + b - 1) / b;
}

template <class Integer>
DYN2TRT_HOST_DEVICE constexpr Integer round_up(Integer a, Integer b) {
  return ceil_div(a, b) * b;
}

DYN2TRT_DEVICE int clamp(int value, int low, int high) { return value < low ? low : (value > high ? high : value); }

}  // namespace dyn2trt
