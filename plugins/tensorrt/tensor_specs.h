// Checks of a call against an op's specification, with messages, and the formats that TensorRT may choose from.
#pragma once

#include <string>

#include "op.h"

namespace dyn2trt::tensorrt {

// The op's inputs for these attributes and this number of them; `nbInputs` beyond the specification are cut off.
std::vector<contract::TensorSpec> inputSpecs(Op const& op, Attributes const& attributes, size_t nbInputs);

// What is wrong with the number of inputs, empty when nothing is.
std::string checkInputCount(Op const& op, size_t nbInputs);

// What is wrong with the number of inputs or a tensor's shape: what was expected and what came. Empty when all fits.
std::string checkShapes(Op const& op, Call const& call);

// Whether tensor `position` (inputs, then outputs) may have its type and format, given those before it.
bool supportsFormat(std::vector<contract::TensorSpec> const& specs, int32_t position,
                    nvinfer1::DynamicPluginTensorDesc const* tensors);

// Sizes of the outputs where their symbols occur among the inputs'.
void outputShapes(Op const& op, nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs* outputs,
                  nvinfer1::IExprBuilder& builder);

// Type of each output: T, or what its role says.
nvinfer1::DataType outputType(Op const& op, size_t output, nvinfer1::DataType const* inputTypes, int32_t nbInputs);

}  // namespace dyn2trt::tensorrt
