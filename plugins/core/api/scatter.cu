#include "api/dispatch.h"
#include "api/steps.h"
#include "kernels/scatter.cuh"
#include "launch/launch.cuh"

namespace dyn2trt {
namespace {

template <class Kernel, class T>
int launch_scatter(ScatterParams<T> params, int per_block, void* stream) {
  params.blocks_per_image = ceil_div(params.y.h * params.y.w, per_block);
  return launch<Kernel>({static_cast<unsigned>(params.y.n * params.blocks_per_image)}, params, stream);
}

// All positions of y, by slots.
template <class T>
int scatter_all(const ScatterStep& step, const ScatterParams<T>& params, void* stream) {
  constexpr int kWidth = kVectorWidth<T>;
  const bool vectors =
      has_vectors(step.base, step.dtype, kWidth) && has_vectors(step.y, step.dtype, kWidth) && aligned(step.rows, 16);
  if (vectors) {
    using Kernel = ScatterChannelsLast<T, kWidth>;
    return launch_scatter<Kernel>(params, Kernel::kPositions, stream);
  }
  if (step.base.layout == DYN2TRT_NHWC && step.y.layout == DYN2TRT_NHWC) {
    using Kernel = ScatterChannelsLast<T, 1>;
    return launch_scatter<Kernel>(params, Kernel::kPositions, stream);
  }
  return launch_scatter<ScatterPlanar<T>>(params, ScatterPlanar<T>::kPositions, stream);
}

template <class T>
int scatter_as(const ScatterStep& step, void* stream) {
  ScatterParams<T> params = {view<const T>(step.base),
                             view<T>(step.y),
                             static_cast<const T*>(step.rows),
                             step.set.sites,
                             step.set.slots,
                             step.set.count,
                             step.reduction == DYN2TRT_REDUCE_ADD,
                             step.activation,
                             0};
  if (step.rows == nullptr || step.set.slots != nullptr) return scatter_all(step, params, stream);
  if (step.base.data != step.y.data) {
    ScatterStep copy = step;
    copy.rows = nullptr;
    ScatterParams<T> copy_params = params;
    copy_params.rows = nullptr;
    DYN2TRT_TRY(scatter_all(copy, copy_params, stream));
  }
  return launch_scatter<ScatterSites<T>>(params, ScatterSites<T>::kRows, stream);
}

}  // namespace

int scatter(const ScatterStep& step, void* stream) {
  if (positions(step.y.n, step.y.h, step.y.w) * step.y.c == 0) return DYN2TRT_OK;
  return with_dtype(step.dtype, [&](auto* t) { return scatter_as<std::remove_pointer_t<decltype(t)>>(step, stream); });
}

}  // namespace dyn2trt

int dyn2trt_mask_scatter(const Dyn2trtMaskScatter* params, void* stream) {
  using namespace dyn2trt;
  const Dyn2trtMaskScatter& p = *params;
  DYN2TRT_TRY(check_dtype(p.dtype));
  DYN2TRT_TRY(check_activation(p.activation));
  if (p.reduction != DYN2TRT_REDUCE_ADD && p.reduction != DYN2TRT_REDUCE_NONE) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "reduction is 0 (add) or 1 (none), not %d", p.reduction);
  }
  DYN2TRT_TRY(check_dense("base", p.base, p.dtype));
  DYN2TRT_TRY(check_dense("y", p.y, p.dtype));
  DYN2TRT_TRY(check_same_shape("base", p.base, "y", p.y));
  if (p.set.n != p.base.n || p.set.h != p.base.h || p.set.w != p.base.w) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "base [%d, %d, %d, %d] does not lie on the set's grid [%d, %d, %d]", p.base.n,
                p.base.c, p.base.h, p.base.w, p.set.n, p.set.h, p.set.w);
  }
  if (positions(p.y.n, p.y.h, p.y.w) * p.y.c == 0) return DYN2TRT_OK;
  DYN2TRT_TRY(check_pointer("rows", p.rows, bytes_of(p.dtype)));
  if (p.set.slots == nullptr) {
    DYN2TRT_TRY(check_pointer("sites", p.set.sites, alignof(int32_t)));
    DYN2TRT_TRY(check_pointer("count", p.set.count, alignof(int32_t)));
    if (p.base.data == p.y.data && p.activation != DYN2TRT_NONE) {
      return fail(DYN2TRT_UNSUPPORTED, "y may be base only with slots or without an activation");
    }
  }
  return scatter({p.dtype, p.reduction, p.activation, p.base, p.y, p.rows, p.set}, stream);
}
