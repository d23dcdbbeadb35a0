// CUDA C++ as the kernels of plugins/core use it, for a plain C++17 compiler.
//
// device/platform.cuh includes this in place of cuda_runtime.h. What is here does on a CPU what its namesake does on
// the device; what is missing, the kernels do not use yet.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

// Of the thread that runs: the scheduler sets them at every switch.
extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

#include "emulator/block.h"
#include "emulator/float16.h"
#include "emulator/warp.h"

// Barriers. The caller's place is part of the call: threads that meet must stand at the same one.
inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  dyn2trt::emulator::block_barrier({"__syncthreads", file, line});
}
inline void __syncwarp(unsigned mask = 0xffffffffu, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  dyn2trt::emulator::warp_barrier(mask, {"__syncwarp", file, line});
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Warp votes and shuffles.
inline unsigned __ballot_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
  return dyn2trt::emulator::warp_ballot(mask, predicate, {"__ballot_sync", file, line});
}
inline int __any_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return dyn2trt::emulator::warp_ballot(mask, predicate, {"__any_sync", file, line}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return dyn2trt::emulator::warp_ballot(mask, predicate, {"__all_sync", file, line}) == mask;
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, const char* file = __builtin_FILE(),
              int line = __builtin_LINE()) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int from = (lane & ~(width - 1)) | (source & (width - 1));
  return dyn2trt::emulator::warp_shuffle(mask, value, from, {"__shfl_sync", file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int from = lane - static_cast<int>(distance);
  return dyn2trt::emulator::warp_shuffle(mask, value, from < (lane & ~(width - 1)) ? lane : from,
                                         {"__shfl_up_sync", file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int from = lane + static_cast<int>(distance);
  return dyn2trt::emulator::warp_shuffle(mask, value, from > (lane | (width - 1)) ? lane : from,
                                         {"__shfl_down_sync", file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int from = lane ^ lane_mask;
  return dyn2trt::emulator::warp_shuffle(mask, value, from > (lane | (width - 1)) ? lane : from,
                                         {"__shfl_xor_sync", file, line});
}

// Bits.
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= ((x >> i) & 1u) << (31 - i);
  return reversed;
}
inline float __uint_as_float(unsigned x) { return dyn2trt::emulator::as_float(x); }
inline unsigned __float_as_uint(float x) { return dyn2trt::emulator::as_bits(x); }
inline float __int_as_float(int x) { return dyn2trt::emulator::as_float(static_cast<unsigned>(x)); }
inline int __float_as_int(float x) { return static_cast<int>(dyn2trt::emulator::as_bits(x)); }

// Memory. Blocks run one after another and threads switch only at collectives, so plain operations are atomic.
template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
T atomicAdd(T* address, T value) {
  const T old = *address;
  *address = old + value;
  return old;
}
template <class T>
T atomicMax(T* address, T value) {
  const T old = *address;
  *address = old < value ? value : old;
  return old;
}
template <class T>
T atomicExch(T* address, T value) {
  const T old = *address;
  *address = value;
  return old;
}

using std::max;
using std::min;
