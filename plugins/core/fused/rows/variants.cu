#include <climits>
#include <cstdint>

#include "device/platform.cuh"
#include "fused/rows/memory.h"
#include "fused/rows/rows.h"
#include "launch/status.h"

namespace dyn2trt {
namespace rows {
namespace {

// Places of a source are kept in 27 bits, in vectors; others in an int.
constexpr int64_t kMaxSource = int64_t{1} << 27;

int64_t vectors_of(const Dyn2trtDense& t) { return int64_t{t.n} * t.h * t.w * t.stride_w / kVector; }

// Channels-last in whole vectors, lines and images one after the other.
bool takes_tensor(const Dyn2trtDense& t) {
  return t.layout == DYN2TRT_NHWC && t.stride_c == 1 && t.c % kVector == 0 && t.stride_w % kVector == 0 &&
         t.stride_w >= t.c && t.stride_h == t.w * t.stride_w && t.stride_n == t.h * t.stride_h;
}

#if DYN2TRT_HAS_SM90A
bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

bool all_aligned(const Dyn2trtGatedBlock& block, const void* workspace) {
  bool all = aligned(block.x.data) && aligned(block.identity.data) && aligned(block.y.data) && aligned(workspace);
  for (int i = 0; i < (block.kind == DYN2TRT_BOTTLENECK ? 3 : 2); ++i) {
    all = all && aligned(block.convolutions[i].weight) && aligned(block.convolutions[i].bias);
  }
  return all;
}

int run(const Dyn2trtGatedBlock& block, void* workspace, void* stream) {
  if (!all_aligned(block, workspace)) {
    return fail(DYN2TRT_UNSUPPORTED, "rows take tensors, weights, biases and workspace at multiples of 16 bytes");
  }
  const Call call = {block, gate_offset(block), workspace, stream, {}};
  return block.dtype == DYN2TRT_FLOAT16 ? run_fp16(call) : run_bf16(call);
}
#endif

}  // namespace

bool takes(const Dyn2trtGatedBlock& block) {
  const bool bottleneck = block.kind == DYN2TRT_BOTTLENECK;
  if (!bottleneck && block.kind != DYN2TRT_BASIC_BLOCK) return false;
  if ((block.flags & DYN2TRT_GENERIC_ONLY) != 0) return false;
  if (block.dtype != DYN2TRT_FLOAT16 && block.dtype != DYN2TRT_BFLOAT16) return false;
  if (block.activation == DYN2TRT_HARD_SWISH) return false;  // no clamp
  if (block.stride_w != block.stride_h || block.stride_h < 1 || block.stride_h > 2) return false;
  if (!takes_tensor(block.x) || !takes_tensor(block.identity) || !takes_tensor(block.y)) return false;
  if (vectors_of(block.x) > kMaxSource || vectors_of(block.y) > INT_MAX || vectors_of(block.identity) > INT_MAX) {
    return false;
  }
  for (int i = 0; i < (bottleneck ? 2 : 1); ++i) {
    const int columns = block.convolutions[i].c_out;
    if (columns % kVector != 0 || hidden_sites(block, i) * columns / kVector > kMaxSource) return false;
  }
  return segments_of(block).tiles != 0;
}

std::size_t workspace_bytes(const Dyn2trtGatedBlock& block) { return cut(block, nullptr).bytes; }

}  // namespace rows

#if DYN2TRT_HAS_SM90A
FusedVariants row_variants() {
  using namespace rows;
  // sm_90a has 227 KB of shared memory a block everywhere.
  static constexpr FusedVariant kVariants[] = {
      {"rows", 90, takes, workspace_bytes, run},
  };
  return {kVariants, static_cast<int>(sizeof kVariants / sizeof kVariants[0])};
}
#endif

}  // namespace dyn2trt
