// What GatedBasicBlock and GatedBottleneck have in common.
#pragma once

#include "op.h"

namespace dyn2trt::tensorrt {

// Inputs that both begin with; mask, identity and y have the grid that the stride gives for x.
enum ResidualInput : size_t { kX, kMask, kIdentity, kWeights };

inline std::string checkResidualAttributes(Attributes const& attributes) {
  int32_t const* strides = attributes.strides;
  if (strides[0] == strides[1] && (strides[0] == 1 || strides[0] == 2)) return "";
  return "strides is [1, 1] or [2, 2], not [" + std::to_string(strides[0]) + ", " + std::to_string(strides[1]) + "]";
}

inline void residualOutputShapes(Attributes const&, nvinfer1::DimsExprs const* inputs, int32_t,
                                 nvinfer1::DimsExprs* outputs, nvinfer1::IExprBuilder&) {
  outputs[0] = inputs[kIdentity];
}

// Everything but the weights.
template <class Params>
Params toResidualParams(Call const& call) {
  Params params{};
  params.dtype = toDtype(call.inputs[kX].type);
  params.activation = call.attributes.activation;
  params.stride_h = call.attributes.strides[0];
  params.stride_w = call.attributes.strides[1];
  params.threshold = call.attributes.threshold;
  params.mask = static_cast<float const*>(call.in(kMask));
  params.x = toDense(call.inputs[kX]);
  params.identity = toDense(call.inputs[kIdentity]);
  params.y = toDense(call.outputs[0]);
  return params;
}

// Everything but the weights, the workspace query and the function.
inline Op residualOp(char const* name) {
  Op op{};
  op.name = name;
  op.attributes = {Attribute::kThreshold, Attribute::kStrides, Attribute::kActivation};
  op.defaults.activation = DYN2TRT_RELU;
  op.inputs = {{"x", Role::kDense, {"N", "C", "H", "W"}},
               {"mask", Role::kMask, {"N", "1", "Ho", "Wo"}},
               {"identity", Role::kDense, {"N", "Co", "Ho", "Wo"}}};
  op.outputs = {{"y", Role::kDense, {"N", "Co", "Ho", "Wo"}}};
  op.checkAttributes = checkResidualAttributes;
  op.outputShapes = residualOutputShapes;
  return op;
}

}  // namespace dyn2trt::tensorrt
