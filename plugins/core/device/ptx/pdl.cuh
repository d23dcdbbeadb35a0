// Programmatic dependent launch: a kernel starts while the one before it on the stream still runs (sm_90 on; without
// the launch attribute, or below, both do nothing).
//
// PTX ISA, "Parallel Synchronization and Communication Instructions: griddepcontrol".
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::ptx {

// Waits until the kernels before have ended and their writes are there. Before it, read nothing that they write, and
// write nothing that they read.
DYN2TRT_DEVICE void wait_for_prior_kernels() {
#if !DYN2TRT_ON_HOST && DYN2TRT_ARCH >= 900
  asm volatile("griddepcontrol.wait;\n" ::: "memory");
#endif
}

// Lets the next kernel start once every block has called this or ended. What it reads before its own wait has to come
// from kernels that this one has waited for.
DYN2TRT_DEVICE void launch_dependents() {
#if !DYN2TRT_ON_HOST && DYN2TRT_ARCH >= 900
  asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
#endif
}

}  // namespace dyn2trt::ptx
