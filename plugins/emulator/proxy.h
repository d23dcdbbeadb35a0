// The two ways to shared memory: what threads and cp.async write (the generic proxy), bulk copies and wgmma (the async
// proxy) see only behind a fence.proxy.async.
//
// Writes by cp.async are followed; plain stores are not, for the emulator does not see them.
#pragma once

#include <cstdint>

#include "emulator/block.h"

namespace dyn2trt::emulator {

// `thread` has written the 16 bytes at `address` through the generic proxy.
void generic_write(int thread, const void* address);

// The 16 bytes at `address` were written through the async proxy.
void async_write(const void* address);

// fence.proxy.async of the running thread; a number that says what it has seen, 0 before any fence.
void proxy_fence(Place place);
uint64_t last_proxy_fence();

// Whether a thread whose last fence is `fence` sees the 16 bytes at `address` through the async proxy.
bool visible_to_async(const void* address, uint64_t fence);

}  // namespace dyn2trt::emulator
