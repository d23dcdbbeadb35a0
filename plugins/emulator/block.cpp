#include "emulator/block.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "emulator/context.h"
#include "emulator/cuda_on_cpu.h"
#include "emulator/guarded_memory.h"
#include "emulator/proxy.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace dyn2trt::emulator {
namespace {

constexpr std::size_t kStackBytes = 64 * 1024;
constexpr std::size_t kSignalStackBytes = 64 * 1024;

enum class State : uint8_t { kRunnable, kAtBlockBarrier, kInWarpMeeting, kAsleep, kDone };

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
  State state = State::kDone;
  Place place{};
  const void* sleeps_on = nullptr;
  unsigned char* stack = nullptr;
  std::vector<PendingCopy> copies;
  int groups_committed = 0;
  uint64_t copies_started = 0;
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
  uint64_t blocks_begun = 0;
  Context caller;
  int current = -1;
  int threads = 0;
  int done = 0;
  int at_barrier = 0;
  Place barrier{};

  const char* kernel = "";
  KernelEntry entry = nullptr;
  const void* params = nullptr;
  void* shared = nullptr;
  std::size_t shared_bytes = 0;
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
                s.current);
}

void set_runnable(Scheduler& s, int thread) {
  s.fibres[thread].state = State::kRunnable;
  s.runnable.push_back(thread);
}

// All threads of the block, in an order of warps and an order of lanes of its own. With kNewestFirst a warp then runs
// as far as the next barrier of the block while the others have not begun.
void release_all(Scheduler& s) {
  const int warps = (s.threads + 31) / 32;
  int order[32];
  for (int i = 0; i < warps; ++i) {
    const int j = static_cast<int>(s.random.below(static_cast<unsigned>(i + 1)));
    order[i] = order[j];
    order[j] = i;
  }
  const int flip = static_cast<int>(s.random.below(32));
  for (int i = 0; i < warps; ++i) {
    for (int lane = 0; lane < 32; ++lane) {
      const int thread = 32 * order[i] + (lane ^ flip);
      if (thread < s.threads) set_runnable(s, thread);
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
  for (int i = 0; i < s.threads && written < 4; ++i) {
    const Fibre& fibre = s.fibres[i];
    if (last != nullptr && fibre.state == last_state && fibre.place.line == last->line) continue;
    last = &fibre.place;
    last_state = fibre.state;
    const auto room = sizeof s.message - static_cast<std::size_t>(length);
    if (fibre.state == State::kDone) {
      length += std::snprintf(s.message + length, room, "%s thread %d at %s", written > 0 ? ";" : "", i,
                              name_of(fibre.state));
    } else {
      length += std::snprintf(s.message + length, room, "%s thread %d at %s (%s:%d)", written > 0 ? ";" : "", i,
                              fibre.place.operation, fibre.place.file, fibre.place.line);
    }
    if (length >= static_cast<int>(sizeof s.message)) break;
    ++written;
  }
}

// One deferred action, any of them.
void act(Scheduler& s) {
  const std::size_t at = s.random.below(static_cast<unsigned>(s.deferred.size()));
  std::swap(s.deferred[at], s.deferred.back());
  const std::function<void()> action = std::move(s.deferred.back());
  s.deferred.pop_back();
  action();
}

// Leaves the running fibre for another one, or for the caller when the block is over or stuck.
void yield(Scheduler& s, Context& from) {
  constexpr unsigned kOneIn[] = {2, 64};
  if (!s.deferred.empty() && s.delay < Delay::kUntilNothingElseRuns &&
      s.random.below(kOneIn[static_cast<unsigned>(s.delay)]) == 0) {
    act(s);
  }
  while (s.runnable.empty() && !s.deferred.empty() && s.done < s.threads) act(s);
  if (s.runnable.empty()) {
    if (s.done < s.threads) report_deadlock(s);
    switch_context(from, s.caller);
    return;
  }
  const int next = take_runnable(s);
  if (next == s.current && s.fibres[next].state == State::kRunnable && &from == &s.fibres[next].context) return;
  s.current = next;
  threadIdx.x = static_cast<unsigned>(next);
  switch_context(from, s.fibres[next].context);
}

void fibre_main() {
  Scheduler& s = scheduler();
  s.entry(s.params, s.shared);
  Fibre& self = s.fibres[s.current];
  self.state = State::kDone;
  ++s.done;
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
void land(Scheduler& s, int thread, IsDue is_due) {
  Fibre& fibre = s.fibres[thread];
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
    generic_write(thread, copy.to);
  }
  fibre.copies.resize(kept);
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

void run_block(Scheduler& s) {
  s.done = 0;
  s.at_barrier = 0;
  s.runnable.clear();
  s.oldest = 0;
  for (auto& warp : s.meetings) warp.clear();
  s.order = static_cast<Order>(s.random.below(static_cast<unsigned>(Order::kCount)));
  s.delay = static_cast<Delay>(s.random.below(static_cast<unsigned>(Delay::kCount)));
  s.deferred.clear();
  ++s.blocks_begun;
  for (int i = 0; i < s.threads; ++i) {
    Fibre& fibre = s.fibres[i];
    fibre.context = make_context(fibre.stack + kStackBytes, fibre_main);
    fibre.copies.clear();
    fibre.groups_committed = 0;
    fibre.copies_started = 0;
  }
  release_all(s);
  yield(s, s.caller);
  if (!s.failed && !s.deferred.empty()) {
    s.failed = true;
    std::snprintf(s.message, sizeof s.message, "%s, block (%u, %u, %u) ends with copies or arrivals under way",
                  s.kernel, blockIdx.x, blockIdx.y, blockIdx.z);
  }
}

// In a shuffled order: no block may count on another having run.
void run_blocks(Scheduler& s, std::size_t shared_bytes) {
  const uint64_t blocks = uint64_t{gridDim.x} * gridDim.y * gridDim.z;
  // A full-period walk over the blocks in an order of its own: block = start + i * step, gcd(step, blocks) = 1.
  uint64_t step = 1, start = 0;
  if (blocks > 1) {
    const auto gcd = [](uint64_t a, uint64_t b) {
      while (b != 0) a = std::exchange(b, a % b);
      return a;
    };
    step = 1 + s.random.next() % (blocks - 1);
    while (gcd(step, blocks) != 1) ++step;
    start = s.random.next() % blocks;
  }
  for (uint64_t i = 0; i < blocks && !s.failed; ++i) {
    const uint64_t block = (start + static_cast<unsigned __int128>(i) * step) % blocks;
    blockIdx.x = static_cast<unsigned>(block % gridDim.x);
    blockIdx.y = static_cast<unsigned>(block / gridDim.x % gridDim.y);
    blockIdx.z = static_cast<unsigned>(block / gridDim.x / gridDim.y);
    auto* words = static_cast<uint16_t*>(s.shared);
    for (std::size_t w = 0; w < shared_bytes / 2; ++w) words[w] = kPoison;
    run_block(s);
  }
}

}  // namespace

const char* run_grid(const char* kernel, KernelEntry entry, dim3 grid, int threads, std::size_t shared_bytes,
                     const void* params) {
  Scheduler& s = scheduler();
  const std::lock_guard<std::mutex> lock(s.mutex);
  s.kernel = kernel;
  if (!s.launched.empty()) s.launched += ' ';
  s.launched += kernel;
  s.entry = entry;
  s.params = params;
  s.threads = threads;
  s.failed = false;
  s.message[0] = '\0';
  if (threads < 1 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 ||
      grid.x > 0x7fffffffu || shared_bytes > 227 * 1024) {
    std::snprintf(s.message, sizeof s.message,
                  "%s: no device launches a grid of %u x %u x %u, %d threads, %zu bytes of shared memory", kernel,
                  grid.x, grid.y, grid.z, threads, shared_bytes);
    return s.message;
  }
  grow_fibres(s, threads);
  s.meetings.resize(static_cast<std::size_t>((threads + 31) / 32));
  gridDim = grid;
  blockDim = dim3{static_cast<unsigned>(threads), 1, 1};
  // Swizzled operands lie at multiples of 1024; a struct that has them is a multiple too, and ends at the guard.
  GuardedBuffer shared(shared_bytes, shared_bytes % 1024 == 0 ? 1024 : 128);
  s.shared = shared.data();
  s.shared_bytes = shared_bytes;

  const FaultGuard guard;
  s.runner = pthread_self();
  if (sigsetjmp(s.fault, 1) == 0) {
    s.running = 1;
    run_blocks(s, shared_bytes);
  } else {
    s.failed = true;
  }
  s.running = 0;
  s.current = -1;
  return s.failed ? s.message : nullptr;
}

void block_barrier(Place place) {
  Scheduler& s = scheduler();
  if (s.at_barrier > 0 && (s.barrier.line != place.line || std::strcmp(s.barrier.file, place.file) != 0)) {
    kernel_error("at the barrier of %s:%d while others wait at %s:%d", place.file, place.line, s.barrier.file,
                 s.barrier.line);
  }
  s.barrier = place;
  if (++s.at_barrier < s.threads) {
    block_here(State::kAtBlockBarrier, place);
    return;
  }
  s.at_barrier = 0;
  release_all(s);
  yield(s, s.fibres[s.current].context);
}

void warp_meeting(unsigned mask, Place place, const void* in, void* out, void (*combine)(Lanes& lanes)) {
  Scheduler& s = scheduler();
  const int self = s.current;
  const int lane = self % 32;
  const int first = self - lane;
  if (((mask >> lane) & 1u) == 0) kernel_error("%s with mask %08x, which lacks its own lane", place.operation, mask);
  const unsigned present = s.threads - first >= 32 ? 0xffffffffu : (1u << (s.threads - first)) - 1u;
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

void sleep_on(const void* object, Place place) {
  Scheduler& s = scheduler();
  s.fibres[s.current].sleeps_on = object;
  block_here(State::kAsleep, place);
}

void wake(const void* object) {
  Scheduler& s = scheduler();
  for (int i = 0; i < s.threads; ++i) {
    if (s.fibres[i].state == State::kAsleep && s.fibres[i].sleeps_on == object) set_runnable(s, i);
  }
}

void defer(std::function<void()> action) { scheduler().deferred.push_back(std::move(action)); }

int running_thread() { return scheduler().current; }

int running_threads() { return scheduler().threads; }

SharedMemory shared_memory() {
  const Scheduler& s = scheduler();
  return {static_cast<unsigned char*>(s.shared), s.shared_bytes};
}

uint64_t blocks_begun() { return scheduler().blocks_begun; }

void kernel_error(const char* format, ...) {
  Scheduler& s = scheduler();
  const int length = std::snprintf(s.message, sizeof s.message, "%s, block (%u, %u, %u), thread %d: ", s.kernel,
                                   blockIdx.x, blockIdx.y, blockIdx.z, s.current);
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
  for (int i = 0; i < bytes; i += 2) std::memcpy(static_cast<unsigned char*>(shared) + i, &kPoison, 2);
  self.copies.push_back({shared, global, bytes, valid, self.groups_committed, self.copies_started++});
}

void cp_async_commit() {
  Scheduler& s = scheduler();
  ++s.fibres[s.current].groups_committed;
}

void cp_async_wait(int pending) {
  Scheduler& s = scheduler();
  const int due = s.fibres[s.current].groups_committed - pending;
  land(s, s.current, [due](const PendingCopy& copy) { return copy.group < due; });
}

void cp_async_then(std::function<void()> arrive) {
  Scheduler& s = scheduler();
  const int thread = s.current;
  const uint64_t due = s.fibres[thread].copies_started;
  defer([&s, thread, due, arrive = std::move(arrive)] {
    land(s, thread, [due](const PendingCopy& copy) { return copy.number < due; });
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
