// Bulk copies of boxes of a tensor into shared memory, by one thread, zeros outside of the tensor (sm_90).
//
// PTX ISA, "Data Movement and Conversion Instructions: cp.async.bulk.tensor"; launch/tensor_map.h makes the maps. A box
// lies row after row of 128 bytes, in each of which 16-byte part p stands at p ^ (row % 8) (the 128-byte swizzle),
// where a descriptor of wgmma expects it. Its destination is a multiple of 1024.
#pragma once

#include "device/platform.cuh"
#include "device/ptx/mbarrier.cuh"

#if DYN2TRT_ON_HOST
#include "emulator/tma.h"
#else
#include <cuda.h>
#endif

namespace dyn2trt::ptx {

#if DYN2TRT_ON_HOST
using TensorMap = emulator::TensorMap;
#else
using TensorMap = CUtensorMap;
#endif

// Maps are kernel parameters (__grid_constant__) or lie in constant or global memory.
DYN2TRT_DEVICE void prefetch_map(const TensorMap* map) {
#if !DYN2TRT_ON_HOST
  asm volatile("prefetch.tensormap [%0];\n" ::"l"(map) : "memory");
#else
  (void)map;
#endif
}

// Starts the copy of the box at (c0, c1, ...), innermost dimension first. `barrier` learns of its bytes.
DYN2TRT_DEVICE void bulk_copy(void* shared, const TensorMap* map, Mbarrier* barrier, int c0, int c1) {
#if DYN2TRT_ON_HOST
  const int32_t at[] = {c0, c1};
  emulator::bulk_copy(shared, *map, at, barrier);
#else
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], "
      "[%2];\n" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(c0), "r"(c1)
      : "memory");
#endif
}

DYN2TRT_DEVICE void bulk_copy(void* shared, const TensorMap* map, Mbarrier* barrier, int c0, int c1, int c2) {
#if DYN2TRT_ON_HOST
  const int32_t at[] = {c0, c1, c2};
  emulator::bulk_copy(shared, *map, at, barrier);
#else
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];\n" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
#endif
}

DYN2TRT_DEVICE void bulk_copy(void* shared, const TensorMap* map, Mbarrier* barrier, int c0, int c1, int c2, int c3) {
#if DYN2TRT_ON_HOST
  const int32_t at[] = {c0, c1, c2, c3};
  emulator::bulk_copy(shared, *map, at, barrier);
#else
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];\n" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
#endif
}

}  // namespace dyn2trt::ptx
