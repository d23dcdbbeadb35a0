// Memory whose end lies against unreadable pages, so that a vector load one past a tensor faults.
#pragma once

#include <cstddef>

namespace dyn2trt::emulator {

// `bytes` rounded up to whole pages, between two stretches that fault. Never freed.
void* guarded_pages(std::size_t bytes);

// A buffer that ends at unreadable pages, but for the bytes that its alignment costs; those, and what lies before
// the start, hold a pattern that intact() looks for.
class GuardedBuffer {
 public:
  GuardedBuffer(std::size_t bytes, std::size_t alignment);
  ~GuardedBuffer();
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  void* data() const { return data_; }
  bool holds(const void* address) const { return address >= first_ && address < last_; }
  bool workspace = false;  // what the launches of an op hand to each other
  // Makes any access fault, or none in the buffer.
  void lock(bool locked) const;
  // Whether nothing was written around the buffer.
  bool intact() const;

 private:
  unsigned char* map_ = nullptr;
  std::size_t map_bytes_ = 0;
  unsigned char* data_ = nullptr;
  unsigned char* first_ = nullptr;  // of the readable pages
  unsigned char* last_ = nullptr;   // one past them
  std::size_t bytes_ = 0;
};

// All buffers of dyn2trt_emulator_alloc, or those marked as workspace.
void lock_guarded_buffers(bool locked, bool workspace_only);
// Whether an address lies in a buffer that is marked as workspace.
bool in_workspace(const void* address);

}  // namespace dyn2trt::emulator
