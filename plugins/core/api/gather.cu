#include "api/dispatch.h"
#include "api/steps.h"
#include "kernels/gather.cuh"
#include "launch/launch.cuh"

namespace dyn2trt {
namespace {

template <class Kernel, class T>
int launch_gather(GatherParams<T> params, void* stream) {
  params.blocks_per_image = ceil_div(params.x.h * params.x.w, Kernel::kRows);
  return launch<Kernel>({static_cast<unsigned>(params.x.n * params.blocks_per_image)}, params, stream);
}

template <class T>
int gather_as(const GatherStep& step, void* stream) {
  constexpr int kWidth = kVectorWidth<T>;
  const GatherParams<T> params = {view<const T>(step.x), step.set.sites, step.set.count, static_cast<T*>(step.rows), 0};
  if (has_vectors(step.x, step.dtype, kWidth) && aligned(step.rows, 16)) {
    return launch_gather<GatherChannelsLast<T, kWidth>>(params, stream);
  }
  if (step.x.layout == DYN2TRT_NHWC) return launch_gather<GatherChannelsLast<T, 1>>(params, stream);
  return launch_gather<GatherPlanar<T>>(params, stream);
}

}  // namespace

int gather(const GatherStep& step, void* stream) {
  if (positions(step.x.n, step.x.h, step.x.w) * step.x.c == 0) return DYN2TRT_OK;
  return with_dtype(step.dtype, [&](auto* t) { return gather_as<std::remove_pointer_t<decltype(t)>>(step, stream); });
}

}  // namespace dyn2trt
