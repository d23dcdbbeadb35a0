// A tile shared by the blocks of a cluster (sm_90 on): each computes every kCluster-th chunk of the hidden channels and
// keeps its sums in shared memory, then each adds up all blocks' sums at every kCluster-th site, in the order of the
// blocks.
//
// With a batch of one there are fewer tiles than multiprocessors: the chunks, not the tiles, are what is left to
// spread.
#pragma once

#include "device/ptx/cluster.cuh"
#include "fused/inverted_residual/write.cuh"

namespace dyn2trt::inverted_residual {

template <class Tile>
struct FinishInCluster {
  using T = typename Tile::T;
  using Params = inverted_residual::Params<T>;

  static DYN2TRT_DEVICE int rank() { return ptx::cluster_rank(); }
  static DYN2TRT_DEVICE Place place(const Params& p) {
    return Place::of<Tile>(p, ptx::opaque(blockIdx.x) / Tile::kCluster);
  }

  template <class Sums, class Shared>
  static DYN2TRT_DEVICE void with_sums(const Params& p, const Sums& sums, Shared& shared) {
    const int sites = shared.lists.active_count;
    sums.for_each([&](int row, int channel, float2 sum) {
      if (row < sites) *reinterpret_cast<float2*>(&shared.partial[row][channel]) = sum;
    });
    ptx::cluster_barrier();  // all blocks' sums are there
    write_tile<Tile>(p, place(p), rank(), shared, [&](int site, int channel, const Vector<T, 8>& x) {
      const int row = shared.lists.site_row[site];
      return row < 0 ? x : add_up(x, &shared.partial[row][channel], shared.project_bias + channel);
    });
    ptx::cluster_barrier();  // a block that ends takes its sums with it
  }

  // No block has active sites: all have come to the same decisions.
  template <class Shared>
  static DYN2TRT_DEVICE void idle(const Params& p, Shared& shared) {
    ptx::cp_async_wait<0>();
    __syncthreads();  // x is there for all
    write_tile<Tile>(p, place(p), rank(), shared, [](int, int, const auto& value) { return value; });
  }

 private:
  // x + sums + bias of eight channels.
  static DYN2TRT_DEVICE Vector<T, 8> add_up(const Vector<T, 8>& x, const float* partial, const T* bias) {
    Vector<T, 8> y;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float4 sums[Tile::kCluster];  // loaded one after the other, waited for once
#pragma unroll
      for (int rank = 0; rank < Tile::kCluster; ++rank) sums[rank] = ptx::load_of_peer(partial + 4 * half, rank);
      float4 sum = sums[0];
#pragma unroll
      for (int rank = 1; rank < Tile::kCluster; ++rank) {
        sum.x += sums[rank].x, sum.y += sums[rank].y, sum.z += sums[rank].z, sum.w += sums[rank].w;
      }
      const float parts[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int channel = 4 * half + i;
        y[channel] = from_float<T>(parts[i] + to_float(bias[channel]) + to_float(x[channel]));
      }
    }
    return y;
  }
};

}  // namespace dyn2trt::inverted_residual
