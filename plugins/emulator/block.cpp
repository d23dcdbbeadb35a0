#include "emulator/block.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "emulator/context.h"
#include "emulator/cuda_on_cpu.h"
#include "emulator/guarded_memory.h"
#include "emulator/mutation.h"
#include "emulator/proxy.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace dyn2trt::emulator {
namespace {

constexpr std::size_t kStackBytes = 64 * 1024;
constexpr std::size_t kSignalStackBytes = 64 * 1024;

enum class State : uint8_t { kRunnable, kAtBlockBarrier, kAtClusterBarrier, kInWarpMeeting, kAsleep, kDone };

struct PendingCopy {
  void* to;
  const void* from;
  int bytes;
  bool valid;
  int group;
  uint64_t number;  // of the thread's copies, in order
};

struct Fibre {
  Context context;
  int thread = 0;  // in its block
  int rank = 0;    // of its block in the cluster
  State state = State::kDone;
  Place place{};
  const void* sleeps_on = nullptr;
  unsigned char* stack = nullptr;
  std::vector<PendingCopy> copies;
  int groups_committed = 0;
  uint64_t copies_started = 0;
  bool dependencies_met = false;
};

// A block of the cluster that runs.
struct Block {
  int done = 0;
  int at_barrier = 0;
  Place barrier{};
  GuardedBuffer* shared = nullptr;
};

struct Meeting {
  Place place;
  Lanes lanes;
  unsigned arrived;
};

struct Random {
  uint64_t state = 0x9e3779b97f4a7c15ull;

  uint64_t next() {  // splitmix64
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  unsigned below(unsigned bound) { return static_cast<unsigned>(((next() >> 32) * bound) >> 32); }
};

// When deferred actions happen. A block draws one.
enum class Delay : unsigned { kShort, kLong, kUntilNothingElseRuns, kCount };

// What order the runnable threads are taken in. A block draws one: each hides other mistakes.
enum class Order : unsigned { kRandom, kRandomToo, kNewestFirst, kOldestFirst, kCount };

struct Scheduler {
  std::mutex mutex;
  Random random;
  std::vector<Fibre> fibres;
  std::vector<int> runnable;
  std::size_t oldest = 0;                      // kOldestFirst: where in `runnable` to go on
  std::vector<std::vector<Meeting>> meetings;  // of each warp
  Order order = Order::kRandom;
  Delay delay = Delay::kShort;
  std::vector<std::function<void()>> deferred;
  uint64_t clusters_begun = 0;
  bool locked = false;  // guarded memory, until a wait for the launch ahead
  Context caller;
  int current = -1;  // fibre
  int threads = 0;   // of a block
  int fibres_in_use = 0;
  std::vector<Block> blocks;  // of the cluster
  uint64_t first_block = 0;   // its number in the grid
  int at_cluster_barrier = 0;

  const char* kernel = "";
  KernelEntry entry = nullptr;
  const void* params = nullptr;
  std::size_t shared_bytes = 0;
  LaunchTraits traits;
  std::string launched;  // names of kernels, in order
  bool failed = false;
  char message[1024] = "";

  sigjmp_buf fault;
  pthread_t runner{};
  volatile sig_atomic_t running = 0;
};

Scheduler& scheduler() {
  static Scheduler* const instance = new Scheduler;  // never destroyed: fibres may outlive static objects
  return *instance;
}

void describe_place(char* text, std::size_t size, const Scheduler& s) {
  std::snprintf(text, size, "%s, block (%u, %u, %u), thread %d", s.kernel, blockIdx.x, blockIdx.y, blockIdx.z,
                s.current < 0 ? -1 : s.fibres[s.current].thread);
}

void set_indices(uint64_t block, int thread) {
  threadIdx.x = static_cast<unsigned>(thread);
  blockIdx.x = static_cast<unsigned>(block % gridDim.x);
  blockIdx.y = static_cast<unsigned>(block / gridDim.x % gridDim.y);
  blockIdx.z = static_cast<unsigned>(block / gridDim.x / gridDim.y);
}

void set_runnable(Scheduler& s, int thread) {
  s.fibres[thread].state = State::kRunnable;
  s.runnable.push_back(thread);
}

// `count` fibres from `first` on, those of a block or of a cluster, in an order of warps and an order of lanes of its
// own. With kNewestFirst a warp then runs as far as the next barrier while the others have not begun.
void release(Scheduler& s, int first, int count) {
  const int warps = (count + 31) / 32;
  std::vector<int> order(static_cast<std::size_t>(warps));
  for (int i = 0; i < warps; ++i) {
    const auto j = s.random.below(static_cast<unsigned>(i + 1));
    order[i] = order[j];
    order[j] = i;
  }
  const int flip = static_cast<int>(s.random.below(32));
  for (int i = 0; i < warps; ++i) {
    for (int lane = 0; lane < 32; ++lane) {
      const int thread = 32 * order[i] + (lane ^ flip);
      if (thread < count) set_runnable(s, first + thread);
    }
  }
}

int take_runnable(Scheduler& s) {
  auto& list = s.runnable;
  switch (s.order) {
    case Order::kNewestFirst:
      break;
    case Order::kOldestFirst: {
      const int thread = list[s.oldest++];
      if (s.oldest == list.size()) {
        list.clear();
        s.oldest = 0;
      }
      return thread;
    }
    default:
      std::swap(list[s.random.below(static_cast<unsigned>(list.size()))], list.back());
  }
  const int thread = list.back();
  list.pop_back();
  return thread;
}

const char* name_of(State state) { return state == State::kDone ? "the kernel's end" : ""; }

// No thread can run, and not all are done.
void report_deadlock(Scheduler& s) {
  s.failed = true;
  int length =
      std::snprintf(s.message, sizeof s.message, "%s, block (%u, %u, %u): threads wait in different places:", s.kernel,
                    blockIdx.x, blockIdx.y, blockIdx.z);
  const Place* last = nullptr;
  State last_state = State::kRunnable;
  int written = 0;
  for (int i = 0; i < s.fibres_in_use && written < 4; ++i) {
    const Fibre& fibre = s.fibres[i];
    if (last != nullptr && fibre.state == last_state && fibre.place.line == last->line) continue;
    last = &fibre.place;
    last_state = fibre.state;
    const auto room = sizeof s.message - static_cast<std::size_t>(length);
    if (fibre.state == State::kDone) {
      length += std::snprintf(s.message + length, room, "%s thread %d at %s", written > 0 ? ";" : "", fibre.thread,
                              name_of(fibre.state));
    } else {
      length += std::snprintf(s.message + length, room, "%s thread %d at %s (%s:%d)", written > 0 ? ";" : "",
                              fibre.thread, fibre.place.operation, fibre.place.file, fibre.place.line);
    }
    if (length >= static_cast<int>(sizeof s.message)) break;
    ++written;
  }
}

bool any_left(const Scheduler& s) {
  return std::any_of(s.blocks.begin(), s.blocks.end(), [&](const Block& b) { return b.done < s.threads; });
}

// One deferred action, any of them.
void act(Scheduler& s) {
  const std::size_t at = s.random.below(static_cast<unsigned>(s.deferred.size()));
  std::swap(s.deferred[at], s.deferred.back());
  const std::function<void()> action = std::move(s.deferred.back());
  s.deferred.pop_back();
  action();
}

void act_at_times(Scheduler& s) {
  constexpr unsigned kOneIn[] = {2, 64};  // of the short delay and the long one
  if (s.locked) return;
  if (!s.deferred.empty() && s.delay < Delay::kUntilNothingElseRuns &&
      s.random.below(kOneIn[static_cast<unsigned>(s.delay)]) == 0) {
    act(s);
  }
  while (s.runnable.empty() && !s.deferred.empty() && any_left(s)) act(s);
}

// Leaves the running fibre for another one, or for the caller when the block is over or stuck.
void yield(Scheduler& s, Context& from) {
  act_at_times(s);
  if (s.runnable.empty()) {
    if (any_left(s)) report_deadlock(s);
    switch_context(from, s.caller);
    return;
  }
  const int next = take_runnable(s);
  if (next == s.current && s.fibres[next].state == State::kRunnable && &from == &s.fibres[next].context) return;
  s.current = next;
  set_indices(s.first_block + static_cast<uint64_t>(s.fibres[next].rank), s.fibres[next].thread);
  switch_context(from, s.fibres[next].context);
}

void poison(Block& block, std::size_t bytes) {
  auto* words = static_cast<uint16_t*>(block.shared->data());
  for (std::size_t w = 0; w < bytes / 2; ++w) words[w] = kPoison;
}

void fibre_main() {
  Scheduler& s = scheduler();
  s.entry(s.params, s.blocks[static_cast<std::size_t>(s.fibres[s.current].rank)].shared->data());
  Fibre& self = s.fibres[s.current];
  if (!self.dependencies_met) kernel_error("ends without a wait for the launch ahead");
  self.state = State::kDone;
  Block& block = s.blocks[static_cast<std::size_t>(self.rank)];
  if (++block.done == s.threads && s.traits.cluster > 1) poison(block, s.shared_bytes);  // peers may read no more
  yield(s, self.context);
  __builtin_unreachable();
}

void block_here(State state, Place place) {
  Scheduler& s = scheduler();
  Fibre& self = s.fibres[s.current];
  self.state = state;
  self.place = place;
  yield(s, self.context);
}

template <class IsDue>
void land(Scheduler& s, int fibre_number, IsDue is_due) {
  Fibre& fibre = s.fibres[fibre_number];
  std::size_t kept = 0;
  for (const PendingCopy& copy : fibre.copies) {
    if (!is_due(copy)) {
      fibre.copies[kept++] = copy;
      continue;
    }
    if (copy.valid) {
      std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.bytes));
    } else {
      std::memset(copy.to, 0, static_cast<std::size_t>(copy.bytes));
    }
    generic_write(fibre_number, copy.to);
  }
  fibre.copies.resize(kept);
}

void set_locked(Scheduler& s, bool locked) {
  s.locked = locked;
  lock_guarded_buffers(locked, locked && s.traits.follows);
}

void on_fault(int signal, siginfo_t* info, void*) {
  Scheduler& s = scheduler();
  if (s.running == 0 || pthread_equal(pthread_self(), s.runner) == 0) {
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, nullptr);
    return;
  }
  char place[256];
  describe_place(place, sizeof place, s);
  if (signal == SIGILL || signal == SIGTRAP) {
    std::snprintf(s.message, sizeof s.message,
                  "%s: undefined behaviour (a misaligned vector access, an index outside its array or a shift or "
                  "division out of range)",
                  place);
  } else if (signal == SIGFPE) {
    std::snprintf(s.message, sizeof s.message, "%s: division by zero", place);
  } else {
    std::snprintf(s.message, sizeof s.message, "%s: access outside its tensors, at %p", place, info->si_addr);
  }
  siglongjmp(s.fault, 1);
}

// Turns faults into errors of the launch while it lives.
class FaultGuard {
 public:
  FaultGuard() {
    static unsigned char stack[kSignalStackBytes];
    stack_t alternate = {};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, &old_stack_);
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int i = 0; i < kSignals; ++i) sigaction(signals_[i], &action, &old_[i]);
  }
  ~FaultGuard() {
    for (int i = 0; i < kSignals; ++i) sigaction(signals_[i], &old_[i], nullptr);
    sigaltstack(&old_stack_, nullptr);
  }
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;

 private:
  static constexpr int kSignals = 5;
  static constexpr int signals_[kSignals] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
  struct sigaction old_[kSignals] = {};
  stack_t old_stack_ = {};
};

void grow_fibres(Scheduler& s, int threads) {
  while (static_cast<int>(s.fibres.size()) < threads) {
    Fibre fibre;
    fibre.stack = static_cast<unsigned char*>(guarded_pages(kStackBytes));
    s.fibres.push_back(std::move(fibre));
  }
}

// The blocks of a cluster, one block without clusters.
void run_cluster(Scheduler& s, uint64_t first_block) {
  s.first_block = first_block;
  s.at_cluster_barrier = 0;
  s.runnable.clear();
  s.oldest = 0;
  for (auto& warp : s.meetings) warp.clear();
  s.order = static_cast<Order>(s.random.below(static_cast<unsigned>(Order::kCount)));
  s.delay = static_cast<Delay>(s.random.below(static_cast<unsigned>(Delay::kCount)));
  s.deferred.clear();
  ++s.clusters_begun;
  for (Block& block : s.blocks) {
    block.done = block.at_barrier = 0;
    poison(block, s.shared_bytes);
  }
  for (int i = 0; i < s.fibres_in_use; ++i) {
    Fibre& fibre = s.fibres[i];
    fibre.context = make_context(fibre.stack + kStackBytes, fibre_main);
    fibre.thread = i % s.threads;
    fibre.rank = i / s.threads;
    fibre.copies.clear();
    fibre.groups_committed = 0;
    fibre.copies_started = 0;
    fibre.dependencies_met = !s.traits.overlaps;
  }
  set_indices(first_block, 0);
  if (s.traits.overlaps) set_locked(s, true);
  release(s, 0, s.fibres_in_use);
  yield(s, s.caller);
  if (!s.failed && !s.deferred.empty()) {
    s.failed = true;
    std::snprintf(s.message, sizeof s.message, "%s, block (%u, %u, %u) ends with copies or arrivals under way",
                  s.kernel, blockIdx.x, blockIdx.y, blockIdx.z);
  }
}

// In a shuffled order: no block may count on another having run.
void run_blocks(Scheduler& s) {
  const auto cluster = static_cast<uint64_t>(s.traits.cluster);
  const uint64_t clusters = uint64_t{gridDim.x} * gridDim.y * gridDim.z / cluster;
  // A full-period walk over them in an order of its own: number = start + i * step, gcd(step, clusters) = 1.
  uint64_t step = 1, start = 0;
  if (clusters > 1) {
    const auto gcd = [](uint64_t a, uint64_t b) {
      while (b != 0) a = std::exchange(b, a % b);
      return a;
    };
    step = 1 + s.random.next() % (clusters - 1);
    while (gcd(step, clusters) != 1) ++step;
    start = s.random.next() % clusters;
  }
  for (uint64_t i = 0; i < clusters && !s.failed; ++i) {
    run_cluster(s, (start + static_cast<unsigned __int128>(i) * step) % clusters * cluster);
  }
}

}  // namespace

const char* run_grid(const char* kernel, KernelEntry entry, dim3 grid, int threads, std::size_t shared_bytes,
                     const void* params, const LaunchTraits& traits) {
  Scheduler& s = scheduler();
  const std::lock_guard<std::mutex> lock(s.mutex);
  s.kernel = kernel;
  if (!s.launched.empty()) s.launched += ' ';
  s.launched += kernel;
  s.entry = entry;
  s.params = params;
  s.threads = threads;
  s.traits = traits;
  s.shared_bytes = shared_bytes;
  s.current = -1;
  s.failed = false;
  s.message[0] = '\0';
  if (threads < 1 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 ||
      grid.x > 0x7fffffffu || shared_bytes > 227 * 1024) {
    std::snprintf(s.message, sizeof s.message,
                  "%s: no device launches a grid of %u x %u x %u, %d threads, %zu bytes of shared memory", kernel,
                  grid.x, grid.y, grid.z, threads, shared_bytes);
    return s.message;
  }
  if (traits.cluster < 1 || traits.cluster > 8 || grid.x % static_cast<unsigned>(traits.cluster) != 0 ||
      (traits.cluster > 1 && threads % 32 != 0)) {
    std::snprintf(s.message, sizeof s.message,
                  "%s: clusters of %d blocks, 1 to 8 of whole warps that divide the grid's %u along x", kernel,
                  traits.cluster, grid.x);
    return s.message;
  }
  s.fibres_in_use = threads * traits.cluster;
  grow_fibres(s, s.fibres_in_use);
  s.meetings.resize(static_cast<std::size_t>((s.fibres_in_use + 31) / 32));
  gridDim = grid;
  blockDim = dim3{static_cast<unsigned>(threads), 1, 1};
  std::vector<std::unique_ptr<GuardedBuffer>> shared;
  s.blocks.assign(static_cast<std::size_t>(traits.cluster), {});
  for (Block& block : s.blocks) {
    // Swizzled operands lie at multiples of 1024; a struct that has them is a multiple too, and ends at the guard.
    shared.push_back(std::make_unique<GuardedBuffer>(shared_bytes, shared_bytes % 1024 == 0 ? 1024 : 128));
    block.shared = shared.back().get();
  }

  const FaultGuard guard;
  s.runner = pthread_self();
  if (sigsetjmp(s.fault, 1) == 0) {
    s.running = 1;
    run_blocks(s);
  } else {
    s.failed = true;
  }
  s.running = 0;
  s.current = -1;
  if (s.locked) set_locked(s, false);
  return s.failed ? s.message : nullptr;
}

void block_barrier(Place place) {
  if (taken_out(place)) return;
  Scheduler& s = scheduler();
  const int rank = s.fibres[s.current].rank;
  Block& block = s.blocks[static_cast<std::size_t>(rank)];
  if (block.at_barrier > 0 && (block.barrier.line != place.line || std::strcmp(block.barrier.file, place.file) != 0)) {
    kernel_error("at the barrier of %s:%d while others wait at %s:%d", place.file, place.line, block.barrier.file,
                 block.barrier.line);
  }
  block.barrier = place;
  if (++block.at_barrier < s.threads) {
    block_here(State::kAtBlockBarrier, place);
    return;
  }
  block.at_barrier = 0;
  release(s, rank * s.threads, s.threads);
  yield(s, s.fibres[s.current].context);
}

void cluster_barrier(Place place) {
  if (taken_out(place)) return;
  Scheduler& s = scheduler();
  if (++s.at_cluster_barrier < s.fibres_in_use) {
    block_here(State::kAtClusterBarrier, place);
    return;
  }
  s.at_cluster_barrier = 0;
  release(s, 0, s.fibres_in_use);
  yield(s, s.fibres[s.current].context);
}

int cluster_rank() {
  Scheduler& s = scheduler();
  return s.fibres[s.current].rank;
}

void* cluster_peer(const void* shared, int rank) {
  Scheduler& s = scheduler();
  const GuardedBuffer& own = *s.blocks[static_cast<std::size_t>(s.fibres[s.current].rank)].shared;
  const auto offset = static_cast<const unsigned char*>(shared) - static_cast<const unsigned char*>(own.data());
  if (rank < 0 || rank >= s.traits.cluster || offset < 0 || static_cast<std::size_t>(offset) >= s.shared_bytes) {
    kernel_error("block %d of a cluster of %d, offset %td of %zu bytes of shared memory", rank, s.traits.cluster,
                 offset, s.shared_bytes);
  }
  return static_cast<unsigned char*>(s.blocks[static_cast<std::size_t>(rank)].shared->data()) + offset;
}

void dependencies_wait(Place place) {
  if (taken_out(place)) return;
  Scheduler& s = scheduler();
  if (s.locked) set_locked(s, false);
  s.fibres[s.current].dependencies_met = true;
}

bool awaits(const void* address) {
  const Scheduler& s = scheduler();
  return s.traits.follows && !s.fibres[s.current].dependencies_met && in_workspace(address);
}

void read_ahead(const std::function<void()>& read) {
  Scheduler& s = scheduler();
  const bool locked = s.locked;
  if (locked) set_locked(s, false);
  read();
  if (locked) set_locked(s, true);
}

void sleep_on(const void* object, Place place) {
  Scheduler& s = scheduler();
  s.fibres[s.current].sleeps_on = object;
  block_here(State::kAsleep, place);
}

void wake(const void* object) {
  Scheduler& s = scheduler();
  for (int i = 0; i < s.fibres_in_use; ++i) {
    if (s.fibres[i].state == State::kAsleep && s.fibres[i].sleeps_on == object) set_runnable(s, i);
  }
}

void defer(std::function<void()> action) { scheduler().deferred.push_back(std::move(action)); }

int running_thread() { return scheduler().current; }

int running_threads() { return scheduler().fibres_in_use; }

SharedMemory shared_memory() {
  const Scheduler& s = scheduler();
  const Block& block = s.blocks[static_cast<std::size_t>(s.fibres[s.current].rank)];
  return {static_cast<unsigned char*>(block.shared->data()), s.shared_bytes};
}

uint64_t clusters_begun() { return scheduler().clusters_begun; }

void warp_meeting(unsigned mask, Place place, const void* in, void* out, void (*combine)(Lanes& lanes)) {
  Scheduler& s = scheduler();
  const int self = s.current;
  const int lane = s.fibres[self].thread % 32;
  const int first = self - lane;
  if (((mask >> lane) & 1u) == 0) kernel_error("%s with mask %08x, which lacks its own lane", place.operation, mask);
  const int lanes = s.threads - (s.fibres[self].thread - lane);
  const unsigned present = lanes >= 32 ? 0xffffffffu : (1u << lanes) - 1u;
  if ((mask & ~present) != 0) kernel_error("%s with mask %08x names lanes that do not exist", place.operation, mask);
  auto& open = s.meetings[static_cast<std::size_t>(self / 32)];
  std::size_t at = 0;
  while (at < open.size() && open[at].lanes.mask != mask) ++at;
  if (at == open.size()) {
    Meeting fresh{};
    fresh.place = place;
    fresh.lanes.mask = mask;
    open.push_back(fresh);
  }
  Meeting& meeting = open[at];
  if (meeting.place.line != place.line || std::strcmp(meeting.place.operation, place.operation) != 0 ||
      std::strcmp(meeting.place.file, place.file) != 0) {
    kernel_error("%s (%s:%d) while other lanes wait for it at %s (%s:%d)", place.operation, place.file, place.line,
                 meeting.place.operation, meeting.place.file, meeting.place.line);
  }
  meeting.lanes.in[lane] = in;
  meeting.lanes.out[lane] = out;
  meeting.arrived |= 1u << lane;
  if (meeting.arrived != mask) {
    block_here(State::kInWarpMeeting, place);
    return;
  }
  combine(meeting.lanes);
  open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
  for (int other = 0; other < 32; ++other) {
    if (((mask >> other) & 1u) != 0) set_runnable(s, first + other);
  }
  yield(s, s.fibres[self].context);
}

void kernel_error(const char* format, ...) {
  Scheduler& s = scheduler();
  const int length = std::snprintf(s.message, sizeof s.message, "%s, block (%u, %u, %u), thread %d: ", s.kernel,
                                   blockIdx.x, blockIdx.y, blockIdx.z, s.fibres[s.current].thread);
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(s.message + length, sizeof s.message - static_cast<std::size_t>(length), format, arguments);
  va_end(arguments);
  s.failed = true;
  Context abandoned;
  switch_context(abandoned, s.caller);
  __builtin_unreachable();
}

void cp_async(void* shared, const void* global, int bytes, bool valid) {
  const auto mask = static_cast<uintptr_t>(bytes - 1);
  if ((reinterpret_cast<uintptr_t>(shared) & mask) != 0 || (reinterpret_cast<uintptr_t>(global) & mask) != 0) {
    kernel_error("cp.async: an address is no multiple of %d", bytes);
  }
  Scheduler& s = scheduler();
  Fibre& self = s.fibres[s.current];
  if (!self.dependencies_met && valid && (!s.traits.follows || awaits(global))) {
    kernel_error("cp.async before the wait for the launch ahead");
  }
  for (int i = 0; i < bytes; i += 2) std::memcpy(static_cast<unsigned char*>(shared) + i, &kPoison, 2);
  self.copies.push_back({shared, global, bytes, valid, self.groups_committed, self.copies_started++});
}

void cp_async_commit() {
  Scheduler& s = scheduler();
  ++s.fibres[s.current].groups_committed;
}

void cp_async_wait(int pending, Place place) {
  if (taken_out(place)) return;
  Scheduler& s = scheduler();
  const int due = s.fibres[s.current].groups_committed - pending;
  land(s, s.current, [due](const PendingCopy& copy) { return copy.group < due; });
}

void cp_async_then(std::function<void()> arrive) {
  Scheduler& s = scheduler();
  const int fibre = s.current;
  const uint64_t due = s.fibres[fibre].copies_started;
  defer([&s, fibre, due, arrive = std::move(arrive)] {
    land(s, fibre, [due](const PendingCopy& copy) { return copy.number < due; });
    arrive();
  });
}

const char* launched() {
  Scheduler& s = scheduler();
  const std::lock_guard<std::mutex> lock(s.mutex);
  static std::string names;
  names = std::move(s.launched);
  s.launched.clear();
  return names.c_str();
}

Device& device() {
  static Device device;
  return device;
}

void set_seed(uint64_t seed) {
  Scheduler& s = scheduler();
  const std::lock_guard<std::mutex> lock(s.mutex);
  s.random.state = seed;
}

}  // namespace dyn2trt::emulator

extern "C" {

__attribute__((visibility("default"))) void dyn2trt_emulator_set_seed(uint64_t seed) {
  dyn2trt::emulator::set_seed(seed);
}

__attribute__((visibility("default"))) void dyn2trt_emulator_set_device(int multiprocessors, int shared_bytes) {
  dyn2trt::emulator::device() = {multiprocessors, shared_bytes};
}

__attribute__((visibility("default"))) const char* dyn2trt_emulator_launched() { return dyn2trt::emulator::launched(); }
}
