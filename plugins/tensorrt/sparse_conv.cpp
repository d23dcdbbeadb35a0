#include "op.h"

namespace dyn2trt::tensorrt {
namespace {

using nvinfer1::DimsExprs;

enum Input : size_t { kRows, kWeight, kBias, kSlots, kSites, kCount };

bool isDepthwise(Attributes const& attributes) { return attributes.group != 1; }

bool isPointwise(Attributes const& a) {
  return a.kernel_shape[0] == 1 && a.kernel_shape[1] == 1 && a.strides[0] == 1 && a.strides[1] == 1 && a.pads[0] == 0 &&
         a.pads[1] == 0 && a.pads[2] == 0 && a.pads[3] == 0;
}

void adaptInputs(Attributes const& attributes, std::vector<contract::TensorSpec>& inputs) {
  if (!isDepthwise(attributes)) return;
  inputs[kWeight] = {"weight", contract::Role::kFlat, 3, {"kh", "kw", "C"}, false};
  inputs[kRows].shape[1] = "C";
  inputs[kBias].shape[0] = "C";
}

void outputShapes(Attributes const&, DimsExprs const* inputs, int32_t nbInputs, DimsExprs* outputs,
                  nvinfer1::IExprBuilder&) {
  bool const keepsSet = nbInputs <= static_cast<int32_t>(kSites);
  outputs[0].nbDims = 2;
  outputs[0].d[0] = keepsSet ? inputs[kRows].d[0] : inputs[kSites].d[0];
  outputs[0].d[1] = inputs[kBias].d[0];
}

std::string checkRows(char const* what, Tensor const& rows, int32_t n, int32_t h, int32_t w) {
  if (rows.dim(0) == n * h * w) return "";
  return std::string("the grid ") + toString({n, h, w}) + " takes " + std::to_string(n * h * w) + " " + what +
         ", not " + std::to_string(rows.dim(0));
}

std::string checkCall(Call const& call) {
  Attributes const& attributes = call.attributes;
  Dyn2trtGeometry const geometry = geometryOf(attributes);
  int32_t const channels = call.inputs[kRows].dim(1);
  size_t const kernelAxis = isDepthwise(attributes) ? 0 : 1;
  Tensor const& weight = call.inputs[kWeight];
  if (weight.dim(kernelAxis) != geometry.kernel_h || weight.dim(kernelAxis + 1) != geometry.kernel_w) {
    return "kernel_shape is " + toString({geometry.kernel_h, geometry.kernel_w}) + ", the weight is " +
           toString(weight.dims);
  }
  if (isDepthwise(attributes) && attributes.group != 0 && attributes.group != channels) {
    return "group is 1 or the " + std::to_string(channels) + " channels, not " + std::to_string(attributes.group);
  }
  if (call.inputs.size() == kSlots) {
    return isPointwise(attributes) ? "" : "only a pointwise 1x1 keeps its set; give slots, sites and count";
  }
  if (call.inputs.size() <= kCount) return "slots, sites and count come together";
  std::vector<int32_t> const& grid = call.inputs[kSlots].dims;
  int32_t ho = 0, wo = 0;
  if (dyn2trt_output_grid(&geometry, grid[1], grid[2], &ho, &wo) != DYN2TRT_OK) return dyn2trt_last_error();
  std::string const wrong = checkRows("rows", call.inputs[kRows], grid[0], grid[1], grid[2]);
  return wrong.empty() ? checkRows("sites", call.inputs[kSites], grid[0], ho, wo) : wrong;
}

int enqueue(Call const& call, void*, size_t, void* stream) {
  Tensor const& rows = call.inputs[kRows];
  Dyn2trtSparseConv params{};
  params.dtype = toDtype(rows.type);
  params.activation = call.attributes.activation;
  params.c_in = rows.dim(1);
  params.c_out = call.inputs[kBias].dim(0);
  params.group = isDepthwise(call.attributes) ? params.c_in : 1;
  params.geometry = geometryOf(call.attributes);
  params.rows = rows.data;
  params.weight = call.in(kWeight);
  params.bias = call.in(kBias);
  params.rows_out = call.outputs[0].data;
  if (call.inputs.size() > kCount) {
    Tensor const& slots = call.inputs[kSlots];
    params.input = {nullptr, static_cast<int32_t*>(slots.data), nullptr, slots.dim(0), slots.dim(1), slots.dim(2)};
    params.output = params.input;
    params.output.slots = nullptr;
    params.output.sites = static_cast<int32_t*>(call.inputs[kSites].data);
    params.output.count = static_cast<int32_t*>(call.inputs[kCount].data);
    int const status =
        dyn2trt_output_grid(&params.geometry, params.input.h, params.input.w, &params.output.h, &params.output.w);
    if (status != DYN2TRT_OK) return status;
  } else {
    // Without a set, as many sites of one image as there are rows, all in use.
    params.input = {nullptr, nullptr, nullptr, 1, 1, rows.dim(0)};
    params.output = params.input;
  }
  return dyn2trt_sparse_conv(&params, stream);
}

}  // namespace

Hooks sparseConv() {
  Hooks hooks{};
  hooks.adaptInputs = adaptInputs;
  hooks.checkCall = checkCall;
  hooks.outputShapes = outputShapes;
  hooks.enqueue = enqueue;
  return hooks;
}

}  // namespace dyn2trt::tensorrt
