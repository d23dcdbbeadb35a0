#include "emulator/wgmma.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <list>
#include <vector>

#include "emulator/block.h"
#include "emulator/float16.h"
#include "emulator/mutation.h"
#include "emulator/proxy.h"
#include "emulator/warp.h"

namespace dyn2trt::emulator {
namespace {

constexpr int kDepth = 16, kRowsOfWarp = 16, kMaxColumns = 256;
constexpr unsigned kAll = 0xffffffffu;

// The sums of a warp that products in flight add to. Its registers hold NaNs meanwhile.
struct Hidden {
  std::array<float*, 32> registers;
  std::vector<std::array<float, 32>> value;  // of each register and lane
  int in_flight = 0;
};

struct Operation {
  Product product;
  std::array<std::array<uint32_t, 4>, 32> a;    // of each lane, when it was issued
  std::array<const uint32_t*, 32> a_registers;  // and where: until the product is over they keep their values
  Hidden* sums;
  uint64_t fence;  // the earliest proxy fence of the lanes when it was issued
  int warp;        // of the warpgroup
  int group;
};

struct Warp {
  uint64_t block = 0;
  bool fenced = false;
  int groups = 0;  // committed
  std::vector<Operation> operations;
  std::list<Hidden> hidden;
};

Warp& warp_of_running_thread() {
  static auto* const all = new std::vector<Warp>;
  const auto at = static_cast<std::size_t>(running_thread() / 32);
  if (all->size() <= at) all->resize(at + 1);
  Warp& warp = (*all)[at];
  if (warp.block != clusters_begun()) {
    warp = {};
    warp.block = clusters_begun();
  }
  return warp;
}

struct Issue {
  Product product;
  uint64_t fence;
};

void issue(Lanes& lanes) {
  Warp& warp = warp_of_running_thread();
  const auto of = [&](int lane) -> const Issue& { return *static_cast<const Issue*>(lanes.in[lane]); };
  const Product& first = of(0).product;
  if (!warp.fenced) kernel_error("wgmma without a wgmma.fence since the last group");
  Operation operation = {first, {}, {}, nullptr, of(0).fence, running_thread() / 32 % 4, warp.groups};
  for (int lane = 0; lane < 32; ++lane) {
    const Product& own = of(lane).product;
    if (own.a != first.a || own.b != first.b || own.keep != first.keep) {
      kernel_error("wgmma: lane %d's descriptors or predicate differ from lane 0's", lane);
    }
    operation.fence = std::min(operation.fence, of(lane).fence);
    const auto at = static_cast<std::size_t>(lane);
    operation.a_registers[at] = own.a_row;
    if (own.a_row != nullptr) std::copy_n(own.a_row, 4, operation.a[at].begin());
  }
  const auto same = [&](const Hidden& hidden) { return hidden.registers[0] == first.sums; };
  auto found = std::find_if(warp.hidden.begin(), warp.hidden.end(), same);
  if (found == warp.hidden.end()) {
    Hidden fresh;
    fresh.value.resize(static_cast<std::size_t>(first.columns / 2));
    for (std::size_t lane = 0; lane < 32; ++lane) {
      fresh.registers[lane] = of(static_cast<int>(lane)).product.sums;
      for (std::size_t r = 0; r < fresh.value.size(); ++r) {
        fresh.value[r][lane] = fresh.registers[lane][r];
        fresh.registers[lane][r] = __builtin_nanf("");
      }
    }
    found = warp.hidden.insert(warp.hidden.end(), fresh);
  }
  operation.sums = &*found;
  ++found->in_flight;
  warp.operations.push_back(operation);
}

// Row `row` of a matrix in shared memory, its 16 elements along K.
void load_row(const Operation& operation, uint64_t descriptor, int row, float (&elements)[kDepth]) {
  const SharedMemory shared = shared_memory();
  const auto field = [&](int bit) { return static_cast<uint32_t>(descriptor >> bit & 0x3fff) << 4; };
  const uint32_t start = field(0), leading = field(16), stride = field(32);
  const auto layout = static_cast<int>(descriptor >> 62);
  if (layout > 1) kernel_error("wgmma: a descriptor of swizzle %d, which is not emulated", layout);
  for (uint32_t part = 0; part < 2; ++part) {
    const auto group = static_cast<uint32_t>(row / 8), inner = static_cast<uint32_t>(row % 8);
    uint32_t at = start + group * stride;
    if (layout == 1) {
      at += inner * 128 + part * 16;
      at ^= (at >> 7 & 7) << 4;
    } else {
      at += inner * 16 + part * leading;
    }
    if (at + 16 > shared.bytes) kernel_error("wgmma: an operand lies outside of shared memory");
    if (!visible_to_async(shared.data + at, operation.fence)) {
      kernel_error("wgmma reads what cp.async wrote, without a fence.proxy.async between");
    }
    uint16_t bits[8];
    std::memcpy(bits, shared.data + at, sizeof bits);
    for (int e = 0; e < 8; ++e) {
      elements[8 * part + static_cast<uint32_t>(e)] =
          operation.product.bfloat16 ? to_float(bfloat16{bits[e]}) : to_float(half{bits[e]});
    }
  }
}

void load_registers(const Operation& operation, float (&a)[kRowsOfWarp][kDepth]) {
  for (int lane = 0; lane < 32; ++lane) {
    const auto at = static_cast<std::size_t>(lane);
    if (!std::equal(operation.a[at].begin(), operation.a[at].end(), operation.a_registers[at])) {
      kernel_error("wgmma: lane %d's registers of A changed while the product ran", lane);
    }
    for (int r = 0; r < 4; ++r) {
      for (int e = 0; e < 2; ++e) {
        const auto bits =
            static_cast<uint16_t>(operation.a[static_cast<std::size_t>(lane)][static_cast<std::size_t>(r)] >> (16 * e));
        a[lane / 4 + 8 * (r % 2)][2 * (lane % 4) + e + 8 * (r / 2)] =
            operation.product.bfloat16 ? to_float(bfloat16{bits}) : to_float(half{bits});
      }
    }
  }
}

void execute(const Operation& operation) {
  const int columns = operation.product.columns;
  float a[kRowsOfWarp][kDepth];
  if (operation.product.a_row != nullptr) {
    load_registers(operation, a);
  } else {
    for (int row = 0; row < kRowsOfWarp; ++row) {
      load_row(operation, operation.product.a, kRowsOfWarp * operation.warp + row, a[row]);
    }
  }
  static float b[kDepth][kMaxColumns];
  for (int column = 0; column < columns; ++column) {
    float elements[kDepth];
    load_row(operation, operation.product.b, column, elements);
    for (int k = 0; k < kDepth; ++k) b[k][column] = elements[k];
  }
  auto& value = operation.sums->value;
  for (int row = 0; row < kRowsOfWarp; ++row) {
    float sum[kMaxColumns] = {};
    for (int k = 0; k < kDepth; ++k) {
      for (int column = 0; column < columns; ++column) sum[column] += a[row][k] * b[k][column];
    }
    for (int column = 0; column < columns; ++column) {
      const auto lane = static_cast<std::size_t>(4 * (row % 8) + column % 8 / 2);
      const auto at = static_cast<std::size_t>(column / 8 * 4 + (row < 8 ? 0 : 2) + column % 2);
      value[at][lane] = sum[column] + (operation.product.keep ? value[at][lane] : 0.0f);
    }
  }
}

// Registers that no product in flight adds to any more show their sums.
void reveal(Warp& warp) {
  for (auto hidden = warp.hidden.begin(); hidden != warp.hidden.end();) {
    if (hidden->in_flight > 0) {
      ++hidden;
      continue;
    }
    for (std::size_t lane = 0; lane < 32; ++lane) {
      for (std::size_t r = 0; r < hidden->value.size(); ++r) hidden->registers[lane][r] = hidden->value[r][lane];
    }
    hidden = warp.hidden.erase(hidden);
  }
}

}  // namespace

uint32_t shared_offset(const void* shared) {
  const SharedMemory memory = shared_memory();
  const auto* address = static_cast<const unsigned char*>(shared);
  if (address < memory.data || address > memory.data + memory.bytes)
    kernel_error("no address of the block's shared memory");
  return static_cast<uint32_t>(address - memory.data);
}

void wgmma(const Product& product) {
  const Issue in{product, last_proxy_fence()};
  warp_meeting(kAll, {"wgmma.mma_async", __FILE__, __LINE__}, &in, nullptr, issue);
}

void wgmma_fence(Place place) {
  if (taken_out(place)) return;
  warp_meeting(kAll, place, nullptr, nullptr, [](Lanes&) { warp_of_running_thread().fenced = true; });
}

void wgmma_commit() {
  warp_meeting(kAll, {"wgmma.commit_group", __FILE__, __LINE__}, nullptr, nullptr, [](Lanes&) {
    Warp& warp = warp_of_running_thread();
    warp.fenced = false;
    ++warp.groups;
  });
}

void wgmma_wait(int pending, Place place) {
  if (taken_out(place)) return;
  warp_meeting(kAll, place, &pending, nullptr, [](Lanes& lanes) {
    Warp& warp = warp_of_running_thread();
    const int due = warp.groups - *static_cast<const int*>(lanes.in[0]);
    std::size_t done = 0;
    while (done < warp.operations.size() && warp.operations[done].group < due) {
      execute(warp.operations[done]);
      --warp.operations[done].sums->in_flight;
      ++done;
    }
    warp.operations.erase(warp.operations.begin(), warp.operations.begin() + static_cast<std::ptrdiff_t>(done));
    reveal(warp);
  });
}

}  // namespace dyn2trt::emulator
