// Step one of every host function: arguments that contradict each other end in a message, not in a launch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dyn2trt/core.h"
#include "launch/status.h"

namespace dyn2trt {

// Each returns DYN2TRT_OK or a failed status whose message names `what`.
int check_dtype(int32_t dtype);
int check_activation(int32_t activation);
int check_geometry(const Dyn2trtGeometry& geometry);
int check_pointer(const char* what, const void* pointer, std::size_t alignment);
int check_grid(const char* what, int32_t n, int32_t h, int32_t w);
int check_channels(const char* what, int32_t channels);
// Sizes, strides, layout; the pointer too unless the tensor is empty or `sizes_only`.
int check_dense(const char* what, const Dyn2trtDense& tensor, int32_t dtype, bool sizes_only = false);
int check_same_shape(const char* what, const Dyn2trtDense& tensor, const char* other_what, const Dyn2trtDense& other);

inline std::size_t bytes_of(int32_t dtype) { return dtype == DYN2TRT_FLOAT32 ? 4 : 2; }
inline int64_t positions(int32_t n, int32_t h, int32_t w) { return int64_t{n} * h * w; }

// 1x1, stride 1, no padding: maps every site onto itself.
bool is_pointwise(const Dyn2trtGeometry& geometry);
constexpr Dyn2trtGeometry kPointwise = {1, 1, 1, 1, 0, 0, 0, 0, 1, 1};
constexpr Dyn2trtGeometry same3x3(int32_t stride_h = 1, int32_t stride_w = 1) {
  return {3, 3, stride_h, stride_w, 1, 1, 1, 1, 1, 1};
}

inline bool aligned(const void* pointer, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

// Channels in vectors of `width` elements: channels-last, aligned, everything a multiple of the width.
bool has_vectors(const Dyn2trtDense& tensor, int32_t dtype, int width);

}  // namespace dyn2trt
