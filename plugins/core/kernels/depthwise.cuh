// A depthwise convolution at the sites of a set: memory-bound, a thread computes a vector of channels of one row.
//
// Grid: x = n * ceil(h_out*w_out / kRows).
#pragma once

#include "device/activation.cuh"
#include "device/vector.cuh"
#include "kernels/conv_source.cuh"
#include "kernels/row_tile.cuh"

namespace dyn2trt {

// Weight [kh, kw, c]. c_in and the pointers' alignment are multiples of kWidth; with kWidth > 1 channels lie side by
// side (rows, or a channels-last tensor).
template <class T, int kWidth>
struct Depthwise {
  static constexpr const char* kName = "depthwise";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  static constexpr int kRows = 32;
  using Params = ConvParams<T>;
  struct Shared {};

  static __device__ void run(const Params& p, Shared&) {
    const RowTile tile = row_tile<kRows>(p.blocks_per_image, p.count, p.h_out * p.w_out);
    const int64_t channel_stride = p.source == Source::kDense ? p.x.stride_c : 1;
    for_each_vector<kThreads, kWidth>(tile.here, p.c_in, [&](int row_of_tile, int channel) {
      const int64_t row = tile.first + row_of_tile;
      const Site site = output_site(p, row);
      float sum[kWidth];
      const Vector<T, kWidth> bias = load_vector<kWidth>(p.bias + channel);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sum[e] = to_float(bias[e]);
      const T* weight = p.weight + channel;
      for (int kh = 0; kh < p.geometry.kernel_h; ++kh) {
        for (int kw = 0; kw < p.geometry.kernel_w; ++kw, weight += p.c_in) {
          const T* from = tap_source(p, row, site, kh, kw);
          if (from == nullptr) continue;
          const Vector<T, kWidth> x = load_vector<kWidth>(from + channel * channel_stride);
          const Vector<T, kWidth> w = load_vector<kWidth>(weight);
#pragma unroll
          for (int e = 0; e < kWidth; ++e) sum[e] += to_float(x[e]) * to_float(w[e]);
        }
      }
      Vector<T, kWidth> out;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) out[e] = from_float<T>(activate(sum[e], p.activation));
      store_vector(p.rows_out + row * p.c_out + channel, out);
    });
  }
};

}  // namespace dyn2trt
