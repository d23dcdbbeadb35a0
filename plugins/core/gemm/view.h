// Where the rows or pixels of a tensor lie, in two shapes: channels together (rows, channels-last) or in planes (NCHW).
#pragma once

#include <cstdint>

#include "device/platform.cuh"

namespace dyn2trt::gemm {

// Contiguous: element (index, c) is data[index * pitch + c]; index is a row, or the pixel
// n * image_step + h * line_step + w. Planar: element (n, index, c) is data[n * image_stride + c * channel_stride +
// index] with index = h * line_step + w (and image_step 0). Strides and pitches are in elements, not bytes.
struct View {
  void* data;
  bool planar;
  bool vectors;  // channels come in aligned groups of 16 bytes
  int image_step, line_step;
  int pitch;
  int64_t image_stride, channel_stride;

  // Of the first channel of a row or pixel of a contiguous view.
  DYN2TRT_HOST_DEVICE int64_t offset(int index) const { return static_cast<int64_t>(index) * pitch; }
};

}  // namespace dyn2trt::gemm
