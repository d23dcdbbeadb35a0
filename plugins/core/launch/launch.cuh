// The one place with launch syntax: runs a kernel struct (see plugins/README.md) on a grid.
#pragma once

#include <type_traits>

#include "device/platform.cuh"
#include "launch/status.h"

namespace dyn2trt {

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

struct DeviceLimits {
  int multiprocessors;
  int shared_bytes;  // that a block may ask for
  int architecture;  // compute capability as 80, 89, 120; the emulator says 90
};

template <class Kernel>
constexpr std::size_t kSharedBytes = std::is_empty_v<typename Kernel::Shared> ? 0 : sizeof(typename Kernel::Shared);

// Optional members of a kernel struct.
//   kCluster   blocks along x that run together and see each other's shared memory (sm_90 on); grid.x is a multiple
//   kOverlaps  may begin before the launch ahead of it has ended (device/ptx/pdl.cuh)
//   kFollows   overlaps a launch of the same op, which has waited itself and writes to the workspace alone: before its
//              own wait it may use all global memory but the workspace
template <class Kernel, class = void>
constexpr int kClusterOf = 1;
template <class Kernel>
constexpr int kClusterOf<Kernel, std::void_t<decltype(Kernel::kCluster)>> = Kernel::kCluster;

//   kAllShared the launches of a chain that shares L1 and shared memory out alike do not drain the multiprocessor
//   between
//              them: asks for as much shared memory as there is
template <class Kernel, class = void>
constexpr bool kAllSharedOf = false;
template <class Kernel>
constexpr bool kAllSharedOf<Kernel, std::void_t<decltype(Kernel::kAllShared)>> = Kernel::kAllShared;

template <class Kernel, class = void>
constexpr bool kOverlapsOf = false;
template <class Kernel>
constexpr bool kOverlapsOf<Kernel, std::void_t<decltype(Kernel::kOverlaps)>> = Kernel::kOverlaps;

template <class Kernel, class = void>
constexpr bool kFollowsOf = false;
template <class Kernel>
constexpr bool kFollowsOf<Kernel, std::void_t<decltype(Kernel::kFollows)>> = Kernel::kFollows;

#if DYN2TRT_ON_HOST

template <class Kernel>
int launch(Grid grid, const typename Kernel::Params& params, void* /*stream*/) {
  static_assert(std::is_trivially_copyable_v<typename Kernel::Params>, "parameters are passed by value");
  const emulator::KernelEntry entry = [](const void* p, void* shared) {
    Kernel::run(*static_cast<const typename Kernel::Params*>(p), *static_cast<typename Kernel::Shared*>(shared));
  };
  const char* error =
      emulator::run_grid(Kernel::kName, entry, dim3{grid.x, grid.y, grid.z}, Kernel::kThreads, kSharedBytes<Kernel>,
                         &params, {kClusterOf<Kernel>, kOverlapsOf<Kernel>, kFollowsOf<Kernel>});
  return error == nullptr ? DYN2TRT_OK : fail(DYN2TRT_LAUNCH_FAILED, "%s", error);
}

inline int device_limits(DeviceLimits& limits) {
  limits = {emulator::device().multiprocessors, emulator::device().shared_bytes, 90};
  return DYN2TRT_OK;
}

#else

// Of the current device. Asked for once: a thread mostly stays on its device, and launches wait for this.
inline int device_limits(DeviceLimits& limits) {
  thread_local int known = -1;
  thread_local DeviceLimits of_known;
  int device = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess && device != known) {
    known = -1;
    error = cudaDeviceGetAttribute(&of_known.multiprocessors, cudaDevAttrMultiProcessorCount, device);
    if (error == cudaSuccess) {
      error = cudaDeviceGetAttribute(&of_known.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    }
    int major = 0, minor = 0;
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    of_known.architecture = 10 * major + minor;
    if (error == cudaSuccess) known = device;
  }
  limits = of_known;
  if (error == cudaSuccess) return DYN2TRT_OK;
  cudaGetLastError();
  return fail(DYN2TRT_LAUNCH_FAILED, "no device to launch on: %s", cudaGetErrorString(error));
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kMinBlocks)
    kernel_entry(const __grid_constant__ typename Kernel::Params params) {
  extern __shared__ __align__(1024) unsigned char shared_bytes[];
  Kernel::run(params, *reinterpret_cast<typename Kernel::Shared*>(shared_bytes));
}

template <class Kernel>
int launch(Grid grid, const typename Kernel::Params& params, void* stream) {
  static_assert(std::is_trivially_copyable_v<typename Kernel::Params>, "parameters are passed by value");
  constexpr std::size_t bytes = kSharedBytes<Kernel>;
  cudaError_t error = cudaSuccess;
  if constexpr (bytes > 48 * 1024) {  // beyond this a kernel has to ask; neither a wait nor a stream operation
    error = cudaFuncSetAttribute(kernel_entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(bytes));
  }
  if (kAllSharedOf<Kernel> && error == cudaSuccess) {
    error = cudaFuncSetAttribute(kernel_entry<Kernel>, cudaFuncAttributePreferredSharedMemoryCarveout,
                                 cudaSharedmemCarveoutMaxShared);
  }
  if (error == cudaSuccess) {
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(grid.x, grid.y, grid.z);
    config.blockDim = dim3(Kernel::kThreads);
    config.dynamicSmemBytes = bytes;
    config.stream = static_cast<cudaStream_t>(stream);
    cudaLaunchAttribute attributes[2] = {};
    config.attrs = attributes;
    if constexpr (kClusterOf<Kernel> > 1) {
      cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
      cluster.id = cudaLaunchAttributeClusterDimension;
      cluster.val.clusterDim.x = kClusterOf<Kernel>;
      cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
    }
    if constexpr (kOverlapsOf<Kernel>) {
      DeviceLimits device = {};
      DYN2TRT_TRY(device_limits(device));
      if (device.architecture >= 90 && CUDART_VERSION >= 12030) {  // the first that capture such launches in a graph
        cudaLaunchAttribute& overlap = attributes[config.numAttrs++];
        overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        overlap.val.programmaticStreamSerializationAllowed = 1;
      }
    }
    error = cudaLaunchKernelEx(&config, kernel_entry<Kernel>, params);
  }
  if (error == cudaSuccess) return DYN2TRT_OK;
  cudaGetLastError();  // the failure is reported here: leave none behind for others to find
  return fail(DYN2TRT_LAUNCH_FAILED, "%s did not launch on a grid of %u x %u x %u: %s", Kernel::kName, grid.x, grid.y,
              grid.z, cudaGetErrorString(error));
}

#endif

}  // namespace dyn2trt
