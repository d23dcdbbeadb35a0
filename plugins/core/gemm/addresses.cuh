// Where a tile reads and writes: looked up once a tile, then read from shared memory for every K chunk.
#pragma once

#include "device/dense.cuh"
#include "gemm/rows.cuh"

namespace dyn2trt::gemm {

// Indices into a View (see view.h), -1 where there is nothing to read or write.
template <int kRows>
struct Addresses {
  int source[kMaxTaps][kRows];
  int destination[kRows];
  int image[kRows];  // of a planar view
};

// Fills the addresses of the tile that starts with row `first`; all threads take part, and a barrier follows. Sites and
// slots are only believed after a bounds check.
template <int kRows, int kThreads>
DYN2TRT_DEVICE void look_up(const Arguments& p, const RowNumbers& numbers, int first, Addresses<kRows>& to) {
  constexpr int kSharers = kThreads / kRows;  // threads of one row
  const int tile_row = threadIdx.x % kRows;
  const int sharer = threadIdx.x / kRows;
  const int number = first + tile_row;
  const int row = number < numbers.first[p.images] ? row_in_memory(p, numbers, number) : -1;

  Site out = {-1, 0, 0};
  if (row >= 0 && p.sites != nullptr) out = decode_site(p.sites[row], p.n, p.h_out, p.w_out);

  const int taps = p.kernel_h * p.kernel_w;
  for (int tap = sharer; tap < taps; tap += kSharers) {
    int index = -1;
    if (p.source == Source::kSameRow) {
      index = row;
    } else if (out.image >= 0) {
      const int h = out.row * p.stride_h - p.pad_top + tap / p.kernel_w * p.dilation_h;
      const int w = out.column * p.stride_w - p.pad_left + tap % p.kernel_w * p.dilation_w;
      if (h >= 0 && h < p.h_in && w >= 0 && w < p.w_in) {
        if (p.source == Source::kPixels) {
          index = out.image * p.a.image_step + h * p.a.line_step + w;
        } else {
          const int slot = p.slots[(out.image * p.h_in + h) * p.w_in + w];
          if (slot >= 0 && slot < p.n * p.h_in * p.w_in) index = slot;
        }
      }
    }
    to.source[tap][tile_row] = index;
  }
  if (sharer == 0) {
    to.image[tile_row] = out.image;
    const int pixel = out.image * p.out.image_step + out.row * p.out.line_step + out.column;
    to.destination[tile_row] = p.out_rows ? row : out.image < 0 ? -1 : pixel;
  }
}

}  // namespace dyn2trt::gemm
