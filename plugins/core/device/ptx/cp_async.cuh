// cp.async: 16 bytes from global to shared memory, past the registers (sm_80 on; a plain copy on sm_75).
//
// PTX ISA, "Data Movement: cp.async". The emulator carries a copy out as late as the waits allow, and poisons the
// destination until then.
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::ptx {

#if !DYN2TRT_ON_HOST
DYN2TRT_DEVICE uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
#endif

// Starts a copy of 16 bytes; writes zeros instead, and does not read, when !valid. Both addresses are multiples of 16.
DYN2TRT_DEVICE void cp_async_16(void* shared, const void* global, bool valid) {
#if DYN2TRT_ON_HOST
  emulator::cp_async(shared, global, 16, valid);
#elif DYN2TRT_ARCH >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
#else
  *static_cast<uint4*>(shared) = valid ? *static_cast<const uint4*>(global) : make_uint4(0, 0, 0, 0);
#endif
}

// Closes the group of copies started since the last commit.
DYN2TRT_DEVICE void cp_async_commit() {
#if DYN2TRT_ON_HOST
  emulator::cp_async_commit();
#elif DYN2TRT_ARCH >= 800
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

// Waits until all but this thread's kPending latest groups have landed. Other threads see them after a barrier.
template <int kPending>
DYN2TRT_DEVICE void cp_async_wait(DYN2TRT_PLACE_PARAMETERS) {
#if DYN2TRT_ON_HOST
  emulator::cp_async_wait(kPending, {"cp.async.wait", file, line});
#elif DYN2TRT_ARCH >= 800
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
#endif
}

}  // namespace dyn2trt::ptx
