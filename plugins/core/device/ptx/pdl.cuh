// Programmatic dependent launch: a kernel that begins while the launch ahead of it still runs (sm_90 on; nothing
// before).
//
// PTX ISA, "griddepcontrol". A kernel whose struct has kOverlaps = true is launched so (launch/launch.cuh), and owes a
// wait in every thread before it reads or writes global memory, weights included: a launch ahead may have written those
// too. The emulator locks guarded memory until then.
//
// Within a chain of launches that one call makes, a kernel knows more: what a launch before the one ahead has written
// is there, when the one ahead waited before it let this one begin; and no launch of the chain writes weights. Such
// things may be read before the wait, by load_ahead and by bulk copies (device/ptx/tma.cuh). A kernel that stands
// behind one which writes the call's workspace alone says so by kFollows, and then the emulator locks just that.
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::ptx {

// Waits until all launches ahead have ended and what they wrote can be seen.
DYN2TRT_DEVICE void wait_for_prior_kernels(DYN2TRT_PLACE_PARAMETERS) {
#if DYN2TRT_ON_HOST
  emulator::dependencies_wait({"griddepcontrol.wait", file, line});
#elif DYN2TRT_ARCH >= 900
  asm volatile("griddepcontrol.wait;\n" ::: "memory");
#endif
}

// Reads before the wait, see above; not through L1.
DYN2TRT_DEVICE int load_ahead(const int* address) {
  int value;
#if DYN2TRT_ON_HOST
  emulator::read_ahead([&] { value = *address; });
#else
  asm volatile("ld.global.cg.b32 %0, [%1];\n" : "=r"(value) : "l"(address) : "memory");
#endif
  return value;
}

// Lets the next launch begin when every block of this one has come here or has ended; its own wait keeps it from
// running further.
DYN2TRT_DEVICE void launch_dependents() {
#if !DYN2TRT_ON_HOST && DYN2TRT_ARCH >= 900
  asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
#endif
}

}  // namespace dyn2trt::ptx
