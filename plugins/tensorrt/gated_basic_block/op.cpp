#include "residual.h"

namespace dyn2trt::tensorrt {
namespace {

enum Weight : size_t { kConv1 = kWeights, kConv1Bias, kConv2, kConv2Bias };

Dyn2trtGatedBasicBlock toParams(Call const& call) {
  auto params = toResidualParams<Dyn2trtGatedBasicBlock>(call);
  params.conv1_weight = call.in(kConv1);
  params.conv1_bias = call.in(kConv1Bias);
  params.conv2_weight = call.in(kConv2);
  params.conv2_bias = call.in(kConv2Bias);
  return params;
}

int workspace(Call const& call, size_t* bytes) {
  Dyn2trtGatedBasicBlock const params = toParams(call);
  return dyn2trt_gated_basic_block_workspace(&params, bytes);
}

int enqueue(Call const& call, void* workspace, size_t workspaceBytes, void* stream) {
  Dyn2trtGatedBasicBlock const params = toParams(call);
  return dyn2trt_gated_basic_block(&params, workspace, workspaceBytes, stream);
}

}  // namespace

Op gatedBasicBlock() {
  Op op = residualOp("GatedBasicBlock");
  op.inputs.insert(op.inputs.end(), {{"conv1_weight", Role::kFlat, {"Co", "3", "3", "C"}},
                                     {"conv1_bias", Role::kFlat, {"Co"}},
                                     {"conv2_weight", Role::kFlat, {"Co", "3", "3", "Co"}},
                                     {"conv2_bias", Role::kFlat, {"Co"}}});
  op.required = op.inputs.size();
  op.workspace = workspace;
  op.enqueue = enqueue;
  return op;
}

}  // namespace dyn2trt::tensorrt
