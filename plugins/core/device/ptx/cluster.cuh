// Clusters of blocks that see each other's shared memory (sm_90 on).
//
// PTX ISA, "barrier.cluster", "mapa" and the state space .shared::cluster. A kernel whose struct has kCluster is
// launched so (launch/launch.cuh). The emulator runs the blocks of a cluster together, and poisons a block's shared
// memory when its threads have ended.
#pragma once

#include "device/platform.cuh"
#include "device/ptx/cp_async.cuh"

namespace dyn2trt::ptx {

// The place of this block in its cluster.
DYN2TRT_DEVICE int cluster_rank() {
#if DYN2TRT_ON_HOST
  return emulator::cluster_rank();
#elif DYN2TRT_ARCH >= 900
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;\n" : "=r"(rank));
  return static_cast<int>(rank);
#else
  return 0;
#endif
}

// Returns when all threads of all blocks of the cluster have come; what they wrote to shared memory is then seen by
// all.
DYN2TRT_DEVICE void cluster_barrier(DYN2TRT_PLACE_PARAMETERS) {
#if DYN2TRT_ON_HOST
  emulator::cluster_barrier({"barrier.cluster", file, line});
#elif DYN2TRT_ARCH >= 900
  __syncwarp();  // .aligned: a warp comes as one
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;\n" ::
          : "memory");
#endif
}

// The four floats that block `rank` of the cluster keeps where this one keeps those at `shared`, a multiple of 16.
DYN2TRT_DEVICE float4 load_of_peer(const float* shared, int rank) {
#if DYN2TRT_ON_HOST
  return *static_cast<const float4*>(emulator::cluster_peer(shared, rank));
#else
  float4 value = {0.0f, 0.0f, 0.0f, 0.0f};
#if DYN2TRT_ARCH >= 900
  uint32_t address;
  asm("mapa.shared::cluster.u32 %0, %1, %2;\n" : "=r"(address) : "r"(shared_address(shared)), "r"(rank));
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];\n"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
               : "r"(address)
               : "memory");
#endif
  return value;
#endif
}

}  // namespace dyn2trt::ptx
