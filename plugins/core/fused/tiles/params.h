// What a launch of a tile kernel is given.
#pragma once

#include "device/activation.cuh"
#include "device/gate.cuh"

namespace dyn2trt::tiles {

// Channels-last pixels [n, h, w, c]. Strides in elements, those within an image small enough for int.
template <class T>
struct Pixels {
  T* data;
  int64_t image_stride;
  int line_stride, pixel_stride;

  DYN2TRT_HOST_DEVICE T* image(int n) const { return data + n * image_stride; }
  DYN2TRT_HOST_DEVICE int offset(int row, int column) const { return row * line_stride + column * pixel_stride; }
};

// A 3x3 convolution at the sites that the mask asks for.
template <class T>
struct ConvParams {
  GateView gate;         // of the second convolution: of kind LOGITS
  bool logits_are_late;  // the launch before wrote them
  Pixels<const T> source;
  int source_h, source_w, channels;
  const T *weight, *bias;  // [cols, 9, channels], [cols]
  Pixels<T> target;
  Pixels<const T> identity;  // second convolution
  int h, w, cols;            // of the output grid
  int tiles_y, tiles_x;      // an image's tiles
  Activation activation;
};

}  // namespace dyn2trt::tiles
