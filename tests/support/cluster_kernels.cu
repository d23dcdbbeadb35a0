// Tiny kernels for the emulator's tests of clusters and of launches that overlap.
#include "device/ptx/cluster.cuh"
#include "device/ptx/pdl.cuh"
#include "launch/launch.cuh"

namespace dyn2trt {

struct Buffers {
  const void* in;
  void* out;
  int variant;
};

// A cluster of 4 blocks turns the order of its 4 x 128 x 4 floats of blocks round: each writes what its opposite read.
// Variant 1 reads past the cluster.
struct Opposite {
  static constexpr const char* kName = "opposite";
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = 1;
  static constexpr int kCluster = 4;
  using Params = Buffers;
  struct Shared {
    alignas(16) float values[kThreads][4];
  };
  static __device__ void run(const Params& p, Shared& shared) {
    const int t = threadIdx.x, first = (blockIdx.x * kThreads + t) * 4;
    for (int i = 0; i < 4; ++i) shared.values[t][i] = static_cast<const float*>(p.in)[first + i];
    ptx::cluster_barrier();
    const float4 value = ptx::load_of_peer(shared.values[t], kCluster - 1 - ptx::cluster_rank() + p.variant);
    *reinterpret_cast<float4*>(static_cast<float*>(p.out) + first) = value;
    ptx::cluster_barrier();  // a block that ends takes its shared memory with it
  }
};

// Copies, perhaps beside the launch ahead.
struct Overlap {
  static constexpr const char* kName = "overlap";
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = 1;
  static constexpr bool kOverlaps = true;
  using Params = Buffers;
  struct Shared {};
  static __device__ void run(const Params& p, Shared&) {
    ptx::launch_dependents();
    ptx::wait_for_prior_kernels();
    const int i = blockIdx.x * kThreads + threadIdx.x;
    static_cast<float*>(p.out)[i] = static_cast<const float*>(p.in)[i];
  }
};

}  // namespace dyn2trt

extern "C" DYN2TRT_API int test_opposite(const void* in, void* out, int variant, int blocks) {
  return dyn2trt::launch<dyn2trt::Opposite>({static_cast<unsigned>(blocks)}, {in, out, variant}, nullptr);
}

extern "C" DYN2TRT_API int test_overlap(const void* in, void* out, int variant, int blocks) {
  return dyn2trt::launch<dyn2trt::Overlap>({static_cast<unsigned>(blocks)}, {in, out, variant}, nullptr);
}
