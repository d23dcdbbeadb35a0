// Mutation tests without a compiler: a barrier, a wait or a fence of a kernel is taken out by where it stands.
//
// Every point of synchronisation asks taken_out() first. The emulator collects the places that launches come by, and a
// test takes them out one after another and expects a failure: a barrier that nothing misses is a missing test, or one
// barrier too many.
#pragma once

#include "emulator/block.h"

namespace dyn2trt::emulator {

// Whether this point of synchronisation is to be left out. Also remembers the place.
bool taken_out(const Place& place);

}  // namespace dyn2trt::emulator
