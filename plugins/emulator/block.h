// A block of threads on one CPU thread: each is a fibre that runs until it meets the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

struct dim3;

namespace dyn2trt::emulator {

// What memory holds before it is written: as fp16, bf16 and fp32 a NaN, as an index far out of any range.
inline constexpr uint16_t kPoison = 0x7fff;

// Where in a kernel a thread stands, for messages and to tell barriers apart.
struct Place {
  const char* operation;
  const char* file;
  int line;
};

using KernelEntry = void (*)(const void* params, void* shared);

// What a kernel asks for beside its grid.
struct LaunchTraits {
  int cluster = 1;        // blocks along x that run together and see each other's shared memory
  bool overlaps = false;  // may begin before the launch ahead of it has ended: see dependencies_wait()
  bool follows = false;   // only the workspace has to be waited for
};

// Runs `entry` for every thread of every block. Returns null, or what went wrong: a barrier that not all threads
// reached, a fault, an error raised by a collective. The text lives until the next call.
const char* run_grid(const char* kernel, KernelEntry entry, dim3 grid, int threads, std::size_t shared_bytes,
                     const void* params, const LaunchTraits& traits = {});

// __syncthreads: returns when all threads of the block have come to the same place.
void block_barrier(Place place);

// The meeting of the lanes of `mask` at one place. Each lane brings `in` and `out`; the last to come calls `combine`
// on all of them, and then all return.
struct Lanes {
  const void* in[32];
  void* out[32];
  unsigned mask;
};
void warp_meeting(unsigned mask, Place place, const void* in, void* out, void (*combine)(Lanes& lanes));

// barrier.cluster: returns when all threads of all blocks of the cluster have come.
void cluster_barrier(Place place);
// The place of the running block in its cluster.
int cluster_rank();
// Where block `rank` of the cluster keeps what lies at `shared` in the running one. It holds poison when that block's
// threads have all ended.
void* cluster_peer(const void* shared, int rank);

// griddepcontrol.wait: until a kernel that overlaps the launch ahead of it comes here, guarded memory is locked (the
// part of it that is marked as workspace where the kernel follows). Every thread owes it before it ends: else the
// launch behind could begin while the one ahead still runs.
void dependencies_wait(Place place);
// Whether `address` lies in a workspace that the running thread has still to wait for.
bool awaits(const void* address);
// Calls `read` with guarded memory unlocked, for what the launch ahead is known not to write.
void read_ahead(const std::function<void()>& read);

// Suspends the running thread until another thread, or a deferred action, wakes those that sleep on `object`.
void sleep_on(const void* object, Place place);
void wake(const void* object);

// What the hardware does beside the threads (a bulk copy, an arrival after copies): happens at some later time, at
// the latest when no thread can go on, and not while guarded memory is locked. A block that ends before is an error.
void defer(std::function<void()> action);

// The running thread's number among those of its cluster, and their number.
int running_thread();
int running_threads();

// Shared memory of the running thread's block.
struct SharedMemory {
  unsigned char* data;
  std::size_t bytes;
};
SharedMemory shared_memory();

// Clusters begun so far: what was noted of a block is stale when another has begun.
uint64_t clusters_begun();

// Ends the launch with a message about the running thread. Does not return.
[[noreturn]] [[gnu::format(printf, 1, 2)]] void kernel_error(const char* format, ...);

// cp.async of the running thread: the copy happens when a wait demands it; until then the destination is poison.
void cp_async(void* shared, const void* global, int bytes, bool valid);
void cp_async_commit();
void cp_async_wait(int pending, Place place);
// Calls `arrive` some time after all copies that the running thread has started so far.
void cp_async_then(std::function<void()> arrive);

// Seeds the order of blocks and threads.
void set_seed(uint64_t seed);

// The device that host functions dispatch for: a small one, so that persistent kernels loop, or another.
struct Device {
  int multiprocessors = 3;
  int shared_bytes = 227 * 1024;
};
Device& device();

// Names of the kernels launched since the last call, in order, separated by spaces. Valid until the next call.
const char* launched();

}  // namespace dyn2trt::emulator
