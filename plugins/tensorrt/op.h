// What one op is to the plugin and creator classes: its row of the contract, and what that cannot say.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "attributes.h"
#include "tensor.h"

namespace dyn2trt::tensorrt {

// Inputs and outputs of one call.
struct Call {
  contract::Op const& schema;
  Attributes const& attributes;
  std::vector<Tensor> inputs;
  std::vector<Tensor> outputs;

  // Pointer to an input's data.
  void const* in(size_t index) const { return inputs[index].data; }
};

struct Hooks {
  // What is wrong with these attributes, empty when nothing is. May be null.
  std::string (*checkAttributes)(contract::Op const& schema, Attributes const& attributes);

  // What is wrong with a call whose tensors have the specified shapes each. May be null.
  std::string (*checkCall)(Call const& call);

  // Shape of the inputs where it depends on the attributes. May be null.
  void (*adaptInputs)(Attributes const& attributes, std::vector<contract::TensorSpec>& inputs);

  // Null where the symbols of the outputs' shapes all occur among the inputs'.
  void (*outputShapes)(Attributes const& attributes, nvinfer1::DimsExprs const* inputs, int32_t nbInputs,
                       nvinfer1::DimsExprs* outputs, nvinfer1::IExprBuilder& builder);

  // Scratch memory, by the core's own query, which also checks sizes. May be null.
  int (*workspace)(Call const& call, size_t* bytes);

  int (*enqueue)(Call const& call, void* workspace, size_t workspaceBytes, void* stream);
};

struct Op {
  contract::Op const& schema;
  Hooks hooks;

  char const* name() const { return schema.name; }
  size_t nbInputs() const { return static_cast<size_t>(schema.n_inputs); }
  size_t nbOutputs() const { return static_cast<size_t>(schema.n_outputs); }
  // Inputs from there on may be left out, together or one by one from the end.
  size_t nbRequired() const;
};

// In the order of the contract.
std::vector<Op> const& allOps();

// Each in a file of its name.
Hooks maskGather();
Hooks sparseConv();
Hooks maskScatter();
Hooks gatedBlock();

}  // namespace dyn2trt::tensorrt
