#include "api/checks.h"

#include <climits>
#include <iterator>

#include "dyn2trt/contract.h"

namespace dyn2trt {
namespace {

// Keeps what a block of threads counts, rows times channels, far inside 32 bits.
constexpr int32_t kMostChannels = 1 << 20;

// Kernels add to a position what a tile or a kernel with pads and dilation may reach beyond it, in 32 bits.
constexpr int64_t kMostPositions = INT_MAX - (1 << 25);

}  // namespace

int check_dtype(int32_t dtype) {
  if (dtype >= DYN2TRT_FLOAT32 && dtype <= DYN2TRT_BFLOAT16) return DYN2TRT_OK;
  return fail(DYN2TRT_INVALID_ARGUMENT, "dtype is 0 (float32), 1 (float16) or 2 (bfloat16), not %d", dtype);
}

int check_activation(int32_t activation) {
  constexpr auto kMany = static_cast<int32_t>(std::size(contract::kActivations));
  if (activation >= 0 && activation < kMany) return DYN2TRT_OK;
  return fail(DYN2TRT_INVALID_ARGUMENT, "activation is 0 (%s) to %d (%s), not %d", contract::kActivations[0], kMany - 1,
              contract::kActivations[kMany - 1], activation);
}

int check_geometry(const Dyn2trtGeometry& g) {
  // The bound keeps every position that a kernel works out far inside 32 bits.
  constexpr int32_t kMost = 1 << 12;
  const auto within = [](int32_t value, int32_t least) { return value >= least && value <= kMost; };
  if (!within(g.kernel_h, 1) || !within(g.kernel_w, 1)) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "kernel sizes lie in 1..%d, not %d x %d", kMost, g.kernel_h, g.kernel_w);
  }
  if (!within(g.stride_h, 1) || !within(g.stride_w, 1)) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "strides lie in 1..%d, not %d x %d", kMost, g.stride_h, g.stride_w);
  }
  if (!within(g.dilation_h, 1) || !within(g.dilation_w, 1)) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "dilations lie in 1..%d, not %d x %d", kMost, g.dilation_h, g.dilation_w);
  }
  if (!within(g.pad_top, 0) || !within(g.pad_left, 0) || !within(g.pad_bottom, 0) || !within(g.pad_right, 0)) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "pads lie in 0..%d, not %d, %d, %d, %d", kMost, g.pad_top, g.pad_left,
                g.pad_bottom, g.pad_right);
  }
  return DYN2TRT_OK;
}

int check_pointer(const char* what, const void* pointer, std::size_t alignment) {
  if (pointer == nullptr) return fail(DYN2TRT_INVALID_ARGUMENT, "%s is null", what);
  if (!aligned(pointer, alignment)) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "%s is at %p, which is no multiple of its element's %zu bytes", what, pointer,
                alignment);
  }
  return DYN2TRT_OK;
}

int check_grid(const char* what, int32_t n, int32_t h, int32_t w) {
  if (n < 0 || h < 0 || w < 0) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "%s has a negative size: [%d, %d, %d]", what, n, h, w);
  }
  if (h != 0 && w != 0 && (int64_t{h} * w > kMostPositions || positions(n, h, w) > kMostPositions)) {
    return fail(DYN2TRT_UNSUPPORTED, "%s has [%d, %d, %d] positions; site ids are 32 bits", what, n, h, w);
  }
  return DYN2TRT_OK;
}

int check_channels(const char* what, int32_t channels) {
  if (channels >= 1 && channels <= kMostChannels) return DYN2TRT_OK;
  return fail(DYN2TRT_INVALID_ARGUMENT, "%s lie in 1..%d, not %d", what, kMostChannels, channels);
}

int check_dense(const char* what, const Dyn2trtDense& t, int32_t dtype, bool sizes_only) {
  DYN2TRT_TRY(check_grid(what, t.n, t.h, t.w));
  if (t.c < 0 || t.c > kMostChannels) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "%s has %d channels; 0 to %d are possible", what, t.c, kMostChannels);
  }
  if (t.layout != DYN2TRT_NCHW && t.layout != DYN2TRT_NHWC) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "layout of %s is 0 (NCHW) or 1 (NHWC), not %d", what, t.layout);
  }
  if (sizes_only || positions(t.n, t.h, t.w) * t.c == 0) return DYN2TRT_OK;
  const bool planar = t.layout == DYN2TRT_NCHW;
  if ((planar ? t.stride_w : t.stride_c) != 1) {
    return fail(DYN2TRT_UNSUPPORTED, "%s is %s, so its stride along %s is 1, not %lld", what, planar ? "NCHW" : "NHWC",
                planar ? "w" : "c", static_cast<long long>(planar ? t.stride_w : t.stride_c));
  }
  if (t.stride_n < 0 || t.stride_c < 0 || t.stride_h < 0 || t.stride_w < 0) {
    return fail(DYN2TRT_UNSUPPORTED, "%s has a negative stride", what);
  }
  return check_pointer(what, t.data, bytes_of(dtype));
}

int check_same_shape(const char* what, const Dyn2trtDense& a, const char* other_what, const Dyn2trtDense& b) {
  if (a.n == b.n && a.c == b.c && a.h == b.h && a.w == b.w) return DYN2TRT_OK;
  return fail(DYN2TRT_INVALID_ARGUMENT, "%s [%d, %d, %d, %d] and %s [%d, %d, %d, %d] differ in shape", what, a.n, a.c,
              a.h, a.w, other_what, b.n, b.c, b.h, b.w);
}

bool is_pointwise(const Dyn2trtGeometry& g) {
  return g.kernel_h == 1 && g.kernel_w == 1 && g.stride_h == 1 && g.stride_w == 1 && g.pad_top == 0 &&
         g.pad_left == 0 && g.pad_bottom == 0 && g.pad_right == 0;
}

bool has_vectors(const Dyn2trtDense& t, int32_t dtype, int width) {
  return t.layout == DYN2TRT_NHWC && t.stride_c == 1 && t.c % width == 0 && t.stride_n % width == 0 &&
         t.stride_h % width == 0 && t.stride_w % width == 0 && aligned(t.data, width * bytes_of(dtype));
}

}  // namespace dyn2trt

extern "C" {

int dyn2trt_output_grid(const Dyn2trtGeometry* geometry, int32_t h, int32_t w, int32_t* ho, int32_t* wo) {
  using namespace dyn2trt;
  DYN2TRT_TRY(check_geometry(*geometry));
  DYN2TRT_TRY(check_grid("input grid", 1, h, w));
  const Dyn2trtGeometry& g = *geometry;
  const auto along = [](int32_t size, int32_t pads, int32_t kernel, int32_t stride, int32_t dilation) {
    const int64_t room = int64_t{size} + pads - int64_t{dilation} * (kernel - 1) - 1;
    return room < 0 ? 0 : static_cast<int32_t>(room / stride + 1);
  };
  *ho = along(h, g.pad_top + g.pad_bottom, g.kernel_h, g.stride_h, g.dilation_h);
  *wo = along(w, g.pad_left + g.pad_right, g.kernel_w, g.stride_w, g.dilation_w);
  return DYN2TRT_OK;
}

int dyn2trt_input_grid(const Dyn2trtGeometry* geometry, int32_t ho, int32_t wo, int32_t* h, int32_t* w) {
  using namespace dyn2trt;
  DYN2TRT_TRY(check_geometry(*geometry));
  DYN2TRT_TRY(check_grid("output grid", 1, ho, wo));
  const Dyn2trtGeometry& g = *geometry;
  const auto along = [](int32_t size, int32_t pads, int32_t kernel, int32_t stride, int32_t dilation) {
    const int64_t least = int64_t{size - 1} * stride + int64_t{dilation} * (kernel - 1) + 1 - pads;
    return size == 0 || least < 0 ? int64_t{0} : least;
  };
  const int64_t height = along(ho, g.pad_top + g.pad_bottom, g.kernel_h, g.stride_h, g.dilation_h);
  const int64_t width = along(wo, g.pad_left + g.pad_right, g.kernel_w, g.stride_w, g.dilation_w);
  if (height > INT_MAX || width > INT_MAX) {
    return fail(DYN2TRT_UNSUPPORTED, "the input grid of an output grid %d x %d exceeds 32 bits", ho, wo);
  }
  *h = static_cast<int32_t>(height);
  *w = static_cast<int32_t>(width);
  return DYN2TRT_OK;
}

}  // extern "C"
