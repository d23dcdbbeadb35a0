// Scatter: y = activation(base), with base + row or the row alone at the sites of a set.
#pragma once

#include "device/activation.cuh"
#include "device/dense.cuh"
#include "device/vector.cuh"
#include "kernels/row_tile.cuh"

namespace dyn2trt {

template <class T>
struct ScatterParams {
  Dense<const T> base;
  Dense<T> y;
  const T* rows;     // null: there are none, y = activation(base)
  const int* sites;  // of ScatterSites
  const int* slots;  // of the others
  const int* count;  // of ScatterSites
  int add;           // base + row; else the row alone
  int activation;
  int blocks_per_image;
};

template <class T>
DYN2TRT_DEVICE T scattered(const ScatterParams<T>& p, float base, float row) {
  return from_float<T>(activate(p.add != 0 ? base + row : row, p.activation));
}

// The row at a site, or -1: `slots` are believed only when they lie inside the rows.
template <class T>
DYN2TRT_DEVICE int slot_at(const ScatterParams<T>& p, int64_t site) {
  if (p.rows == nullptr) return -1;
  const int slot = p.slots[site];
  return slot >= 0 && slot < p.y.n * p.y.h * p.y.w ? slot : -1;
}

// Every position of y, channels-last in vectors of kWidth: stride_c is 1, and the channels and all strides of base
// and y are multiples of kWidth. Grid: x = n * ceil(h*w / kPositions).
template <class T, int kWidth>
struct ScatterChannelsLast {
  static constexpr const char* kName = "scatter_channels_last";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  static constexpr int kPositions = 32;
  using Params = ScatterParams<T>;
  struct Shared {};

  static __device__ void run(const Params& p, Shared&) {
    const RowTile tile = row_tile<kPositions>(p.blocks_per_image, nullptr, p.y.h * p.y.w);
    for_each_vector<kThreads, kWidth>(tile.here, p.y.c, [&](int position, int channel) {
      const int h = (tile.start + position) / p.y.w, w = (tile.start + position) % p.y.w;
      const int slot = slot_at(p, tile.first + position);
      Vector<T, kWidth> value = load_vector<kWidth>(p.base.data + p.base.offset(tile.image, h, w) + channel);
      if (slot >= 0) {
        const Vector<T, kWidth> row = load_vector<kWidth>(p.rows + static_cast<int64_t>(slot) * p.y.c + channel);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) value[e] = scattered(p, to_float(value[e]), to_float(row[e]));
      } else {
#pragma unroll
        for (int e = 0; e < kWidth; ++e) value[e] = from_float<T>(activate(to_float(value[e]), p.activation));
      }
      store_vector(p.y.data + p.y.offset(tile.image, h, w) + channel, value);
    });
  }
};

// Every position of y, any strides. Rows are read along channels, base and y along positions; shared memory turns one
// into the other. Grid: x = n * ceil(h*w / kPositions).
template <class T>
struct ScatterPlanar {
  static constexpr const char* kName = "scatter_planar";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  static constexpr int kPositions = kWarp;
  static constexpr int kChannels = kWarp;
  using Params = ScatterParams<T>;
  struct Shared {
    T tile[kPositions][kChannels + 1];
  };

  static __device__ void run(const Params& p, Shared& shared) {
    const RowTile tile = row_tile<kPositions>(p.blocks_per_image, nullptr, p.y.h * p.y.w);
    const int lane = threadIdx.x % kWarp;
    const int warp = threadIdx.x / kWarp;
    const int slot = lane < tile.here ? slot_at(p, tile.first + lane) : -1;
    const unsigned active = __ballot_sync(kFullWarp, slot >= 0);
    const int h = (tile.start + lane) / p.y.w, w = (tile.start + lane) % p.y.w;
    for (int base = 0; base < p.y.c; base += kChannels) {
      if (active != 0) {  // the same in all warps
        for (int i = warp; i < kPositions; i += kThreads / kWarp) {
          const int row = __shfl_sync(kFullWarp, slot, i);
          const bool there = row >= 0 && base + lane < p.y.c;
          if (there) shared.tile[i][lane] = p.rows[static_cast<int64_t>(row) * p.y.c + base + lane];
        }
        __syncthreads();
      }
      for (int c = warp; c < kChannels; c += kThreads / kWarp) {
        if (lane >= tile.here || base + c >= p.y.c) continue;
        const float old = to_float(p.base.data[p.base.offset(tile.image, h, w) + (base + c) * p.base.stride_c]);
        T& to = p.y.data[p.y.offset(tile.image, h, w) + (base + c) * p.y.stride_c];
        to = slot >= 0 ? scattered(p, old, to_float(shared.tile[lane][c])) : from_float<T>(activate(old, p.activation));
      }
      if (active != 0) __syncthreads();
    }
  }
};

// The sites alone, for a caller who has no slots; the rest of y is in place already. Any strides.
// Grid: x = n * ceil(h*w / kRows).
template <class T>
struct ScatterSites {
  static constexpr const char* kName = "scatter_sites";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  static constexpr int kRows = kWarp;
  static constexpr int kChannels = kWarp;
  using Params = ScatterParams<T>;
  struct Shared {
    T tile[kRows][kChannels + 1];
  };

  static __device__ void run(const Params& p, Shared& shared) {
    const RowTile tile = row_tile<kRows>(p.blocks_per_image, p.count, p.y.h * p.y.w);
    if (tile.here == 0) return;
    const int lane = threadIdx.x % kWarp;
    const int warp = threadIdx.x / kWarp;
    const Site site = tile.site(p.sites, lane, p.y);
    for (int base = 0; base < p.y.c; base += kChannels) {
      for (int row = warp; row < tile.here; row += kThreads / kWarp) {
        if (base + lane < p.y.c) shared.tile[row][lane] = p.rows[(tile.first + row) * p.y.c + base + lane];
      }
      __syncthreads();
      for (int c = warp; c < kChannels; c += kThreads / kWarp) {
        if (site.image < 0 || base + c >= p.y.c) continue;
        const int64_t from = p.base.offset(site.image, site.row, site.column) + (base + c) * p.base.stride_c;
        const int64_t to = p.y.offset(site.image, site.row, site.column) + (base + c) * p.y.stride_c;
        p.y.data[to] = scattered(p, p.add != 0 ? to_float(p.base.data[from]) : 0.0f, to_float(shared.tile[lane][c]));
      }
      __syncthreads();
    }
  }
};

}  // namespace dyn2trt
