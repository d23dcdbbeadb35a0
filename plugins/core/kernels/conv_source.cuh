// What a convolution at the sites of a set reads, and where: shared by the generic convolutions.
#pragma once

#include "device/dense.cuh"

namespace dyn2trt {

enum class Source : int {
  kSameRow,  // the input row of the same number: a 1x1 that keeps its set
  kSlots,    // the row in the slot of an input position
  kDense     // the pixel of a dense tensor
};

template <class T>
struct ConvParams {
  Source source;
  const T* rows;     // kSameRow, kSlots
  const int* slots;  // kSlots: [n, h_in, w_in]
  Dense<const T> x;  // kDense
  int n, h_in, w_in;
  Dyn2trtGeometry geometry;
  const int* sites;  // output set; null for kSameRow
  const int* count;  // null: all rows
  int h_out, w_out;
  int c_in, c_out;
  int activation;
  const T* weight;
  const T* bias;
  T* rows_out;
  int blocks_per_image;
};

// The output site of a row, outside every image for kSameRow.
template <class T>
DYN2TRT_DEVICE Site output_site(const ConvParams<T>& p, int64_t row) {
  return p.source == Source::kSameRow ? Site{-1, 0, 0} : decode_site(p.sites[row], p.n, p.h_out, p.w_out);
}

// First channel of what output row `row` at `site` reads through tap (i, j); null for a zero. Channels are
// channel_stride apart.
template <class T>
DYN2TRT_DEVICE const T* tap_source(const ConvParams<T>& p, int64_t row, const Site& site, int i, int j) {
  if (p.source == Source::kSameRow) return p.rows + row * p.c_in;
  const Dyn2trtGeometry& g = p.geometry;
  const int h = site.row * g.stride_h - g.pad_top + i * g.dilation_h;
  const int w = site.column * g.stride_w - g.pad_left + j * g.dilation_w;
  if (site.image < 0 || h < 0 || h >= p.h_in || w < 0 || w >= p.w_in) return nullptr;
  if (p.source == Source::kDense) return p.x.data + p.x.offset(site.image, h, w);
  const int slot = p.slots[(site.image * p.h_in + h) * p.w_in + w];
  if (slot < 0 || slot >= p.n * p.h_in * p.w_in) return nullptr;
  return p.rows + static_cast<int64_t>(slot) * p.c_in;
}

}  // namespace dyn2trt
