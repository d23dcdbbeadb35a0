// A caller's workspace, handed out piece by piece. Without memory it adds up what is wanted, and its pointers, which
// nobody follows then, only say that there will be something.
#pragma once

#include <cstddef>
#include <cstdint>

#include "api/checks.h"

namespace dyn2trt {

class Workspace {
 public:
  explicit Workspace(void* memory) : memory_(reinterpret_cast<std::uintptr_t>(memory)) {}

  template <class T = void>
  T* take(std::size_t count, std::size_t element = sizeof(T)) {
    const std::size_t offset = bytes_;
    bytes_ += (count * element + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<T*>((memory_ == 0 ? kAlignment : memory_) + offset);
  }
  void* take_rows(int32_t n, int32_t h, int32_t w, int32_t channels, int32_t dtype) {
    return take<unsigned char>(static_cast<std::size_t>(positions(n, h, w)) * channels * bytes_of(dtype), 1);
  }
  Dyn2trtSiteSet take_set(int32_t n, int32_t h, int32_t w) {
    const auto sites = static_cast<std::size_t>(positions(n, h, w));
    Dyn2trtSiteSet set = {};
    set.sites = take<int32_t>(sites);
    set.slots = take<int32_t>(sites);
    set.count = take<int32_t>(static_cast<std::size_t>(n));
    set.n = n;
    set.h = h;
    set.w = w;
    return set;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  static constexpr std::uintptr_t kAlignment = 256;
  std::uintptr_t memory_;
  std::size_t bytes_ = 0;
};

// The memory is there, aligned and large enough.
inline int check_workspace(const void* memory, std::size_t bytes, std::size_t needed) {
  if (bytes < needed) {
    return fail(DYN2TRT_WORKSPACE_TOO_SMALL, "the workspace has %zu bytes; %zu are needed", bytes, needed);
  }
  return needed == 0 ? static_cast<int>(DYN2TRT_OK) : check_pointer("workspace", memory, 256);
}

}  // namespace dyn2trt
