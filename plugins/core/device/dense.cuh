// A dense tensor [n, c, h, w] as kernels see it, and flat site ids.
#pragma once

#include "device/platform.cuh"
#include "dyn2trt/core.h"

namespace dyn2trt {

// Strides in elements. channels_last: stride_c is 1; otherwise stride_w is 1.
template <class T>
struct Dense {
  T* data;
  int n, c, h, w;
  int64_t stride_n, stride_c, stride_h, stride_w;

  DYN2TRT_HOST_DEVICE int64_t offset(int image, int row, int column) const {
    return image * stride_n + row * stride_h + column * stride_w;
  }
};

template <class T>
Dense<T> view(const Dyn2trtDense& t) {
  return {static_cast<T*>(t.data), t.n, t.c, t.h, t.w, t.stride_n, t.stride_c, t.stride_h, t.stride_w};
}

struct Site {
  int image, row, column;
};

// The site with flat id (n*h + row)*w + column on a grid [n, h, w]; image is -1 when the id lies outside.
DYN2TRT_DEVICE Site decode_site(int id, int n, int h, int w) {
  if (id < 0 || id >= n * h * w) return {-1, 0, 0};
  const int line = id / w;
  return {line / h, line % h, id - line * w};
}

// Rows in use of an image, whatever `count` holds; null means all.
DYN2TRT_DEVICE int rows_in_use(const int* count, int image, int capacity) {
  return count == nullptr ? capacity : clamp(count[image], 0, capacity);
}

}  // namespace dyn2trt
