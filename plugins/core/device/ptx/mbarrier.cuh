// mbarrier: a word of shared memory that counts arrivals of threads and bytes of bulk copies, phase by phase (sm_90;
// sm_80 has part of it, which is not used).
//
// PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier". A phase is over when the arrivals that
// mbarrier_init named have come and all expected bytes have landed; then the next begins. A waiter names the parity of
// the phase that it waits for: 0 for the first, 1 for the second, 0 for the third. So 1 passes at once on a fresh
// barrier.
#pragma once

#include "device/platform.cuh"
#include "device/ptx/cp_async.cuh"

#if DYN2TRT_ON_HOST
#include "emulator/mbarrier.h"
#include "emulator/proxy.h"
#endif

namespace dyn2trt::ptx {

using Mbarrier = uint64_t;

// One thread does it, then mbarrier_init_fence(), then all meet.
DYN2TRT_DEVICE void mbarrier_init(Mbarrier* barrier, int arrivals) {
#if DYN2TRT_ON_HOST
  emulator::mbarrier_init(barrier, static_cast<unsigned>(arrivals));
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
#endif
}

// Makes initialised barriers known to the units that copy.
DYN2TRT_DEVICE void mbarrier_init_fence() {
#if !DYN2TRT_ON_HOST
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
#endif
}

DYN2TRT_DEVICE void mbarrier_arrive(Mbarrier* barrier) {
#if DYN2TRT_ON_HOST
  emulator::mbarrier_arrive(barrier, 0);
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(shared_address(barrier)) : "memory");
#endif
}

// Arrives, and has the phase wait for `bytes` of bulk copies as well.
DYN2TRT_DEVICE void mbarrier_arrive_expect(Mbarrier* barrier, int bytes) {
#if DYN2TRT_ON_HOST
  emulator::mbarrier_arrive(barrier, static_cast<unsigned>(bytes));
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#endif
}

// Arrives when all cp.async that this thread has started so far have landed. It is one of the arrivals that
// mbarrier_init counts.
DYN2TRT_DEVICE void mbarrier_arrive_after_copies(Mbarrier* barrier) {
#if DYN2TRT_ON_HOST
  emulator::cp_async_then([barrier] { emulator::mbarrier_arrive(barrier, 0); });
#else
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];\n" ::"r"(shared_address(barrier)) : "memory");
#endif
}

// Waits until the phase of this parity is over.
DYN2TRT_DEVICE void mbarrier_wait(Mbarrier* barrier, int parity DYN2TRT_AND_PLACE) {
#if DYN2TRT_ON_HOST
  emulator::mbarrier_wait(barrier, static_cast<unsigned>(parity), {"mbarrier_wait", file, line});
#else
  asm volatile(
      "{\n"
      ".reg .pred over;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
      "@over bra done;\n"
      "bra again;\n"
      "done:\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#endif
}

// Between what threads or cp.async wrote into shared memory and wgmma or bulk copies that touch it.
DYN2TRT_DEVICE void fence_proxy_async(DYN2TRT_PLACE_PARAMETERS) {
#if DYN2TRT_ON_HOST
  emulator::proxy_fence({"fence_proxy_async", file, line});
#else
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
#endif
}

}  // namespace dyn2trt::ptx
