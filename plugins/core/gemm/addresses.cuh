// Where a tile reads and writes: looked up once a tile, then read from shared memory for every K chunk.
#pragma once

#include "gemm/rows.cuh"

namespace dyn2trt::gemm {

// Indices into a View (see view.h), -1 where there is nothing to read or write.
template <int kRows>
struct Addresses {
  int source[kMaxTaps][kRows];
  int destination[kRows];
  int image[kRows];  // of a planar view
};

struct Position {
  int n, h, w;
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

  int site = -1;
  if (row >= 0 && p.sites != nullptr) {
    site = p.sites[row];
    if (site < 0 || site >= p.n * p.h_out * p.w_out) site = -1;
  }
  Position out = {0, 0, 0};
  if (site >= 0) {
    const int line = site / p.w_out;
    out = {line / p.h_out, line % p.h_out, site % p.w_out};
  }

  const int taps = p.kernel_h * p.kernel_w;
  for (int tap = sharer; tap < taps; tap += kSharers) {
    int index = -1;
    if (p.source == Source::kSameRow) {
      index = row;
    } else if (site >= 0) {
      const int h = out.h * p.stride_h - p.pad_top + tap / p.kernel_w * p.dilation_h;
      const int w = out.w * p.stride_w - p.pad_left + tap % p.kernel_w * p.dilation_w;
      if (h >= 0 && h < p.h_in && w >= 0 && w < p.w_in) {
        if (p.source == Source::kPixels) {
          index = out.n * p.a.image_step + h * p.a.line_step + w;
        } else {
          const int slot = p.slots[(out.n * p.h_in + h) * p.w_in + w];
          if (slot >= 0 && slot < p.n * p.h_in * p.w_in) index = slot;
        }
      }
    }
    to.source[tap][tile_row] = index;
  }
  if (sharer == 0) {
    to.image[tile_row] = out.n;
    to.destination[tile_row] = p.out_rows ? row
                               : site < 0 ? -1
                                          : out.n * p.out.image_step + out.h * p.out.line_step + out.w;
  }
}

}  // namespace dyn2trt::gemm
