// wgmma: a warpgroup multiplies a 64x16 matrix by a 16xN matrix in shared memory into fp32 accumulators (sm_90a). The
// products run beside the threads, in groups.
//
// PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions: wgmma". Warp w of the warpgroup has rows 16w to 16w+15;
// lane l of it has in d[4j], d[4j+1] row l/4, columns 8j+2(l%4) and the next, in d[4j+2], d[4j+3] the same of row
// l/4+8. A from registers is laid out as mma's (device/ptx/mma.cuh). In shared memory, both A and B are K-major:
// A[row][k], B[column][k].
//
// A group starts with wgmma_fence, ends with wgmma_commit; until a wgmma_wait says that it is over, its accumulators
// are not touched and its operands not overwritten. What threads or cp.async wrote needs a fence_proxy_async before.
#pragma once

#include "device/dtype.cuh"
#include "device/platform.cuh"
#include "device/ptx/cp_async.cuh"

#if DYN2TRT_ON_HOST
#include "emulator/wgmma.h"
#else
#include "device/ptx/wgmma_text.cuh"
#endif

namespace dyn2trt::ptx {

// Where a K-major operand lies in shared memory. Bits 0 to 13 the address, 16 to 29 and 32 to 45 two distances, all in
// units of 16 bytes; 62 and 63 the swizzle. Addresses may be added to a descriptor: +2 is 16 elements along K.
using MatrixDescriptor = uint64_t;

DYN2TRT_DEVICE uint32_t shared_offset(const void* shared) {
#if DYN2TRT_ON_HOST
  return emulator::shared_offset(shared);
#else
  return shared_address(shared);
#endif
}

// Rows of 128 bytes (64 elements), eight of them 1024 bytes, as bulk copies lay them out. `shared` is a multiple of
// 1024, or 32, 64, 96 bytes behind one.
DYN2TRT_DEVICE MatrixDescriptor swizzled_matrix(const void* shared) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return kSwizzle128 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 16 | (shared_offset(shared) & 0x3ffff) >> 4;
}

// Blocks of 8 rows by 8 elements, each 128 consecutive bytes: `along_k` bytes from one to the next along K,
// `along_rows` to that of the next eight rows.
DYN2TRT_DEVICE MatrixDescriptor blocked_matrix(const void* shared, int along_k, int along_rows) {
  return static_cast<uint64_t>(along_rows >> 4) << 32 | static_cast<uint64_t>(along_k >> 4) << 16 |
         (shared_offset(shared) & 0x3ffff) >> 4;
}

DYN2TRT_DEVICE void wgmma_fence(DYN2TRT_PLACE_PARAMETERS) {
#if DYN2TRT_ON_HOST
  emulator::wgmma_fence({"wgmma_fence", file, line});
#else
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
#endif
}

DYN2TRT_DEVICE void wgmma_commit() {
#if DYN2TRT_ON_HOST
  emulator::wgmma_commit();
#else
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
#endif
}

// Waits for all but the latest kPending groups.
template <int kPending>
DYN2TRT_DEVICE void wgmma_wait(DYN2TRT_PLACE_PARAMETERS) {
#if DYN2TRT_ON_HOST
  emulator::wgmma_wait(kPending, {"wgmma_wait", file, line});
#else
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kPending) : "memory");
#endif
}

// D = A*B, + D with `keep`; A and B of half_t or bfloat16_t, kColumns 16, 32, 48, 64, 96 or 128.
template <class T, int kColumns>
DYN2TRT_DEVICE void wgmma(float (&d)[kColumns / 2], MatrixDescriptor a, MatrixDescriptor b, int keep) {
#if DYN2TRT_ON_HOST
  emulator::wgmma({d, nullptr, a, b, kColumns, keep != 0, DtypeOf<T>::value == DYN2TRT_BFLOAT16});
#else
  Wgmma<kColumns>::template multiply<T>(d, a, b, keep);
#endif
}

// The same with A in registers.
template <class T, int kColumns>
DYN2TRT_DEVICE void wgmma(float (&d)[kColumns / 2], const uint32_t (&a)[4], MatrixDescriptor b, int keep) {
#if DYN2TRT_ON_HOST
  emulator::wgmma({d, a, 0, b, kColumns, keep != 0, DtypeOf<T>::value == DYN2TRT_BFLOAT16});
#else
  Wgmma<kColumns>::template multiply<T>(d, a, b, keep);
#endif
}

}  // namespace dyn2trt::ptx
