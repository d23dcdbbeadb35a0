// ldmatrix: a warp loads 8x8 matrices of 16-bit elements from shared memory in mma fragment layout (sm_75 on).
//
// PTX ISA, "Warp-level matrix load instruction: ldmatrix". Lane 8*i + j gives the address of row j of matrix i, 16
// bytes at a multiple of 16; lane l receives elements 2*(l%4) and 2*(l%4)+1 of row l/4 of each matrix (of its
// transpose with .trans). For x2, lanes 16-31 give addresses that are not read, but must be valid.
#pragma once

#include "device/platform.cuh"
#include "device/ptx/cp_async.cuh"

namespace dyn2trt::ptx {

DYN2TRT_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
#if DYN2TRT_ON_HOST
  emulator::ldmatrix(r, 4, row, false);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
#endif
}

DYN2TRT_DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
#if DYN2TRT_ON_HOST
  emulator::ldmatrix(r, 2, row, false);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
#endif
}

DYN2TRT_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
#if DYN2TRT_ON_HOST
  emulator::ldmatrix(r, 4, row, true);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
#endif
}

}  // namespace dyn2trt::ptx
