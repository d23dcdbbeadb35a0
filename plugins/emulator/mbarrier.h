// mbarrier: a word of shared memory that counts arrivals and the bytes of bulk copies, phase by phase; and bar.sync
// with a number.
#pragma once

#include <cstdint>

#include "emulator/block.h"

namespace dyn2trt::emulator {

void mbarrier_init(uint64_t* barrier, unsigned arrivals);
// Arrives after expecting `bytes` more from bulk copies.
void mbarrier_arrive(uint64_t* barrier, unsigned bytes);
// `bytes` of a bulk copy have landed.
void mbarrier_complete(uint64_t* barrier, unsigned bytes);
// Waits until the phase of this parity is over.
void mbarrier_wait(uint64_t* barrier, unsigned parity, Place place);

// The meeting of `threads` threads of a block, whole warps, at barrier `number`.
void named_barrier(int number, int threads, Place place);

}  // namespace dyn2trt::emulator
