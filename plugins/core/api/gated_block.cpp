// The gated blocks' two functions: check, compute what of the gate a fused kernel does not, then run one or the chain.
#include <algorithm>
#include <iterator>

#include "api/block_checks.h"
#include "api/composite.h"
#include "api/device.h"
#include "fused/choose.h"
#include "gate/gate.h"

namespace dyn2trt {
namespace {

bool is_empty(const Dyn2trtGatedBlock& p) { return positions(p.y.n, p.y.h, p.y.w) * p.y.c == 0; }

// With identity filled in where it is x.
Dyn2trtGatedBlock completed(const Dyn2trtGatedBlock& params) {
  Dyn2trtGatedBlock block = params;
  const bool known = block.kind >= 0 && block.kind < static_cast<int32_t>(std::size(contract::kBlocks));
  if (known && block_of(block).identity_is_x) block.identity = block.x;
  return block;
}

// Where the chain takes its logits from: what is given, the output, or scratch memory.
float* take_logits(const Dyn2trtGatedBlock& block, Workspace& workspace) {
  if (!gate_of(block).inside) return const_cast<float*>(block.gate.given);
  if (block.gate.logits != nullptr) return block.gate.logits;
  return workspace.take<float>(static_cast<std::size_t>(positions(block.y.n, block.y.h, block.y.w)));
}

std::size_t chain_bytes(const Dyn2trtGatedBlock& block) {
  Dyn2trtGatedBlock without_output = block;
  without_output.gate.logits = nullptr;
  Workspace sizes(nullptr);
  Composite composite;
  plan(composite, block, take_logits(without_output, sizes), sizes);
  return sizes.bytes();
}

// What the variants and the chain share: each has all of it to itself.
std::size_t most_bytes(const Dyn2trtGatedBlock& block) {
  std::size_t most = chain_bytes(block);
  for (int32_t i = 0; const FusedVariant* variant = fused_variant(block.kind, i); ++i) {
    if (variant->takes(block)) most = std::max(most, variant->workspace(block));
  }
  return most;
}

// Fused kernels load and store vectors of 16 bytes.
bool has_aligned_pointers(const Dyn2trtGatedBlock& block) {
  constexpr std::size_t kVector = 16;
  bool all = aligned(block.x.data, kVector) && aligned(block.identity.data, kVector) && aligned(block.y.data, kVector);
  for (int32_t i = 0; i < block_of(block).n_convolutions; ++i) {
    all = all && aligned(block.convolutions[i].weight, kVector) && aligned(block.convolutions[i].bias, kVector);
  }
  return all && aligned(block.gate.weight, kVector);
}

// The variant to run, null for the chain.
int find_variant(const Dyn2trtGatedBlock& block, const FusedVariant** found) {
  *found = nullptr;
  constexpr uint32_t kForcesChain = ~static_cast<uint32_t>(DYN2TRT_ALLOW_TF32);  // GENERIC_ONLY, or a tile
  if (block.variant == DYN2TRT_CHAIN || (block.variant == 0 && (block.flags & kForcesChain) != 0)) return DYN2TRT_OK;
  DeviceOfVariants device;
  DYN2TRT_TRY(current_device(device));
  if (block.variant == 0) {
    const int32_t index = has_aligned_pointers(block) ? choose_variant(block, device) : -1;
    if (index >= 0) *found = fused_variant(block.kind, index);
    return DYN2TRT_OK;
  }
  const FusedVariant* const forced = fused_variant(block.kind, block.variant - 1);
  if (forced == nullptr) {
    return fail(DYN2TRT_UNSUPPORTED, "there is no variant %d for %s", block.variant, block_of(block).name);
  }
  if (!runs_on(*forced, device)) {
    const char* const which = forced->min_architecture == 90 ? "alone" : "or later";
    return fail(DYN2TRT_UNSUPPORTED, "variant %s needs sm_%d %s; this is sm_%d", forced->name, forced->min_architecture,
                which, device.architecture);
  }
  if (!can_run(*forced, block, device)) {
    return fail(DYN2TRT_UNSUPPORTED, "variant %s does not take this block", forced->name);
  }
  *found = forced;
  return DYN2TRT_OK;
}

int run_chain(const Dyn2trtGatedBlock& block, const PoolMemory& pool, Workspace& workspace, void* stream) {
  float* const logits = take_logits(block, workspace);
  Composite composite;
  plan(composite, block, logits, workspace);
  if (gate_of(block).inside) DYN2TRT_TRY(gate_logits(block, pool.offset, logits, stream));
  return run(composite, stream);
}

}  // namespace
}  // namespace dyn2trt

int dyn2trt_gated_block_workspace(const Dyn2trtGatedBlock* params, size_t* bytes) {
  using namespace dyn2trt;
  *bytes = 0;
  const Dyn2trtGatedBlock block = completed(*params);
  DYN2TRT_TRY(check_sizes(block));
  if (is_empty(block)) return DYN2TRT_OK;
  Workspace sizes(nullptr);
  take_pool(block, sizes);
  *bytes = sizes.bytes() + most_bytes(block);
  return DYN2TRT_OK;
}

int dyn2trt_gated_block(const Dyn2trtGatedBlock* params, void* workspace, size_t workspace_bytes, void* stream) {
  using namespace dyn2trt;
  Dyn2trtGatedBlock block = completed(*params);
  DYN2TRT_TRY(check_sizes(block));
  if (is_empty(block)) return DYN2TRT_OK;
  const FusedVariant* variant = nullptr;
  DYN2TRT_TRY(find_variant(block, &variant));
  DYN2TRT_TRY(check_pointers(block, variant != nullptr && variant->in_place));
  Workspace memory(workspace);
  const PoolMemory pool = take_pool(block, memory);
  const std::size_t pool_bytes = memory.bytes();
  const std::size_t needed = pool_bytes + (variant != nullptr ? variant->workspace(block) : chain_bytes(block));
  DYN2TRT_TRY(check_workspace(workspace, workspace_bytes, needed));
  DYN2TRT_TRY(pool_gate(block, pool, stream));
  if (variant == nullptr) return run_chain(block, pool, memory, stream);
  if (pool.offset != nullptr) block.gate.given = pool.offset;  // see gate_offset()
  return variant->run(block, static_cast<unsigned char*>(workspace) + pool_bytes, stream);
}

const char* dyn2trt_gated_block_variant(int32_t kind, int32_t variant) {
  const dyn2trt::FusedVariant* const found = dyn2trt::fused_variant(kind, variant - 1);
  return found != nullptr ? found->name : nullptr;
}

int32_t dyn2trt_gated_block_choice(const Dyn2trtGatedBlock* params, int32_t architecture) {
  const Dyn2trtGatedBlock block = dyn2trt::completed(*params);
  const int32_t index = dyn2trt::choose_variant(block, dyn2trt::device_of(architecture));
  return index >= 0 ? index + 1 : DYN2TRT_CHAIN;
}
