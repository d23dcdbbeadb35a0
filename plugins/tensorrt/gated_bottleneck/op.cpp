#include "residual.h"

namespace dyn2trt::tensorrt {
namespace {

enum Weight : size_t { kConv1 = kWeights, kConv1Bias, kConv2, kConv2Bias, kConv3, kConv3Bias };

Dyn2trtGatedBottleneck toParams(Call const& call) {
  auto params = toResidualParams<Dyn2trtGatedBottleneck>(call);
  params.width = call.inputs[kConv1].dim(0);
  params.conv1_weight = call.in(kConv1);
  params.conv1_bias = call.in(kConv1Bias);
  params.conv2_weight = call.in(kConv2);
  params.conv2_bias = call.in(kConv2Bias);
  params.conv3_weight = call.in(kConv3);
  params.conv3_bias = call.in(kConv3Bias);
  return params;
}

int workspace(Call const& call, size_t* bytes) {
  Dyn2trtGatedBottleneck const params = toParams(call);
  return dyn2trt_gated_bottleneck_workspace(&params, bytes);
}

int enqueue(Call const& call, void* workspace, size_t workspaceBytes, void* stream) {
  Dyn2trtGatedBottleneck const params = toParams(call);
  return dyn2trt_gated_bottleneck(&params, workspace, workspaceBytes, stream);
}

}  // namespace

Op gatedBottleneck() {
  Op op = residualOp("GatedBottleneck");
  op.inputs.insert(op.inputs.end(), {{"conv1_weight", Role::kFlat, {"B", "1", "1", "C"}},
                                     {"conv1_bias", Role::kFlat, {"B"}},
                                     {"conv2_weight", Role::kFlat, {"B", "3", "3", "B"}},
                                     {"conv2_bias", Role::kFlat, {"B"}},
                                     {"conv3_weight", Role::kFlat, {"Co", "1", "1", "B"}},
                                     {"conv3_bias", Role::kFlat, {"Co"}}});
  op.required = op.inputs.size();
  op.workspace = workspace;
  op.enqueue = enqueue;
  return op;
}

}  // namespace dyn2trt::tensorrt
