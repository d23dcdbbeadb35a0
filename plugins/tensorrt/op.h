// What one op is, as data: everything that the plugin and creator classes need to know about it.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "attributes.h"
#include "tensor.h"

namespace dyn2trt::tensorrt {

// What types and formats a tensor may have. T is one of float32, float16, bfloat16, the same throughout an op.
enum class Role {
  kDense,  // T, linear or channels-last (kHWC8), the same in all dense tensors of an op
  kFlat,   // T, linear: weights, biases, rows
  kMask,   // float32, linear
  kIndex,  // int32, linear
};

struct TensorSpec {
  char const* name;
  Role role;
  // Sizes by symbol, like {"N", "C", "H", "W"}; the same symbol has the same size throughout an op. A number is that
  // very size, "?" any.
  std::vector<char const*> shape;
};

// Inputs and outputs of one call.
struct Call {
  Attributes const& attributes;
  std::vector<Tensor> inputs;
  std::vector<Tensor> outputs;

  // Pointer to an input's data.
  void const* in(size_t index) const { return inputs[index].data; }
};

struct Op {
  char const* name;
  std::vector<Attribute> attributes;
  Attributes defaults;

  // Inputs of which those from `required` on may be left out, together or one by one from the end.
  std::vector<TensorSpec> inputs;
  size_t required;
  std::vector<TensorSpec> outputs;

  // What is wrong with these attributes, empty when nothing is. May be null.
  std::string (*checkAttributes)(Attributes const& attributes);

  // What is wrong with a call whose tensors have the specified shapes each. May be null.
  std::string (*checkCall)(Call const& call);

  // Shape of the inputs where it depends on the attributes. May be null.
  void (*adaptInputs)(Attributes const& attributes, std::vector<TensorSpec>& inputs);

  void (*outputShapes)(Attributes const& attributes, nvinfer1::DimsExprs const* inputs, int32_t nbInputs,
                       nvinfer1::DimsExprs* outputs, nvinfer1::IExprBuilder& builder);

  // Scratch memory, by the core's own query, which also checks sizes. May be null.
  int (*workspace)(Call const& call, size_t* bytes);

  int (*enqueue)(Call const& call, void* workspace, size_t workspaceBytes, void* stream);
};

// In the order of PRIMITIVES and COMPOSITES of dyn2trt/contract.py.
std::vector<Op> const& allOps();

// Each from the folder of its name.
Op maskGather();
Op sparseConv();
Op maskScatter();
Op gatedInvertedResidual();
Op gatedBasicBlock();
Op gatedBottleneck();

}  // namespace dyn2trt::tensorrt
