// Every composite: a gated block, with logits given or a gate of its own.
#include "op.h"

namespace dyn2trt::tensorrt {
namespace {

std::string checkAttributes(contract::Op const& schema, Attributes const& attributes) {
  int32_t const* strides = attributes.strides;
  if (!contract::kBlocks[schema.block].strided) return "";
  if (strides[0] == strides[1] && (strides[0] == 1 || strides[0] == 2)) return "";
  return "strides is [1, 1] or [2, 2], not [" + std::to_string(strides[0]) + ", " + std::to_string(strides[1]) + "]";
}

// Inputs are in the order of the contract: x, mask, identity, weights of the convolutions, weights of the gate, each
// where the op has it.
Dyn2trtGatedBlock toParams(Call const& call) {
  contract::Block const& block = contract::kBlocks[call.schema.block];
  contract::Gate const& gate = contract::kGates[call.schema.gate];
  size_t position = 0;
  auto const next = [&]() -> Tensor const& { return call.inputs[position++]; };
  auto const floats = [&] { return static_cast<float const*>(next().data); };
  Dyn2trtGatedBlock params{};
  params.kind = call.schema.block;
  params.dtype = toDtype(call.inputs[0].type);
  params.activation = call.attributes.activation;
  params.stride_h = call.attributes.strides[0];
  params.stride_w = call.attributes.strides[1];
  params.gate.kind = call.schema.gate;
  params.gate.threshold = call.attributes.threshold;
  params.x = toDense(next());
  if (!gate.inside) params.gate.given = floats();
  params.identity = block.identity_is_x ? params.x : toDense(next());
  for (int32_t i = 0; i < block.n_convolutions; ++i) {
    params.convolutions[i].weight = next().data;
    Tensor const& bias = next();
    params.convolutions[i].bias = bias.data;
    params.convolutions[i].c_out = bias.dim(0);
  }
  if (gate.kernel > 0 || gate.pooled == contract::Pooled::kLayers) {
    params.gate.weight = floats();
    Tensor const& bias = next();
    params.gate.bias = static_cast<float const*>(bias.data);
    params.gate.hidden = bias.dim(0);
  }
  if (gate.pooled != contract::Pooled::kNone) {
    params.gate.pooled_weight = floats();
    params.gate.pooled_bias = floats();
  }
  params.y = toDense(call.outputs[0]);
  if (gate.inside) params.gate.logits = static_cast<float*>(call.outputs[1].data);
  return params;
}

int workspace(Call const& call, size_t* bytes) {
  Dyn2trtGatedBlock const params = toParams(call);
  return dyn2trt_gated_block_workspace(&params, bytes);
}

int enqueue(Call const& call, void* workspace, size_t workspaceBytes, void* stream) {
  Dyn2trtGatedBlock const params = toParams(call);
  return dyn2trt_gated_block(&params, workspace, workspaceBytes, stream);
}

}  // namespace

Hooks gatedBlock() {
  Hooks hooks{};
  hooks.checkAttributes = checkAttributes;
  hooks.workspace = workspace;
  hooks.enqueue = enqueue;
  return hooks;
}

}  // namespace dyn2trt::tensorrt
