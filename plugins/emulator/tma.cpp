#include "emulator/tma.h"

#include <array>
#include <cstddef>
#include <cstring>

#include "emulator/block.h"
#include "emulator/mbarrier.h"
#include "emulator/proxy.h"

namespace dyn2trt::emulator {
namespace {

constexpr unsigned kPart = 16;  // bytes that move together

unsigned box_rows(const TensorMap& map) {
  unsigned rows = 1;
  for (int d = 1; d < map.rank; ++d) rows *= map.box[d];
  return rows;
}

// Where part `part` of row `row` lies: with the 128-byte swizzle, bits 4 to 6 of an address take in bits 7 to 9.
unsigned char* place_of(void* shared, const TensorMap& map, unsigned row, unsigned part) {
  auto place = reinterpret_cast<uintptr_t>(shared) + row * map.box[0] * 2 + part * kPart;
  if (map.swizzled) place ^= (place >> 7 & 7) << 4;
  return reinterpret_cast<unsigned char*>(place);
}

void land(void* shared, const TensorMap& map, const std::array<int32_t, 4>& at) {
  const unsigned parts = map.box[0] * 2 / kPart;
  for (unsigned row = 0; row < box_rows(map); ++row) {
    unsigned rest = row;
    bool inside = true;
    auto* from = static_cast<const unsigned char*>(map.data);
    for (int d = 1; d < map.rank; ++d) {
      const int64_t index = int64_t{at[d]} + rest % map.box[d];
      rest /= map.box[d];
      inside = inside && index >= 0 && index < static_cast<int64_t>(map.size[d]);
      from += index * static_cast<int64_t>(map.stride[d]);
    }
    for (unsigned part = 0; part < parts; ++part) {
      unsigned char* const to = place_of(shared, map, row, part);
      for (unsigned e = 0; e < kPart / 2; ++e) {
        const int64_t index = int64_t{at[0]} + part * (kPart / 2) + e;
        const bool there = inside && index >= 0 && index < static_cast<int64_t>(map.size[0]);
        if (there) {
          std::memcpy(to + 2 * e, from + 2 * index, 2);
        } else {
          std::memset(to + 2 * e, 0, 2);
        }
      }
      async_write(to);
    }
  }
}

}  // namespace

const char* tensor_map_fault(const TensorMap& map) {
  if (map.rank < 1 || map.rank > 4) return "the rank is not 1 to 4";
  if (reinterpret_cast<uintptr_t>(map.data) % 16 != 0) return "the tensor's address is no multiple of 16";
  for (int d = 0; d < map.rank; ++d) {
    if (map.box[d] < 1 || map.box[d] > 256) return "a side of the box is not 1 to 256";
    if (map.size[d] < 1 || map.size[d] > uint64_t{1} << 32) return "a dimension is not 1 to 2^32";
    if (d > 0 && map.stride[d] % 16 != 0) return "a stride is no multiple of 16 bytes";
  }
  if (map.box[0] * 2 % 16 != 0) return "the box's innermost side is no multiple of 16 bytes";
  if (map.swizzled && map.box[0] * 2 != 128) return "the swizzled box's innermost side is not 128 bytes";
  return nullptr;
}

void bulk_copy(void* shared, const TensorMap& map, const int32_t* at, uint64_t* barrier) {
  if (const char* fault = tensor_map_fault(map)) kernel_error("bulk copy: %s", fault);
  const uintptr_t alignment = map.swizzled ? 1024 : 128;
  if (reinterpret_cast<uintptr_t>(shared) % alignment != 0) {
    kernel_error("bulk copy: the destination is no multiple of %d", static_cast<int>(alignment));
  }
  if (awaits(map.data)) kernel_error("bulk copy of the workspace before the wait for the launch ahead");
  std::array<int32_t, 4> corner = {};
  for (int d = 0; d < map.rank; ++d) corner[static_cast<std::size_t>(d)] = at[d];
  const unsigned bytes = box_rows(map) * map.box[0] * 2;
  for (unsigned i = 0; i < bytes; i += 2) std::memcpy(static_cast<unsigned char*>(shared) + i, &kPoison, 2);
  defer([shared, map, corner, barrier, bytes] {
    land(shared, map, corner);
    mbarrier_complete(barrier, bytes);
  });
}

}  // namespace dyn2trt::emulator
