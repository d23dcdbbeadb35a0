// setmaxnreg: the warps of a warpgroup give registers back to the block's pool, or take some (sm_90a).
//
// PTX ISA, "Miscellaneous Instructions: setmaxnreg". Multiples of 8 from 24 to 256, all warps of a warpgroup alike.
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::ptx {

template <int kRegisters>
DYN2TRT_DEVICE void give_registers_back() {
  static_assert(kRegisters % 8 == 0 && kRegisters >= 24 && kRegisters <= 256, "see above");
#if !DYN2TRT_ON_HOST
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
#endif
}

template <int kRegisters>
DYN2TRT_DEVICE void take_registers() {
  static_assert(kRegisters % 8 == 0 && kRegisters >= 24 && kRegisters <= 256, "see above");
#if !DYN2TRT_ON_HOST
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
#endif
}

}  // namespace dyn2trt::ptx
