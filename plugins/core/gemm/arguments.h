// What a gathered GEMM computes: Y[rows, cols] = out_activation(activation(A W^T + bias) + residual).
#pragma once

#include <cstdint>

#include "device/activation.cuh"
#include "gemm/view.h"

namespace dyn2trt::gemm {

constexpr int kMaxTaps = 9;      // positions of the largest kernel (3x3)
constexpr int kMaxImages = 256;  // of one launch; the host splits larger batches

// How a row of A is found for an output row: as the row of the same number, as the row in the slot of an input
// position, or as the pixel there.
enum class Source : int { kSameRow, kSlots, kPixels };

// A block's K axis runs over taps, then over the channels of a tap, as weights [cols, taps, channels] lie in memory.
// The parameters of every kernel of this folder; passed by value.
struct Arguments {
  // Input: a row tensor or a dense tensor on the grid [n, h_in, w_in].
  View a;
  Source source;
  const int* slots;  // [n, h_in, w_in], for Source::kSlots
  int channels;
  int h_in, w_in;

  // Geometry.
  int kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;

  // Output set on the grid [n, h_out, w_out].
  const int* sites;  // null for Source::kSameRow into rows
  const int* count;  // null: every row up to the capacity
  int n, h_out, w_out;
  int first_image, images;  // the part of the batch that this launch works on

  // Depthwise convolution between input and product: [taps, channels] and [channels]; null without it.
  const void *depthwise_weight, *depthwise_bias;
  Activation depthwise_activation;

  // Product.
  const void *weight, *bias;  // [cols, taps, channels] (with depthwise: [cols, channels]) and [cols]
  bool weight_vectors;
  int cols;
  Activation activation;

  // Output: rows of the output set (residual null), or pixels of a dense tensor.
  View out, residual;
  bool out_rows;
  Activation out_activation;

  // Where blocks that share a tile leave their sums (schedule.cuh), null without; and how many blocks may do so.
  float* partial;
  int* arrivals;
  int sharers;
};

}  // namespace dyn2trt::gemm
