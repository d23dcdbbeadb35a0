// Tensor maps and the bulk copies of their boxes into shared memory.
#pragma once

#include <cstdint>

namespace dyn2trt::emulator {

// What cuTensorMapEncodeTiled makes a CUtensorMap of: a tensor of 16-bit elements, innermost dimension first. Its size
// and alignment are CUtensorMap's.
struct alignas(64) TensorMap {
  const void* data;
  int32_t rank;
  uint32_t box[4];
  uint64_t size[4];
  uint64_t stride[4];  // in bytes; of the innermost 2
  bool swizzled;       // rows of 128 bytes, their 16-byte parts exchanged
};
static_assert(sizeof(TensorMap) == 128, "CUtensorMap's size");

// What is wrong with a map, null when it may be used.
const char* tensor_map_fault(const TensorMap& map);

// Starts the copy of the box at `at`, zeros outside of the tensor. `bytes` of the box are told to `barrier` when it
// has landed; until then the destination is poison.
void bulk_copy(void* shared, const TensorMap& map, const int32_t* at, uint64_t* barrier);

}  // namespace dyn2trt::emulator
