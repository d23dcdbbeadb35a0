// The variants as data: see fused/fused.h.
#include <algorithm>
#include <climits>
#include <iterator>

#include "fused/fused.h"
#include "fused/inverted_residual/forms.h"
#include "launch/status.h"

namespace dyn2trt {
namespace inverted_residual {
namespace {

template <int... kWidths>
constexpr int widest(Widths<kWidths...>) {
  return std::max({kWidths...});
}

// Channels-last, and every pixel at a multiple of 16 bytes. Room between pixels, lines or images is no matter.
bool has_aligned_pixels(const Dyn2trtDense& t) {
  return t.layout == DYN2TRT_NHWC && t.stride_c == 1 && t.stride_w % 8 == 0 && t.stride_h % 8 == 0 &&
         t.stride_n % 8 == 0;
}

template <class Form>
bool takes(const Dyn2trtGatedBlock& b) {
  using Tile = typename Form::template KernelOf<half_t, widest(typename Form::widths{})>::Tile;
  const int expanded = b.convolutions[0].c_out;
  const bool same_shape = b.x.n == b.y.n && b.x.c == b.y.c && b.x.h == b.y.h && b.x.w == b.y.w;
  const int64_t tiles = int64_t{ceil_div(b.x.h, Tile::kTileRows)} * ceil_div(b.x.w, Tile::kTileCols) * b.x.n;
  return b.kind == DYN2TRT_INVERTED_RESIDUAL && (b.dtype == DYN2TRT_FLOAT16 || b.dtype == DYN2TRT_BFLOAT16) &&
         b.stride_h == 1 && b.stride_w == 1 && same_shape && has_aligned_pixels(b.x) && has_aligned_pixels(b.y) &&
         b.x.c > 0 && b.x.c % 8 == 0 && b.x.c <= widest(typename Form::widths{}) && expanded > 0 && expanded % 8 == 0 &&
         b.convolutions[1].c_out == expanded && b.convolutions[2].c_out == b.x.c && tiles <= INT_MAX / Tile::kCluster;
}

template <class Form, int... kWidths>
int shared_bytes_of(int channels, Widths<kWidths...>) {
  int bytes = 0;
  static_cast<void>(
      ((channels <= kWidths &&
        (bytes = static_cast<int>(sizeof(typename Form::template KernelOf<half_t, kWidths>::Shared)), true)) ||
       ...));
  return bytes;
}

template <class Form>
int shared_bytes(const Dyn2trtGatedBlock& b) {
  return shared_bytes_of<Form>(b.x.c, typename Form::widths{});
}

int check_alignment(const Dyn2trtGatedBlock& b) {
  const void* pointers[] = {b.x.data,
                            b.y.data,
                            b.convolutions[0].weight,
                            b.convolutions[0].bias,
                            b.convolutions[1].weight,
                            b.convolutions[1].bias,
                            b.convolutions[2].weight,
                            b.convolutions[2].bias};
  for (const void* pointer : pointers) {
    if (reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0) {
      return fail(DYN2TRT_UNSUPPORTED, "fused kernels read x, y and weights in vectors: align %p to 16 bytes", pointer);
    }
  }
  return DYN2TRT_OK;
}

template <class Form>
int run(const Dyn2trtGatedBlock& b, void* /*workspace*/, void* stream) {
  if (b.x.n == 0 || b.x.h == 0 || b.x.w == 0) return DYN2TRT_OK;
  DYN2TRT_TRY(check_alignment(b));
  return b.dtype == DYN2TRT_FLOAT16 ? launch_form<Form, half_t>(b, gate_offset(b), stream)
                                    : launch_form<Form, bfloat16_t>(b, gate_offset(b), stream);
}

std::size_t no_workspace(const Dyn2trtGatedBlock&) { return 0; }

template <class Form>
constexpr FusedVariant variant(const char* name, int min_architecture) {
  return {name, min_architecture, takes<Form>, no_workspace, run<Form>, shared_bytes<Form>};
}

constexpr FusedVariant kVariants[] = {
    variant<Tile8x8>("tile 8x8 mma", 80),
    variant<Tile8x16>("tile 8x16 mma", 80),
    variant<Tile4x8>("tile 4x8 mma", 80),
#if DYN2TRT_HAS_SM90A
    variant<Tile8x8Cluster>("tile 8x8 cluster", 90),
    variant<Tile8x8ClusterOf3>("tile 8x8 cluster of 3", 90),
    variant<Tile16x16Wgmma>("tile 16x16 wgmma", 90),
#endif
};

}  // namespace
}  // namespace inverted_residual

FusedVariants inverted_residual_variants() {
  using inverted_residual::kVariants;
  return {kVariants, static_cast<int>(std::size(kVariants))};
}

}  // namespace dyn2trt
