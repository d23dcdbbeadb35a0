// An entry of a list of sites: a flat id and what of its 3x3 neighbourhood lies outside of the map that is read.
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::rows {

constexpr int kBorderShift = 28;
constexpr uint32_t kTop = 1, kBottom = 2, kLeft = 4, kRight = 8;
constexpr uint32_t kSiteMask = (1u << kBorderShift) - 1;

// Segment s has the places from s * capacity on, of which counts[s] are in use. So a list's order is that of the sites,
// whatever order the blocks run in that make it.
struct List {
  uint32_t* entries;
  int* counts;
};

// The map that the 3x3 convolution over a list reads, and its stride.
struct Reach {
  int h, w, stride;

  DYN2TRT_DEVICE uint32_t border(int row, int column) const {
    const int y = row * stride, x = column * stride;
    return (y == 0 ? kTop : 0) | (y + 1 >= h ? kBottom : 0) | (x == 0 ? kLeft : 0) | (x + 1 >= w ? kRight : 0);
  }
};

DYN2TRT_DEVICE uint32_t make_entry(int site, uint32_t border) {
  return static_cast<uint32_t>(site) | border << kBorderShift;
}

}  // namespace dyn2trt::rows
