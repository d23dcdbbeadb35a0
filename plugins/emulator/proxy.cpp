#include "emulator/proxy.h"

#include <cstddef>
#include <unordered_map>
#include <vector>

#include "emulator/block.h"
#include "emulator/mutation.h"

namespace dyn2trt::emulator {
namespace {

struct Proxies {
  uint64_t block = 0;
  uint64_t clock = 0;                                  // of generic writes
  std::unordered_map<const void*, uint64_t> unfenced;  // 16 bytes -> when they were written
  std::vector<uint64_t> fences;                        // of each thread: the clock at its last fence
  std::vector<std::vector<const void*>> written;       // by each thread since its last fence
};

Proxies& proxies() {
  static auto* const instance = new Proxies;
  if (instance->block != clusters_begun()) {
    const auto threads = static_cast<std::size_t>(running_threads());
    instance->block = clusters_begun();
    instance->clock = 0;
    instance->unfenced.clear();
    instance->fences.assign(threads, 0);
    instance->written.assign(threads, {});
  }
  return *instance;
}

}  // namespace

void generic_write(int thread, const void* address) {
  Proxies& p = proxies();
  p.unfenced[address] = ++p.clock;
  p.written[static_cast<std::size_t>(thread)].push_back(address);
}

void async_write(const void* address) { proxies().unfenced.erase(address); }

void proxy_fence(Place place) {
  if (taken_out(place)) return;
  Proxies& p = proxies();
  const auto self = static_cast<std::size_t>(running_thread());
  for (const void* address : p.written[self]) p.unfenced.erase(address);
  p.written[self].clear();
  p.fences[self] = p.clock;
}

uint64_t last_proxy_fence() { return proxies().fences[static_cast<std::size_t>(running_thread())]; }

bool visible_to_async(const void* address, uint64_t fence) {
  const Proxies& p = proxies();
  const auto found = p.unfenced.find(address);
  return found == p.unfenced.end() || found->second <= fence;
}

}  // namespace dyn2trt::emulator
