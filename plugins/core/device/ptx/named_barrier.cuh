// bar.sync with a number: some warps of a block meet, while the others go on. __syncthreads is number 0.
//
// PTX ISA, "Parallel Synchronization and Communication Instructions: barrier".
#pragma once

#include "device/platform.cuh"

#if DYN2TRT_ON_HOST
#include "emulator/mbarrier.h"
#endif

namespace dyn2trt::ptx {

// `threads` threads, whole warps, meet at barrier `number`, 1 to 15.
DYN2TRT_DEVICE void named_barrier(int number, int threads DYN2TRT_AND_PLACE) {
#if DYN2TRT_ON_HOST
  emulator::named_barrier(number, threads, {"named_barrier", file, line});
#else
  asm volatile("bar.sync %0, %1;\n" ::"r"(number), "r"(threads) : "memory");
#endif
}

}  // namespace dyn2trt::ptx
