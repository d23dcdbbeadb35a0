#include "op.h"

namespace dyn2trt::tensorrt {
namespace {

enum Input : size_t { kBase, kRows, kSites, kCount };

std::string checkCall(Call const& call) {
  std::vector<int32_t> const& base = call.inputs[kBase].dims;
  int32_t const capacity = base[0] * base[2] * base[3], rows = call.inputs[kRows].dim(0);
  if (rows == capacity) return "";
  return "base of " + toString(base) + " takes " + std::to_string(capacity) + " rows, not " + std::to_string(rows);
}

int enqueue(Call const& call, void*, size_t, void* stream) {
  Tensor const& base = call.inputs[kBase];
  Dyn2trtMaskScatter params{};
  params.dtype = toDtype(base.type);
  params.reduction = call.attributes.reduction;
  params.activation = call.attributes.activation;
  params.base = toDense(base);
  params.rows = call.in(kRows);
  params.set = {static_cast<int32_t*>(call.inputs[kSites].data),
                nullptr,
                static_cast<int32_t*>(call.inputs[kCount].data),
                base.dim(0),
                base.dim(2),
                base.dim(3)};
  params.y = toDense(call.outputs[0]);
  return dyn2trt_mask_scatter(&params, stream);
}

}  // namespace

Hooks maskScatter() {
  Hooks hooks{};
  hooks.checkCall = checkCall;
  hooks.enqueue = enqueue;
  return hooks;
}

}  // namespace dyn2trt::tensorrt
