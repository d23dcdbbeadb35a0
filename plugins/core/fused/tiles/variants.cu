#include <climits>
#include <cstdint>

#include "device/platform.cuh"
#include "fused/tiles/tiles.h"
#include "launch/status.h"

namespace dyn2trt {
namespace tiles {
namespace {

// Of the smallest tile.
constexpr int64_t kSide = 8, kCols = 32;
constexpr int kVector = 8;  // elements of 16 bits in one access

// Channels in vectors, and offsets within an image that fit into int.
bool takes_tensor(const Dyn2trtDense& t) {
  return t.layout == DYN2TRT_NHWC && t.stride_c == 1 && t.c % kVector == 0 && t.stride_w % kVector == 0 &&
         t.stride_h % kVector == 0 && t.stride_n % kVector == 0 && t.stride_w >= t.c &&
         t.stride_w <= INT_MAX / (t.w + int64_t{1}) && t.stride_h <= INT_MAX / (t.h + int64_t{1});
}

bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

template <int (*kFp16)(const Call&), int (*kBf16)(const Call&)>
int run(const Dyn2trtGatedBlock& block, void* workspace, void* stream) {
  if (!aligned(block.x.data) || !aligned(block.identity.data) || !aligned(block.y.data) ||
      !aligned(block.convolutions[0].weight) || !aligned(block.convolutions[1].weight) || !aligned(workspace)) {
    return fail(DYN2TRT_UNSUPPORTED, "tiles take tensors, weights and workspace at multiples of 16 bytes");
  }
  const Call call = {block, workspace, stream};
  return block.dtype == DYN2TRT_FLOAT16 ? kFp16(call) : kBf16(call);
}

// Bulk copies want every stride to be a multiple of the one inside it; that of a single row or image does not count.
[[maybe_unused]] bool takes_sm90a(const Dyn2trtGatedBlock& block) {
  const Dyn2trtDense& x = block.x;
  return takes(block) && (x.h == 1 || x.stride_h % x.stride_w == 0) && (x.n == 1 || x.stride_n % x.stride_h == 0);
}

// Shared memory of a block on sm_90a.
[[maybe_unused]] int whole(const Dyn2trtGatedBlock&) { return 227 * 1024; }

}  // namespace

bool takes(const Dyn2trtGatedBlock& block) {
  const Dyn2trtDense &x = block.x, &y = block.y;
  const int64_t tiles = y.n * ceil_div<int64_t>(y.h, kSide) * ceil_div<int64_t>(y.w, kSide);
  return block.kind == DYN2TRT_BASIC_BLOCK && (block.flags & DYN2TRT_GENERIC_ONLY) == 0 &&
         (block.dtype == DYN2TRT_FLOAT16 || block.dtype == DYN2TRT_BFLOAT16) && block.stride_w == block.stride_h &&
         (block.stride_h == 1 || block.stride_h == 2) && takes_tensor(x) && takes_tensor(block.identity) &&
         takes_tensor(y) && int64_t{y.h} * y.w * y.c <= INT_MAX &&    // offsets of hidden values,
         int64_t{9} * y.c * (x.c > y.c ? x.c : y.c) <= INT_MAX &&     // of weights,
         tiles <= INT_MAX && ceil_div<int64_t>(y.c, kCols) <= 65535;  // and a grid
}

std::size_t hidden_bytes(const Dyn2trtGatedBlock& block) {
  const Dyn2trtDense& y = block.y;
  return static_cast<std::size_t>(round_up(int64_t{2} * y.n * y.h * y.w * y.c, int64_t{256}));
}

std::size_t workspace_bytes(const Dyn2trtGatedBlock& block) {
  const Dyn2trtDense& y = block.y;
  const bool logits = block.gate.kind != DYN2TRT_GATE_LOGITS;
  return hidden_bytes(block) + (logits ? sizeof(float) * y.n * y.h * y.w : 0);
}

}  // namespace tiles

FusedVariants tile_variants() {
  using namespace tiles;
  static constexpr FusedVariant kVariants[] = {
      {"tile 8x8 mma", 80, takes, workspace_bytes, run<run_small_fp16, run_small_bf16>},
      {"tile 8x16 mma", 80, takes, workspace_bytes, run<run_medium_fp16, run_medium_bf16>},
#if DYN2TRT_HAS_SM90A
      // All of them within the 227 KB of compute capability 9.0.
      {"tile 8x8 wgmma", 90, takes_sm90a, workspace_bytes, run<run_small_sm90a_fp16, run_small_sm90a_bf16>, whole},
      {"tile 8x8 wide wgmma", 90, takes_sm90a, workspace_bytes, run<run_wide_sm90a_fp16, run_wide_sm90a_bf16>, whole},
      {"tile 8x16 wgmma", 90, takes_sm90a, workspace_bytes, run<run_medium_sm90a_fp16, run_medium_sm90a_bf16>, whole},
      {"tile 16x16 wgmma", 90, takes_sm90a, workspace_bytes, run<run_large_sm90a_fp16, run_large_sm90a_bf16>, whole},
#endif
  };
  return {kVariants, static_cast<int>(sizeof kVariants / sizeof kVariants[0])};
}

}  // namespace dyn2trt
