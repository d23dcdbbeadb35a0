#include "op.h"

namespace dyn2trt::tensorrt {
namespace {

enum Input : size_t { kX, kMask, kExpand, kExpandBias, kDepthwise, kDepthwiseBias, kProject, kProjectBias };

Dyn2trtGatedInvertedResidual toParams(Call const& call) {
  Dyn2trtGatedInvertedResidual params{};
  params.dtype = toDtype(call.inputs[kX].type);
  params.activation = call.attributes.activation;
  params.threshold = call.attributes.threshold;
  params.mask = static_cast<float const*>(call.in(kMask));
  params.x = toDense(call.inputs[kX]);
  params.y = toDense(call.outputs[0]);
  params.expanded = call.inputs[kExpand].dim(0);
  params.expand_weight = call.in(kExpand);
  params.expand_bias = call.in(kExpandBias);
  params.depthwise_weight = call.in(kDepthwise);
  params.depthwise_bias = call.in(kDepthwiseBias);
  params.project_weight = call.in(kProject);
  params.project_bias = call.in(kProjectBias);
  return params;
}

void outputShapes(Attributes const&, nvinfer1::DimsExprs const* inputs, int32_t, nvinfer1::DimsExprs* outputs,
                  nvinfer1::IExprBuilder&) {
  outputs[0] = inputs[kX];
}

int workspace(Call const& call, size_t* bytes) {
  Dyn2trtGatedInvertedResidual const params = toParams(call);
  return dyn2trt_gated_inverted_residual_workspace(&params, bytes);
}

int enqueue(Call const& call, void* workspace, size_t workspaceBytes, void* stream) {
  Dyn2trtGatedInvertedResidual const params = toParams(call);
  return dyn2trt_gated_inverted_residual(&params, workspace, workspaceBytes, stream);
}

}  // namespace

Op gatedInvertedResidual() {
  Op op{};
  op.name = "GatedInvertedResidual";
  op.attributes = {Attribute::kThreshold, Attribute::kActivation};
  op.defaults.activation = DYN2TRT_RELU6;
  op.inputs = {{"x", Role::kDense, {"N", "C", "H", "W"}},
               {"mask", Role::kMask, {"N", "1", "H", "W"}},
               {"expand_weight", Role::kFlat, {"E", "1", "1", "C"}},
               {"expand_bias", Role::kFlat, {"E"}},
               {"depthwise_weight", Role::kFlat, {"3", "3", "E"}},
               {"depthwise_bias", Role::kFlat, {"E"}},
               {"project_weight", Role::kFlat, {"C", "1", "1", "E"}},
               {"project_bias", Role::kFlat, {"C"}}};
  op.required = op.inputs.size();
  op.outputs = {{"y", Role::kDense, {"N", "C", "H", "W"}}};
  op.outputShapes = outputShapes;
  op.workspace = workspace;
  op.enqueue = enqueue;
  return op;
}

}  // namespace dyn2trt::tensorrt
