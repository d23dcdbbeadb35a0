// Gather: a dense tensor at the sites of a set -> rows.
//
// Grid: x = n * ceil(h*w / kRows): a block moves kRows rows of one image, all channels.
#pragma once

#include "device/dense.cuh"
#include "device/vector.cuh"
#include "kernels/row_tile.cuh"

namespace dyn2trt {

template <class T>
struct GatherParams {
  Dense<const T> x;
  const int* sites;
  const int* count;
  T* rows;
  int blocks_per_image;
};

// Channels-last in vectors of kWidth: stride_c is 1, and the channels and all strides are multiples of kWidth.
template <class T, int kWidth>
struct GatherChannelsLast {
  static constexpr const char* kName = "gather_channels_last";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  static constexpr int kRows = 32;
  using Params = GatherParams<T>;
  struct Shared {};

  static __device__ void run(const Params& p, Shared&) {
    const RowTile tile = row_tile<kRows>(p.blocks_per_image, p.count, p.x.h * p.x.w);
    for_each_vector<kThreads, kWidth>(tile.here, p.x.c, [&](int row, int channel) {
      const Site site = tile.site(p.sites, row, p.x);
      Vector<T, kWidth> value = zero_vector<T, kWidth>();
      if (site.image >= 0) {
        value = load_vector<kWidth>(p.x.data + p.x.offset(site.image, site.row, site.column) + channel);
      }
      store_vector(p.rows + (tile.first + row) * p.x.c + channel, value);
    });
  }
};

// Any strides. Reads run along the sites of a tile, writes along channels; shared memory turns one into the other.
template <class T>
struct GatherPlanar {
  static constexpr const char* kName = "gather_planar";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  static constexpr int kRows = kWarp;
  static constexpr int kChannels = kWarp;
  using Params = GatherParams<T>;
  struct Shared {
    T tile[kChannels][kRows + 1];
  };

  static __device__ void run(const Params& p, Shared& shared) {
    const RowTile tile = row_tile<kRows>(p.blocks_per_image, p.count, p.x.h * p.x.w);
    if (tile.here == 0) return;
    const int lane = threadIdx.x % kWarp;
    const int warp = threadIdx.x / kWarp;
    const Site site = tile.site(p.sites, lane, p.x);
    const T* pixel = p.x.data + (site.image >= 0 ? p.x.offset(site.image, site.row, site.column) : 0);
    for (int base = 0; base < p.x.c; base += kChannels) {
      for (int c = warp; c < kChannels; c += kThreads / kWarp) {
        const bool there = site.image >= 0 && base + c < p.x.c;
        shared.tile[c][lane] = there ? pixel[(base + c) * p.x.stride_c] : from_float<T>(0.0f);
      }
      __syncthreads();
      for (int row = warp; row < tile.here; row += kThreads / kWarp) {
        if (base + lane < p.x.c) p.rows[(tile.first + row) * p.x.c + base + lane] = shared.tile[lane][row];
      }
      __syncthreads();
    }
  }
};

}  // namespace dyn2trt
