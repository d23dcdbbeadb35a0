// Makes the tensor maps that bulk copies take (device/ptx/tma.cuh), on the host, without a wait or an allocation.
#pragma once

#include "device/ptx/tma.cuh"
#include "launch/status.h"

namespace dyn2trt {

// A tensor of 16-bit elements and the box that a copy moves, innermost dimension first. The box's first side is 64: a
// row of 128 bytes.
struct TensorBox {
  const void* data;    // a multiple of 16
  Dyn2trtDtype dtype;  // fp16 or bf16
  int rank;            // 2 to 4
  uint64_t size[4];    // elements
  uint64_t stride[4];  // bytes, multiples of 16; the first is not looked at
  uint32_t box[4];     // elements, at most 256
};

#if DYN2TRT_ON_HOST

inline int make_tensor_map(const TensorBox& of, ptx::TensorMap& map) {
  map = {};
  map.data = of.data;
  map.rank = of.rank;
  map.swizzled = true;
  for (int d = 0; d < of.rank; ++d) {
    map.size[d] = of.size[d];
    map.stride[d] = d == 0 ? 2 : of.stride[d];
    map.box[d] = of.box[d];
  }
  const char* fault = emulator::tensor_map_fault(map);
  return fault == nullptr ? DYN2TRT_OK : fail(DYN2TRT_INVALID_ARGUMENT, "no tensor map: %s", fault);
}

#else

namespace tensor_map {

// The driver's own function, by way of the runtime: no link to libcuda.
inline decltype(&cuTensorMapEncodeTiled) encoder() {
  static const auto function = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found);
#else
    cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &entry, cudaEnableDefault, &found);
#endif
    cudaGetLastError();  // its absence is reported where a map is made
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found == cudaDriverEntryPointSuccess ? entry : nullptr);
  }();
  return function;
}

}  // namespace tensor_map

inline int make_tensor_map(const TensorBox& of, ptx::TensorMap& map) {
  const auto encode = tensor_map::encoder();
  if (encode == nullptr) {
    return fail(DYN2TRT_LAUNCH_FAILED,
                "the driver has no cuTensorMapEncodeTiled: kernels for sm_90 need one of CUDA 12");
  }
  const cuuint32_t every[4] = {1, 1, 1, 1};
  const CUresult result =
      encode(&map, of.dtype == DYN2TRT_BFLOAT16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
             static_cast<cuuint32_t>(of.rank), const_cast<void*>(of.data), of.size, of.stride + 1, of.box, every,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result == CUDA_SUCCESS) return DYN2TRT_OK;
  return fail(DYN2TRT_LAUNCH_FAILED, "no tensor map: cuTensorMapEncodeTiled returned %d", static_cast<int>(result));
}

#endif

}  // namespace dyn2trt
