// The rows that a block of a kernel goes over: some of one image's, and their channels.
//
// Grid: x = n * blocks_per_image.
#pragma once

#include "device/dense.cuh"

namespace dyn2trt {

struct RowTile {
  int here;  // rows in use of the tile, 0 behind the image's last
  int image;
  int start;      // the tile's first row, counted in its image
  int64_t first;  // and in the batch

  // Of row first + i, on the grid of `dense`; outside every image behind the rows in use.
  template <class T>
  DYN2TRT_DEVICE Site site(const int* sites, int i, const Dense<T>& dense) const {
    return i < here ? decode_site(sites[first + i], dense.n, dense.h, dense.w) : Site{-1, 0, 0};
  }
};

// The block's tile of kRows rows; each image has `capacity` of them.
template <int kRows>
DYN2TRT_DEVICE RowTile row_tile(int blocks_per_image, const int* count, int capacity) {
  const int image = blockIdx.x / blocks_per_image;
  const int start = blockIdx.x % blocks_per_image * kRows;
  // Never negative: times the channels it would leave 32 bits.
  return {clamp(rows_in_use(count, image, capacity) - start, 0, kRows), image, start,
          static_cast<int64_t>(image) * capacity + start};
}

// Calls use(row, channel) for every kWidth-th channel of a number of rows. Neighbouring threads take neighbours.
template <int kThreads, int kWidth, class Use>
DYN2TRT_DEVICE void for_each_vector(int rows, int channels, Use use) {
  const int vectors = channels / kWidth;
  for (int i = threadIdx.x; i < rows * vectors; i += kThreads) use(i / vectors, i % vectors * kWidth);
}

}  // namespace dyn2trt
