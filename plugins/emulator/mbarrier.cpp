#include "emulator/mbarrier.h"

#include <cstring>
#include <map>
#include <utility>

#include "emulator/cuda_on_cpu.h"
#include "emulator/mutation.h"

namespace dyn2trt::emulator {
namespace {

// In the 8 bytes of the hardware's: what memory is poisoned with is no barrier.
struct Barrier {
  int64_t bytes : 22;  // expected and not landed; copies may be ahead of those that expect them
  uint64_t pending : 20;
  uint64_t arrivals : 20;
  uint64_t phase : 1;
  uint64_t valid : 1;
};
static_assert(sizeof(Barrier) == sizeof(uint64_t), "the size that a kernel sees");

Barrier load(const uint64_t* address) {
  if (reinterpret_cast<uintptr_t>(address) % 8 != 0) kernel_error("mbarrier: the address is no multiple of 8");
  Barrier barrier;
  std::memcpy(&barrier, address, sizeof barrier);
  if (barrier.valid == 0) kernel_error("mbarrier: used before mbarrier.init");
  return barrier;
}

// The phase ends with the last arrival and the last byte.
void store(uint64_t* address, Barrier barrier) {
  const bool over = barrier.pending == 0 && barrier.bytes == 0;
  if (over) {
    barrier.phase ^= 1u;
    barrier.pending = barrier.arrivals;
  }
  std::memcpy(address, &barrier, sizeof barrier);
  if (over) wake(address);
}

struct NamedBarrier {
  uint64_t block = 0;
  int arrived = 0;
  int threads = 0;
  char sign = 0;  // what sleepers sleep on
};

}  // namespace

void mbarrier_init(uint64_t* address, unsigned arrivals) {
  if (arrivals == 0 || arrivals >= 1u << 20) kernel_error("mbarrier.init: %u arrivals", arrivals);
  Barrier barrier = {};
  barrier.pending = barrier.arrivals = arrivals;
  barrier.valid = 1;
  std::memcpy(address, &barrier, sizeof barrier);
}

void mbarrier_arrive(uint64_t* address, unsigned bytes) {
  Barrier barrier = load(address);
  if (barrier.pending == 0) kernel_error("mbarrier: more arrivals than the %u of a phase", unsigned(barrier.arrivals));
  if (barrier.bytes + int64_t{bytes} >= 1 << 20) kernel_error("mbarrier: 2^20 bytes under way, and no more than that");
  barrier.bytes += bytes;
  --barrier.pending;
  store(address, barrier);
}

void mbarrier_complete(uint64_t* address, unsigned bytes) {
  Barrier barrier = load(address);
  barrier.bytes -= bytes;
  store(address, barrier);
}

void mbarrier_wait(uint64_t* address, unsigned parity, Place place) {
  if (taken_out(place)) return;
  while (load(address).phase == (parity & 1u)) sleep_on(address, place);
}

void named_barrier(int number, int threads, Place place) {
  if (taken_out(place)) return;
  if (number < 0 || number > 15) kernel_error("bar.sync: there are 16 barriers, none of number %d", number);
  if (threads <= 0 || threads % 32 != 0) kernel_error("bar.sync: %d threads are no whole warps", threads);
  static auto* const all = new std::map<std::pair<int, int>, NamedBarrier>;
  const int block = running_thread() / static_cast<int>(blockDim.x);
  NamedBarrier& barrier = (*all)[{block, number}];
  if (barrier.block != clusters_begun()) barrier = {clusters_begun(), 0, 0, 0};
  if (barrier.arrived == 0) barrier.threads = threads;
  if (barrier.threads != threads) {
    kernel_error("bar.sync %d with %d threads where others wait for %d", number, threads, barrier.threads);
  }
  if (++barrier.arrived < threads) {
    sleep_on(&barrier.sign, place);
    return;
  }
  barrier.arrived = 0;
  wake(&barrier.sign);
}

}  // namespace dyn2trt::emulator
