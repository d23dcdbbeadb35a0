// The rows in use of a site set, numbered through: images have segments of static capacity, of which count[n] rows are
// in use, and a tile takes the next rows in use across images, so that small images do not leave tiles empty.
#pragma once

#include "device/dense.cuh"
#include "device/scan.cuh"
#include "gemm/arguments.h"

namespace dyn2trt::gemm {

// first[i] is the number of the first row of image first_image + i, first[images] the number of rows.
struct RowNumbers {
  int first[kMaxImages + 1];
};

// All threads take part; numbers are valid after the caller's next barrier.
DYN2TRT_DEVICE void number_rows(const Arguments& p, RowNumbers& numbers) {
  if (threadIdx.x >= kWarp) return;
  const int lane = threadIdx.x;
  const int capacity = p.h_out * p.w_out;
  int before = 0;
  for (int image = 0; image < p.images; image += kWarp) {
    const bool exists = image + lane < p.images;
    const int rows = exists ? rows_in_use(p.count, p.first_image + image + lane, capacity) : 0;
    const int through = before + warp_inclusive_scan(rows);
    if (exists) numbers.first[image + lane + 1] = through;
    before = __shfl_sync(kFullWarp, through, kWarp - 1);
  }
  if (lane == 0) numbers.first[0] = 0;
}

// The row in memory of row `number`, which is below first[images].
DYN2TRT_DEVICE int row_in_memory(const Arguments& p, const RowNumbers& numbers, int number) {
  int low = 0, high = p.images;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (numbers.first[middle] <= number) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return (p.first_image + low) * (p.h_out * p.w_out) + number - numbers.first[low];
}

}  // namespace dyn2trt::gemm
