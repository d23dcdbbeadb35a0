#include <climits>
#include <cstdint>

#include "gemm/dispatch.h"
#include "gemm/gemm.h"
#include "launch/status.h"

namespace dyn2trt::gemm {
namespace {

constexpr auto kLargeTiles = tile_table(LargeTiles{});
constexpr auto kSmallTiles = tile_table(SmallTiles{});
constexpr auto kDepthwiseTiles = tile_table(DepthwiseTiles{});

int bytes_of(Dyn2trtDtype dtype) { return dtype == DYN2TRT_FLOAT32 ? 4 : 2; }

bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

// Whether channels come in aligned groups of 16 bytes.
bool has_vectors(const View& view, int channels, Dyn2trtDtype dtype) {
  const int width = 16 / bytes_of(dtype);
  return !view.planar && aligned(view.data) && channels % width == 0 && view.pitch % width == 0;
}

// Calls use(table) with the tiles that a call chooses from.
template <class Use>
auto with_tiles(const Call& call, Use use) {
  if (call.arguments.depthwise_weight != nullptr) return use(kDepthwiseTiles);
  const bool on_cuda_cores = call.dtype == DYN2TRT_FLOAT32 && !call.tf32;
  return call.arguments.a.planar || on_cuda_cores ? use(kSmallTiles) : use(kLargeTiles);
}

Problem problem_of(const Call& call) {
  const Arguments& p = call.arguments;
  const bool depthwise = p.depthwise_weight != nullptr;
  Problem problem = {};
  problem.rows = int64_t{p.n} * p.h_out * p.w_out;
  problem.cols = p.cols;
  problem.chunks = (depthwise ? 1 : p.kernel_h * p.kernel_w) * ceil_div(p.channels, kChunkBytes / bytes_of(call.dtype));
  problem.depthwise = depthwise;
  problem.shared_tiles = p.partial != nullptr;
  return problem;
}

int run_call(const Call& call, const Choice& choice, const Arguments& arguments, void* stream) {
  switch (call.dtype) {
    case DYN2TRT_FLOAT16:
      return run_fp16(choice, arguments, stream);
    case DYN2TRT_BFLOAT16:
      return run_bf16(choice, arguments, stream);
    default:
      return call.tf32 ? run_tf32(choice, arguments, stream) : run_fp32(choice, arguments, stream);
  }
}

}  // namespace

View rows_view(void* rows, int channels, Dyn2trtDtype dtype) {
  View view = {};
  view.data = rows;
  view.pitch = channels;
  view.vectors = has_vectors(view, channels, dtype);
  return view;
}

bool dense_view(const Dyn2trtDense& tensor, Dyn2trtDtype dtype, View& view) {
  view = {};
  view.data = tensor.data;
  view.planar = tensor.layout == DYN2TRT_NCHW;
  const int64_t pixel = tensor.stride_w;
  if (view.planar) {
    if (tensor.stride_w != 1 || tensor.stride_h * tensor.h > INT_MAX) return false;
    view.line_step = static_cast<int>(tensor.stride_h);
    view.image_stride = tensor.stride_n;
    view.channel_stride = tensor.stride_c;
    return true;
  }
  if (tensor.stride_c != 1 || pixel < tensor.c || pixel > INT_MAX || tensor.stride_h % pixel != 0 ||
      tensor.stride_n % pixel != 0 || tensor.stride_n / pixel * tensor.n > INT_MAX) {
    return false;
  }
  view.pitch = static_cast<int>(pixel);
  view.line_step = static_cast<int>(tensor.stride_h / pixel);
  view.image_step = static_cast<int>(tensor.stride_n / pixel);
  view.vectors = has_vectors(view, tensor.c, dtype);
  return true;
}

void set_geometry(Arguments& arguments, const Dyn2trtGeometry& geometry, int n, int h_in, int w_in, int h_out,
                  int w_out) {
  arguments.kernel_h = geometry.kernel_h;
  arguments.kernel_w = geometry.kernel_w;
  arguments.stride_h = geometry.stride_h;
  arguments.stride_w = geometry.stride_w;
  arguments.pad_top = geometry.pad_top;
  arguments.pad_left = geometry.pad_left;
  arguments.dilation_h = geometry.dilation_h;
  arguments.dilation_w = geometry.dilation_w;
  arguments.n = n;
  arguments.h_in = h_in;
  arguments.w_in = w_in;
  arguments.h_out = h_out;
  arguments.w_out = w_out;
}

bool has_kernel(const Dyn2trtGeometry& geometry, int64_t positions_in, int64_t positions_out, int cols) {
  return int64_t{geometry.kernel_h} * geometry.kernel_w <= kMaxTaps && positions_in <= INT_MAX &&
         positions_out <= INT_MAX && (positions_out / 32 + 1) * (cols / 32 + 1) <= INT_MAX;
}

SplitMemory split_memory(const Call& call) {
  const Problem problem = problem_of(call);
  SplitMemory most;
  with_tiles(call, [&](const auto& tiles) {
    for (const TileData& tile : tiles) {  // whichever of them will be chosen, and wherever
      const auto sharers = static_cast<std::size_t>(sharers_of(tile, problem));
      most.partial_bytes = std::max(most.partial_bytes, sharers * static_cast<std::size_t>(partial_bytes(tile)));
      most.arrivals_bytes = std::max(most.arrivals_bytes, sharers * sizeof(int));
    }
  });
  return most;
}

int gathered_gemm(Call call, void* stream) {
  Arguments& p = call.arguments;
  if (int64_t{p.kernel_h} * p.kernel_w > kMaxTaps) {
    return fail(DYN2TRT_UNSUPPORTED, "the tensor-core kernels take at most %d kernel positions, not %d x %d", kMaxTaps,
                p.kernel_h, p.kernel_w);
  }
  if (p.depthwise_weight != nullptr && p.kernel_h * p.kernel_w != kMaxTaps) {
    return fail(DYN2TRT_UNSUPPORTED, "a depthwise convolution before the product has %d kernel positions, not %d x %d",
                kMaxTaps, p.kernel_h, p.kernel_w);
  }
  if (p.out.planar != p.residual.planar && p.residual.data != nullptr) {
    return fail(DYN2TRT_UNSUPPORTED, "residual and output need the same layout");
  }
  if (p.n <= 0 || p.h_out <= 0 || p.w_out <= 0 || p.cols <= 0) return DYN2TRT_OK;

  p.weight_vectors = aligned(p.weight) && aligned(p.depthwise_weight) && aligned(p.depthwise_bias) &&
                     p.channels % (16 / bytes_of(call.dtype)) == 0;
  p.out.vectors = has_vectors(p.out, p.cols, call.dtype) && aligned(p.bias) &&
                  (p.residual.data == nullptr || has_vectors(p.residual, p.cols, call.dtype));
  p.a.vectors = has_vectors(p.a, p.channels, call.dtype);
  if (p.n > kMaxImages) p.partial = nullptr;  // launches of one call would share the arrivals' memory sizes

  const Problem problem = problem_of(call);
  DeviceLimits device = {};
  DYN2TRT_TRY(device_limits(device));
  Choice choice = {-1, 0};
  with_tiles(call, [&](const auto& tiles) {
    choice = choose(tiles, device, problem, call.forced_tile);
    if (choice.tile >= 0) p.sharers = problem.shared_tiles ? sharers_of(tiles[choice.tile], problem) : 0;
  });
  if (choice.tile < 0) {
    return call.forced_tile < 0
               ? fail(DYN2TRT_UNSUPPORTED, "no tile fits into %d bytes of shared memory", device.shared_bytes)
               : fail(DYN2TRT_UNSUPPORTED,
                      "there is no tile %d for this convolution, or not in %d bytes of shared memory", call.forced_tile,
                      device.shared_bytes);
  }
  for (p.first_image = 0; p.first_image < p.n; p.first_image += kMaxImages) {
    p.images = std::min(kMaxImages, p.n - p.first_image);
    DYN2TRT_TRY(run_call(call, choice, p, stream));
  }
  return DYN2TRT_OK;
}

}  // namespace dyn2trt::gemm
