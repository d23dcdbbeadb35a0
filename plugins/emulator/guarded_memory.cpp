#include "emulator/guarded_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "dyn2trt/core.h"

namespace dyn2trt::emulator {
namespace {

constexpr unsigned char kCanary[2] = {0xff, 0x7f};  // NaN in every float type, see block.cpp

std::size_t page() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

// Wide enough that an index that is off by far faults too, and free: nothing is ever mapped there.
constexpr std::size_t kGuard = std::size_t{1} << 20;

std::size_t whole_pages(std::size_t bytes) { return (bytes + page() - 1) / page() * page(); }

unsigned char* map_between_guards(std::size_t bytes) {
  void* map = mmap(nullptr, bytes + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED ||
      (bytes > 0 && mprotect(static_cast<unsigned char*>(map) + kGuard, bytes, PROT_READ | PROT_WRITE) != 0)) {
    std::fprintf(stderr, "the emulator could not map %zu bytes\n", bytes);
    std::abort();
  }
  return static_cast<unsigned char*>(map);
}

}  // namespace

void* guarded_pages(std::size_t bytes) { return map_between_guards(whole_pages(bytes)) + kGuard; }

GuardedBuffer::GuardedBuffer(std::size_t bytes, std::size_t alignment) : bytes_(bytes) {
  const std::size_t aligned = (bytes + alignment - 1) / alignment * alignment;
  const std::size_t readable = whole_pages(aligned);
  map_bytes_ = readable + 2 * kGuard;
  map_ = map_between_guards(readable);
  first_ = map_ + kGuard;
  last_ = first_ + readable;
  data_ = last_ - aligned;
  for (unsigned char* byte = first_; byte < last_; ++byte) *byte = kCanary[(byte - first_) % 2];
}

GuardedBuffer::~GuardedBuffer() { munmap(map_, map_bytes_); }

void GuardedBuffer::lock(bool locked) const {
  mprotect(first_, static_cast<std::size_t>(last_ - first_), locked ? PROT_NONE : PROT_READ | PROT_WRITE);
}

bool GuardedBuffer::intact() const {
  for (const unsigned char* byte = first_; byte < last_; ++byte) {
    if (byte == data_) byte += bytes_;
    if (byte < last_ && *byte != kCanary[(byte - first_) % 2]) return false;
  }
  return true;
}

}  // namespace dyn2trt::emulator

namespace {

using dyn2trt::emulator::GuardedBuffer;

std::mutex& buffers_mutex() {
  static std::mutex mutex;
  return mutex;
}

std::unordered_map<void*, std::unique_ptr<GuardedBuffer>>& buffers() {
  static auto* const all = new std::unordered_map<void*, std::unique_ptr<GuardedBuffer>>;
  return *all;
}

}  // namespace

void dyn2trt::emulator::lock_guarded_buffers(bool locked, bool workspace_only) {
  const std::lock_guard<std::mutex> lock(buffers_mutex());
  for (const auto& [data, buffer] : buffers()) {
    if (buffer->workspace || !workspace_only) buffer->lock(locked);
  }
}

bool dyn2trt::emulator::in_workspace(const void* address) {
  const std::lock_guard<std::mutex> lock(buffers_mutex());
  for (const auto& [data, buffer] : buffers()) {
    if (buffer->workspace && buffer->holds(address)) return true;
  }
  return false;
}

extern "C" {

// A guarded buffer, filled with NaNs that are absurd integers too. Aligned to 16 bytes.
DYN2TRT_API void* dyn2trt_emulator_alloc(std::size_t bytes) {
  auto buffer = std::make_unique<GuardedBuffer>(bytes, 16);
  void* const data = buffer->data();
  const std::lock_guard<std::mutex> lock(buffers_mutex());
  // Two empty buffers may share no address: each ends at a guard page of its own.
  buffers()[data] = std::move(buffer);
  return data;
}

// The buffer is a workspace: see LaunchTraits::follows.
DYN2TRT_API void dyn2trt_emulator_mark_workspace(void* data) {
  const std::lock_guard<std::mutex> lock(buffers_mutex());
  buffers().at(data)->workspace = true;
}

// 1 when nothing was written around the buffer, else 0.
DYN2TRT_API int dyn2trt_emulator_intact(void* data) {
  const std::lock_guard<std::mutex> lock(buffers_mutex());
  const auto found = buffers().find(data);
  return found != buffers().end() && found->second->intact() ? 1 : 0;
}

DYN2TRT_API void dyn2trt_emulator_free(void* data) {
  const std::lock_guard<std::mutex> lock(buffers_mutex());
  buffers().erase(data);
}
}
