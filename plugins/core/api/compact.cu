#include <algorithm>

#include "api/dispatch.h"
#include "api/steps.h"
#include "kernels/begin.cuh"
#include "launch/launch.cuh"

namespace dyn2trt {
namespace {

// The elements of tensors that fill their memory, in the same order, without gaps; 0 when they do not.
int64_t flat_elements(const Dyn2trtDense& a, const Dyn2trtDense& b) {
  const auto packed = [](const Dyn2trtDense& t) {
    const int64_t c = t.c, h = t.h, w = t.w;
    return t.stride_w == 1 && t.stride_h == w && t.stride_c == h * w && t.stride_n == c * h * w;
  };
  return packed(a) && packed(b) ? positions(a.n, a.h, a.w) * a.c : 0;
}

template <class Kernel, class T>
int launch_begin(BeginParams<T> params, void* stream) {
  const int64_t blocks = params.flat ? ceil_div(params.flat_elements, Kernel::kFlatElements)
                                     : int64_t{params.y.n} * ceil_div(params.y.h * params.y.w, Kernel::kPositions);
  return launch<Kernel>({static_cast<unsigned>(params.compact_blocks + blocks)}, params, stream);
}

// Compaction and copy in one launch. `taken` says whether there is a kernel for these tensors.
template <class T>
int begin_as(const CompactStep& step, const CompactParams& compaction, bool& taken, void* stream) {
  constexpr int kWidth = kVectorWidth<T>;
  BeginParams<T> params = {};
  params.compact = compaction;
  params.compact_blocks = compaction.n * compaction.shares * compaction.n_sets;
  params.identity = view<const T>(*step.identity);
  params.y = view<T>(*step.y);
  params.activation = step.activation;
  params.flat_elements = flat_elements(*step.identity, *step.y);
  params.flat = params.flat_elements > 0;
  taken = params.flat || (step.identity->layout == DYN2TRT_NHWC && step.y->layout == DYN2TRT_NHWC);
  if (!taken) return DYN2TRT_OK;
  const bool vectors =
      params.flat ? aligned(step.identity->data, 16) && aligned(step.y->data, 16)
                  : has_vectors(*step.identity, step.dtype, kWidth) && has_vectors(*step.y, step.dtype, kWidth);
  return vectors ? launch_begin<Begin<T, kWidth>>(params, stream) : launch_begin<Begin<T, 1>>(params, stream);
}

}  // namespace

int compact(const CompactStep& step, void* stream) {
  CompactParams params = {};
  params.mask = step.mask;
  params.threshold = step.threshold;
  params.n = step.n;
  params.mask_h = step.mask_h;
  params.mask_w = step.mask_w;
  params.n_sets = step.n_sets;
  params.zeros = step.zeros;
  params.n_zeros = step.n_zeros;
  int64_t largest = 0;
  for (int i = 0; i < step.n_sets; ++i) {
    const Dyn2trtSiteSet& set = step.sets[i].set;
    params.sets[i] = {set.sites, set.slots, set.count, set.h, set.w, step.sets[i].geometry};
    largest = std::max(largest, positions(1, set.h, set.w));
  }
  if (step.n == 0 || step.n_sets == 0) return DYN2TRT_OK;

  // A block writes some 8 sites a thread before sharing the image with others pays, and images alone fill a device.
  constexpr int kMostShares = 16;
  const int64_t wanted = ceil_div<int64_t>(largest, 8 * 1024);
  params.shares = static_cast<int>(std::clamp<int64_t>(std::min<int64_t>(wanted, 256 / step.n), 1, kMostShares));

  if (step.y != nullptr) {
    bool taken = false;
    DYN2TRT_TRY(with_dtype(step.dtype, [&](auto* t) {
      return begin_as<std::remove_pointer_t<decltype(t)>>(step, params, taken, stream);
    }));
    if (taken) return DYN2TRT_OK;
    DYN2TRT_TRY(
        scatter({step.dtype, DYN2TRT_REDUCE_ADD, step.activation, *step.identity, *step.y, nullptr, {}}, stream));
  }
  const Grid grid = {static_cast<unsigned>(step.n) * params.shares * step.n_sets};
  const int64_t mask_words = int64_t{ceil_div(step.mask_w, 32)} * step.mask_h;
  if (largest <= 2048 && mask_words <= Compact<256>::kWords) return launch<Compact<256>>(grid, params, stream);
  return launch<Compact<1024>>(grid, params, stream);
}

}  // namespace dyn2trt

int dyn2trt_mask_gather(const Dyn2trtMaskGather* params, void* stream) {
  using namespace dyn2trt;
  const Dyn2trtMaskGather& p = *params;
  const Dyn2trtSiteSet& set = p.set;
  DYN2TRT_TRY(check_dtype(p.dtype));
  DYN2TRT_TRY(check_geometry(p.geometry));
  DYN2TRT_TRY(check_grid("set", set.n, set.h, set.w));
  DYN2TRT_TRY(check_grid("mask", set.n, p.mask_h, p.mask_w));
  int32_t ho = 0, wo = 0;
  DYN2TRT_TRY(dyn2trt_output_grid(&p.geometry, set.h, set.w, &ho, &wo));
  if (ho != p.mask_h || wo != p.mask_w) {
    return fail(DYN2TRT_INVALID_ARGUMENT,
                "the geometry gives an output grid of %d x %d for the set's grid %d x %d, but mask is %d x %d", ho, wo,
                set.h, set.w, p.mask_h, p.mask_w);
  }
  const bool gathers = p.x.data != nullptr || p.rows != nullptr;
  if (gathers) {
    DYN2TRT_TRY(check_dense("x", p.x, p.dtype));
    if (p.x.n != set.n || p.x.h != set.h || p.x.w != set.w) {
      return fail(DYN2TRT_INVALID_ARGUMENT, "x [%d, %d, %d, %d] does not lie on the set's grid [%d, %d, %d]", p.x.n,
                  p.x.c, p.x.h, p.x.w, set.n, set.h, set.w);
    }
  }
  if (set.n == 0) return DYN2TRT_OK;
  DYN2TRT_TRY(check_pointer("count", set.count, alignof(int32_t)));
  if (positions(set.n, set.h, set.w) > 0) {
    DYN2TRT_TRY(check_pointer("sites", set.sites, alignof(int32_t)));
    DYN2TRT_TRY(check_pointer("slots", set.slots, alignof(int32_t)));
  }
  if (positions(set.n, p.mask_h, p.mask_w) > 0) DYN2TRT_TRY(check_pointer("mask", p.mask, alignof(float)));

  CompactStep step = {};
  step.mask = p.mask;
  step.threshold = p.threshold;
  step.n = set.n;
  step.mask_h = p.mask_h;
  step.mask_w = p.mask_w;
  step.n_sets = 1;
  step.sets[0] = {set, p.geometry};
  DYN2TRT_TRY(compact(step, stream));
  if (!gathers || positions(set.n, set.h, set.w) * p.x.c == 0) return DYN2TRT_OK;
  DYN2TRT_TRY(check_pointer("rows", p.rows, bytes_of(p.dtype)));
  return gather({p.dtype, p.x, set, p.rows}, stream);
}
