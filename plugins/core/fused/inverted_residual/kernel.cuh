// A gated inverted residual in one launch: y = x + active * project(depthwise(expand(x))).
//
// A block owns a tile of sites and does all of it on chip, a chunk of hidden channels at a time:
//
//   x of the tile ──► decisions ──► lists ──► x of the ring, where needed
//   for each chunk:   expand (listed positions) │ depthwise (listed quads) │ project (listed sites)
//   sums + bias + x ──► the tile's rows of x ──► y
//
// Bars are barriers. Expand's weights are free at the first, project's at the last, so those of the next chunk are on
// their way during the two other phases. Idle tiles end after the lists. Docs: docs/kernels_inverted_residual.md.
#pragma once

#include "device/ptx/pdl.cuh"
#include "fused/inverted_residual/decide.cuh"
#include "fused/inverted_residual/depthwise.cuh"
#include "fused/inverted_residual/lists.cuh"
#include "fused/inverted_residual/write.cuh"

namespace dyn2trt::inverted_residual {

// Math does the products (mma.cuh); Finish brings the sums into y (below).
template <class Tile_, template <class> class MathOf, template <class> class FinishOf>
struct Kernel {
  using Tile = Tile_;
  static constexpr const char* kName = "inverted_residual";
  static constexpr int kThreads = Tile::kThreads;
  static constexpr int kMinBlocks = Tile::kMinBlocks;
  static constexpr int kCluster = Tile::kCluster;
  static constexpr bool kOverlaps = true;
  static constexpr bool kAllShared = true;
  using Math = MathOf<Tile>;
  using Finish = FinishOf<Tile>;
  using Params = inverted_residual::Params<typename Tile::T>;
  using Shared = inverted_residual::Shared<Tile, Math>;

  static __device__ void run(const Params& p, Shared& shared) {
#if DYN2TRT_ARCH == 0 || DYN2TRT_ARCH >= 800
    ptx::launch_dependents();
    ptx::wait_for_prior_kernels();
    const int rank = Finish::rank();
    const Place at = Finish::place(p);
    const bool gate_looks_around = p.gate.kind == DYN2TRT_GATE_SQUEEZE;
    const float given = given_logit<Tile>(p, at);
    load_tile<Tile>(p, at, shared);
    if (gate_looks_around) load_ring<Tile>(p, at, shared);
    ptx::cp_async_commit();
    const bool active = decide<Tile>(p, at, given, rank == 0, shared);
    count<Tile>(p.x.h, p.x.w, at, active, shared.lists);
    if (shared.lists.active_count > 0) {
      list_positions<Tile>(p, at, gate_looks_around, shared);
      load_expand<Tile, Math>(p, rank, 0, shared);
      load_project_bias<Tile>(p, shared);
      ptx::cp_async_commit();
      load_project<Tile, Math>(p, rank, shared);
      ptx::cp_async_commit();
      list_sites<Tile, Math::kListedRows>(shared.lists);
      clear_outside<Tile>(p.x.h, p.x.w, at, shared);
      Finish::with_sums(p, multiply_chunks(p, rank, shared), shared);
    } else {
      Finish::idle(p, shared);
    }
#endif
  }

 private:
  static DYN2TRT_DEVICE typename Math::Sums multiply_chunks(const Params& p, int rank, Shared& shared) {
    typename Math::Sums sums(shared.lists.active_count);
    // Copies on their way: x and the first expand weights, then project's.
    ptx::cp_async_wait<1>();
    Math::fence();
    __syncthreads();  // x, lists and expand's weights are there
#pragma unroll 1
    for (int step = 0; step < p.chunks; ++step) {
      const int next = (step + 1) * Tile::kCluster + rank;
      Math::expand(p.activation, shared);
      __syncthreads();  // hidden values are there; expand's weights are free
      if (step + 1 < p.chunks) load_expand<Tile, Math>(p, next, step + 1, shared);
      ptx::cp_async_commit();
      depthwise<Tile>(p.activation, step, shared);
      ptx::cp_async_wait<1>();
      Math::fence();
      __syncthreads();  // filtered values and project's weights are there; hidden values are free
      sums.add_chunk(shared);
      ptx::cp_async_wait<0>();
      Math::fence();
      __syncthreads();  // expand's next weights are there; project's and filtered values are free
      if (step + 1 < p.chunks) load_project<Tile, Math>(p, next, shared);
      ptx::cp_async_commit();
    }
    return sums;
  }
};

// A block that has a tile to itself.
template <class Tile>
struct FinishAlone {
  using Params = inverted_residual::Params<typename Tile::T>;

  static DYN2TRT_DEVICE int rank() { return 0; }
  static DYN2TRT_DEVICE Place place(const Params& p) { return Place::of<Tile>(p, ptx::opaque(blockIdx.x)); }

  template <class Sums, class Shared>
  static DYN2TRT_DEVICE void with_sums(const Params& p, const Sums& sums, Shared& shared) {
    add_residual(sums, shared);
    __syncthreads();  // y is there for all
    write(p, shared);
  }

  // Without a barrier: a thread writes the very vectors that it has copied.
  template <class Shared>
  static DYN2TRT_DEVICE void idle(const Params& p, Shared& shared) {
    ptx::cp_async_wait<0>();
    write(p, shared);
  }

 private:
  template <class Shared>
  static DYN2TRT_DEVICE void write(const Params& p, Shared& shared) {
    write_tile<Tile>(p, place(p), 0, shared, [](int, int, const auto& value) { return value; });
  }
};

}  // namespace dyn2trt::inverted_residual
