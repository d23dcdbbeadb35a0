// Warp collectives: votes, shuffles, ldmatrix and mma, each a meeting of lanes.
#pragma once

#include <cstdint>

#include "emulator/block.h"
#include "emulator/mutation.h"

namespace dyn2trt::emulator {

inline void warp_barrier(unsigned mask, Place place) {
  if (taken_out(place)) return;
  warp_meeting(mask, place, nullptr, nullptr, [](Lanes&) {});
}

unsigned warp_ballot(unsigned mask, int predicate, Place place);

template <class T>
struct ShuffleIn {
  T value;
  int source;
};

// The value that lane `source` brought. A source outside the mask is an error.
template <class T>
T warp_shuffle(unsigned mask, T value, int source, Place place) {
  const ShuffleIn<T> in{value, source};
  T out = value;
  warp_meeting(mask, place, &in, &out, [](Lanes& lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      if (((lanes.mask >> lane) & 1u) == 0) continue;
      const int from = static_cast<const ShuffleIn<T>*>(lanes.in[lane])->source;
      if (((lanes.mask >> from) & 1u) == 0)
        kernel_error("lane %d shuffles from lane %d, which is not there", lane, from);
      *static_cast<T*>(lanes.out[lane]) = static_cast<const ShuffleIn<T>*>(lanes.in[from])->value;
    }
  });
  return out;
}

// See device/ptx/ldmatrix.cuh and device/ptx/mma.cuh for the layouts.
void ldmatrix(uint32_t* registers, int matrices, const void* row, bool transposed);
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], bool bfloat16);
void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

}  // namespace dyn2trt::emulator
