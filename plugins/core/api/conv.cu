#include "api/dispatch.h"
#include "api/steps.h"
#include "gemm/gemm.h"
#include "kernels/conv_generic.cuh"
#include "kernels/depthwise.cuh"
#include "launch/launch.cuh"

namespace dyn2trt {
namespace {

template <class T>
ConvParams<T> conv_params(const ConvStep& step) {
  ConvParams<T> params = {};
  params.source = step.x != nullptr ? Source::kDense : step.slots != nullptr ? Source::kSlots : Source::kSameRow;
  if (step.x != nullptr) params.x = view<const T>(*step.x);
  params.rows = static_cast<const T*>(step.rows);
  params.slots = step.slots;
  params.n = step.output.n;
  params.h_in = step.h_in;
  params.w_in = step.w_in;
  params.geometry = step.geometry;
  params.sites = step.output.sites;
  params.count = step.output.count;
  params.h_out = step.output.h;
  params.w_out = step.output.w;
  params.c_in = step.c_in;
  params.c_out = step.c_out;
  params.activation = step.activation;
  params.weight = static_cast<const T*>(step.weight);
  params.bias = static_cast<const T*>(step.bias);
  params.rows_out = static_cast<T*>(step.rows_out);
  return params;
}

template <class Kernel, class T>
int launch_conv(ConvParams<T> params, unsigned column_blocks, void* stream) {
  params.blocks_per_image = ceil_div(params.h_out * params.w_out, Kernel::kRows);
  const auto blocks = static_cast<unsigned>(params.n * params.blocks_per_image);
  return launch<Kernel>({blocks, column_blocks}, params, stream);
}

template <class T>
int convolve_generic(const ConvStep& step, void* stream) {
  const ConvParams<T> params = conv_params<T>(step);
  if (!step.depthwise) {
    using Kernel = ConvGeneric<T>;
    return launch_conv<Kernel>(params, static_cast<unsigned>(ceil_div(step.c_out, Kernel::kColumns)), stream);
  }
  constexpr int kWidth = kVectorWidth<T>;
  const bool source_fits = step.x != nullptr ? has_vectors(*step.x, step.dtype, kWidth) : aligned(step.rows, 16);
  if (step.c_in % kWidth == 0 && source_fits && aligned(step.weight, 16) && aligned(step.bias, 16) &&
      aligned(step.rows_out, 16)) {
    return launch_conv<Depthwise<T, kWidth>>(params, 1, stream);
  }
  return launch_conv<Depthwise<T, 1>>(params, 1, stream);
}

// The step as a gathered GEMM. False when those kernels do not take it.
bool gemm_call(const ConvStep& step, gemm::Call& call) {
  if (step.depthwise || (step.flags & DYN2TRT_GENERIC_ONLY) != 0) return false;
  const auto dtype = static_cast<Dyn2trtDtype>(step.dtype);
  const Dyn2trtSiteSet& out = step.output;
  if (!gemm::has_kernel(step.geometry, positions(out.n, step.h_in, step.w_in), positions(out.n, out.h, out.w),
                        step.c_out)) {
    return false;
  }
  call = {};
  call.dtype = dtype;
  call.tf32 = (step.flags & DYN2TRT_ALLOW_TF32) != 0;
  call.forced_tile = step.forced_tile;
  gemm::Arguments& p = call.arguments;
  if (step.x != nullptr) {
    p.source = gemm::Source::kPixels;
    if (!gemm::dense_view(*step.x, dtype, p.a)) return false;
  } else {
    p.source = step.slots != nullptr ? gemm::Source::kSlots : gemm::Source::kSameRow;
    p.a = gemm::rows_view(const_cast<void*>(step.rows), step.c_in, dtype);
  }
  p.slots = step.slots;
  p.channels = step.c_in;
  gemm::set_geometry(p, step.geometry, out.n, step.h_in, step.w_in, out.h, out.w);
  p.sites = out.sites;
  p.count = out.count;
  p.depthwise_weight = step.depthwise_weight;
  p.depthwise_bias = step.depthwise_bias;
  p.depthwise_activation = activation_of(step.depthwise_activation);
  p.weight = step.weight;
  p.bias = step.bias;
  p.cols = step.c_out;
  p.partial = step.partial;
  p.arrivals = step.arrivals;
  p.activation = activation_of(step.activation);
  p.out_rows = step.y == nullptr;
  if (p.out_rows) {
    p.out = gemm::rows_view(step.rows_out, step.c_out, dtype);
    return true;
  }
  // One index leads to the pixel in both tensors.
  if (!gemm::dense_view(*step.y, dtype, p.out) || !gemm::dense_view(*step.identity, dtype, p.residual)) return false;
  p.out_activation = activation_of(step.out_activation);
  return p.out.planar == p.residual.planar && p.out.line_step == p.residual.line_step &&
         p.out.image_step == p.residual.image_step;
}

}  // namespace

bool can_fuse(const ConvStep& step) {
  gemm::Call call;
  return gemm_call(step, call);
}

SplitBytes split_memory(const ConvStep& step) {
  gemm::Call call;
  if (!gemm_call(step, call)) return {0, 0};
  const gemm::SplitMemory memory = gemm::split_memory(call);
  return {memory.partial_bytes, memory.arrivals_bytes};
}

int convolve(const ConvStep& step, void* stream) {
  if (positions(step.output.n, step.output.h, step.output.w) == 0) return DYN2TRT_OK;
  gemm::Call call;
  if (gemm_call(step, call)) return gemm::gathered_gemm(call, stream);
  if (step.y != nullptr || step.depthwise_weight != nullptr) {
    return fail(DYN2TRT_UNSUPPORTED, "the generic convolution writes rows and fuses nothing");
  }
  return with_dtype(step.dtype,
                    [&](auto* t) { return convolve_generic<std::remove_pointer_t<decltype(t)>>(step, stream); });
}

}  // namespace dyn2trt

int dyn2trt_sparse_conv(const Dyn2trtSparseConv* params, void* stream) {
  using namespace dyn2trt;
  const Dyn2trtSparseConv& p = *params;
  const Dyn2trtSiteSet &in = p.input, &out = p.output;
  DYN2TRT_TRY(check_dtype(p.dtype));
  DYN2TRT_TRY(check_activation(p.activation));
  DYN2TRT_TRY(check_geometry(p.geometry));
  DYN2TRT_TRY(check_grid("input set", in.n, in.h, in.w));
  DYN2TRT_TRY(check_grid("output set", out.n, out.h, out.w));
  DYN2TRT_TRY(check_channels("input channels", p.c_in));
  DYN2TRT_TRY(check_channels("output channels", p.c_out));
  const bool depthwise = p.group != 1;
  if (depthwise && (p.c_in != p.c_out || (p.group != 0 && p.group != p.c_in))) {
    return fail(DYN2TRT_UNSUPPORTED, "group is 1 or the number of channels (%d in, %d out), not %d", p.c_in, p.c_out,
                p.group);
  }
  int32_t ho = 0, wo = 0;
  DYN2TRT_TRY(dyn2trt_output_grid(&p.geometry, in.h, in.w, &ho, &wo));
  if (in.n != out.n || ho != out.h || wo != out.w) {
    return fail(DYN2TRT_INVALID_ARGUMENT,
                "the geometry gives an output set on [%d, %d, %d] for an input set on [%d, %d, %d], not on "
                "[%d, %d, %d]",
                in.n, ho, wo, in.n, in.h, in.w, out.n, out.h, out.w);
  }
  if (positions(out.n, out.h, out.w) == 0) return DYN2TRT_OK;
  const std::size_t element = bytes_of(p.dtype);
  DYN2TRT_TRY(check_pointer("rows", p.rows, element));
  DYN2TRT_TRY(check_pointer("weight", p.weight, element));
  DYN2TRT_TRY(check_pointer("bias", p.bias, element));
  DYN2TRT_TRY(check_pointer("rows_out", p.rows_out, element));
  const bool keeps_set = is_pointwise(p.geometry);
  if (!keeps_set) {
    DYN2TRT_TRY(check_pointer("slots", in.slots, alignof(int32_t)));
    DYN2TRT_TRY(check_pointer("sites", out.sites, alignof(int32_t)));
    DYN2TRT_TRY(check_pointer("count", out.count, alignof(int32_t)));
  }

  ConvStep step = {};
  step.dtype = p.dtype;
  step.flags = p.flags;
  step.geometry = p.geometry;
  step.c_in = p.c_in;
  step.c_out = p.c_out;
  step.h_in = in.h;
  step.w_in = in.w;
  step.slots = keeps_set ? nullptr : in.slots;
  step.rows = p.rows;
  step.output = out;
  step.depthwise = depthwise;
  step.weight = p.weight;
  step.bias = p.bias;
  step.activation = p.activation;
  step.rows_out = p.rows_out;
  step.forced_tile = tile_of(p.flags, 0);
  return convolve(step, stream);
}
