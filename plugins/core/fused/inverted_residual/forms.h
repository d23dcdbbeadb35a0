// The kernels that are compiled: forms of a tile, each for some widths of x.
//
// A tensor's channels are padded with zeros to the next width of its form. Widths are compile-time numbers because the
// sums of the last product lie in registers, and because a product over a K known to the compiler has no loop around
// its loads. What is here was worth it on an H200 (2026-11-28): a 16x16 tile by mma.sync, two stages of weights and
// chunks of 32 were not.
#pragma once

#include <utility>

#include "fused/inverted_residual/cluster.cuh"
#include "fused/inverted_residual/kernel.cuh"
#include "fused/inverted_residual/mma.cuh"
#include "fused/inverted_residual/wgmma.cuh"

namespace dyn2trt::inverted_residual {

template <int... kWidths>
using Widths = std::integer_sequence<int, kWidths...>;

// Small maps, few active sites, devices with 100 KB of shared memory.
struct Tile8x8 {
  using widths = Widths<32, 64, 96, 160>;
  template <class T, int kWidth>
  using KernelOf = Kernel<Tile<T, kWidth, 8, 8, kWidth <= 96 ? 64 : 32, 8, kWidth <= 96 ? 3 : 2>, Mma, FinishAlone>;
};

// Half the traffic of weights.
struct Tile8x16 {
  using widths = Widths<32, 64, 96>;
  template <class T, int kWidth>
  using KernelOf = Kernel<Tile<T, kWidth, 8, 16, 64, 8, 2>, Mma, FinishAlone>;
};

// Wide tensors.
struct Tile4x8 {
  using widths = Widths<256>;
  template <class T, int kWidth>
  using KernelOf = Kernel<Tile<T, kWidth, 4, 8, 32, 8, 2>, Mma, FinishAlone>;
};

// A cluster of blocks a tile, for batches of one. sm_90a: *_sm90a.cu.
struct Tile8x8Cluster {
  using widths = Widths<64, 96, 160>;
  template <class T, int kWidth>
  using KernelOf = Kernel<Tile<T, kWidth, 8, 8, kWidth == 96 ? 96 : 64, 8, kWidth <= 96 ? 2 : 1, kWidth <= 96 ? 6 : 8>,
                          Mma, FinishInCluster>;
};

// The same for large batches of small maps, where the weights of wide tensors are what takes the time. sm_90a.
struct Tile8x8ClusterOf3 {
  using widths = Widths<160>;
  template <class T, int kWidth>
  using KernelOf = Kernel<Tile<T, kWidth, 8, 8, 64, 8, 1, 3>, Mma, FinishInCluster>;
};

// Large batches with most sites active. sm_90a.
struct Tile16x16Wgmma {
  using widths = Widths<32, 64, 96>;
  template <class T, int kWidth>
  using KernelOf = Kernel<Tile<T, kWidth, 16, 16, 64, 16, 1>, Wgmma, FinishAlone>;
};

// Launches the kernel of the narrowest width that holds x's channels. Defined in launch.cuh, instantiated in form_*.cu.
// offset: [n], the pooled part of a SQUEEZE or LAYER gate.
template <class Form, class T>
int launch_form(const Dyn2trtGatedBlock& block, const float* offset, void* stream);

}  // namespace dyn2trt::inverted_residual
