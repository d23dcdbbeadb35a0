// How a dtype is multiplied: on tensor cores, or in fp32 on CUDA cores.
#pragma once

#include "gemm/multiply_ffma.cuh"
#include "gemm/multiply_mma.cuh"
#include "gemm/tiles.h"

namespace dyn2trt::gemm {

template <class T>
struct TensorCores {
  using ContiguousTiles = LargeTiles;
  template <int kWarpRows, int kWarpCols>
  using Warp = MultiplyMma<T, kWarpRows, kWarpCols>;
};

template <class T>
struct CudaCores {
  using ContiguousTiles = SmallTiles;
  template <int kWarpRows, int kWarpCols>
  using Warp = MultiplyFfma<T, kWarpRows, kWarpCols>;
};

#if DYN2TRT_ARCH > 0 && DYN2TRT_ARCH < 800
template <>
struct TensorCores<bfloat16_t> : CudaCores<bfloat16_t> {
  using ContiguousTiles = LargeTiles;  // as host code sees it
};
template <>
struct TensorCores<float> : CudaCores<float> {
  using ContiguousTiles = LargeTiles;
};
#endif

}  // namespace dyn2trt::gemm
