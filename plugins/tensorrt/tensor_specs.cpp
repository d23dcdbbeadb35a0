#include "tensor_specs.h"

#include <cstdlib>
#include <map>

namespace dyn2trt::tensorrt {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

constexpr int32_t kVector = 8;

using contract::Role;
using contract::TensorSpec;

bool isGeneric(Role role) { return role == Role::kDense || role == Role::kFlat; }

class Symbols {
 public:
  // Binds a symbol to its first size. Returns whether `size` is what the symbol stands for.
  bool fits(char const* symbol, int32_t size) {
    if (symbol[0] >= '0' && symbol[0] <= '9') return size == std::atoi(symbol);
    return sizes_.emplace(symbol, size).first->second == size;
  }

  std::string expected(TensorSpec const& spec) const {
    std::string text;
    for (int32_t i = 0; i < spec.rank; ++i) {
      char const* const symbol = spec.shape[i];
      text += text.empty() ? "[" : ", ";
      text += symbol;
      auto const found = sizes_.find(symbol);
      if (found != sizes_.end()) text += "=" + std::to_string(found->second);
    }
    return text + "]";
  }

 private:
  std::map<std::string, int32_t> sizes_;
};

std::string checkTensor(TensorSpec const& spec, Tensor const& tensor, Symbols& symbols) {
  auto const rank = static_cast<size_t>(spec.rank);
  bool fits = tensor.rank() == rank;
  for (size_t i = 0; fits && i < rank; ++i) fits = symbols.fits(spec.shape[i], tensor.dim(i));
  if (fits) return "";
  return std::string(spec.name) + " is " + symbols.expected(spec) + ", not " + toString(tensor.dims);
}

}  // namespace

std::vector<TensorSpec> inputSpecs(Op const& op, Attributes const& attributes, size_t nbInputs) {
  std::vector<TensorSpec> specs(op.schema.inputs, op.schema.inputs + op.nbInputs());
  if (op.hooks.adaptInputs != nullptr) op.hooks.adaptInputs(attributes, specs);
  if (nbInputs < specs.size()) specs.resize(nbInputs);
  return specs;
}

std::string checkInputCount(Op const& op, size_t nbInputs) {
  size_t const required = op.nbRequired();
  if (nbInputs >= required && nbInputs <= op.nbInputs()) return "";
  std::string const most = required == op.nbInputs() ? "" : " to " + std::to_string(op.nbInputs());
  return "takes " + std::to_string(required) + most + " inputs, not " + std::to_string(nbInputs);
}

std::string checkShapes(Op const& op, Call const& call) {
  std::string const wrongCount = checkInputCount(op, call.inputs.size());
  if (!wrongCount.empty()) return wrongCount;
  std::vector<TensorSpec> const specs = inputSpecs(op, call.attributes, call.inputs.size());
  Symbols symbols;
  for (size_t i = 0; i < specs.size(); ++i) {
    std::string wrong = checkTensor(specs[i], call.inputs[i], symbols);
    if (!wrong.empty()) return wrong;
  }
  return op.hooks.checkCall != nullptr ? op.hooks.checkCall(call) : "";
}

bool supportsFormat(std::vector<TensorSpec> const& specs, int32_t position,
                    nvinfer1::DynamicPluginTensorDesc const* tensors) {
  nvinfer1::PluginTensorDesc const& tensor = tensors[position].desc;
  Role const role = specs[static_cast<size_t>(position)].role;
  bool const linear = tensor.format == TensorFormat::kLINEAR;
  if (role == Role::kFloat) return linear && tensor.type == DataType::kFLOAT;
  if (role == Role::kIndex) return linear && tensor.type == DataType::kINT32;
  if (toDtype(tensor.type) < 0) return false;
  for (int32_t i = 0; i < position; ++i) {
    Role const before = specs[static_cast<size_t>(i)].role;
    if (isGeneric(before) && tensors[i].desc.type != tensor.type) return false;
    if (before == Role::kDense && role == Role::kDense && tensors[i].desc.format != tensor.format) return false;
  }
  if (role == Role::kFlat || linear) return linear;
  // Channels-last without padding channels: nobody then has to keep them zero.
  return tensor.format == TensorFormat::kHWC8 && tensor.type != DataType::kFLOAT && tensor.dims.nbDims == 4 &&
         tensor.dims.d[1] > 0 && tensor.dims.d[1] % kVector == 0;
}

void outputShapes(Op const& op, nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs* outputs,
                  nvinfer1::IExprBuilder& builder) {
  std::map<std::string, nvinfer1::IDimensionExpr const*> sizes;
  for (size_t i = 0; i < op.nbInputs(); ++i) {
    TensorSpec const& spec = op.schema.inputs[i];
    for (int32_t axis = 0; axis < spec.rank; ++axis) sizes.emplace(spec.shape[axis], inputs[i].d[axis]);
  }
  for (size_t i = 0; i < op.nbOutputs(); ++i) {
    TensorSpec const& spec = op.schema.outputs[i];
    outputs[i].nbDims = spec.rank;
    for (int32_t axis = 0; axis < spec.rank; ++axis) {
      char const* const symbol = spec.shape[axis];
      outputs[i].d[axis] =
          symbol[0] >= '0' && symbol[0] <= '9' ? builder.constant(std::atoi(symbol)) : sizes.at(symbol);
    }
  }
}

DataType outputType(Op const& op, size_t output, DataType const* inputTypes, int32_t nbInputs) {
  Role const role = op.schema.outputs[output].role;
  if (role == Role::kIndex) return DataType::kINT32;
  if (role == Role::kFloat) return DataType::kFLOAT;
  for (size_t i = 0; i < op.nbInputs() && i < static_cast<size_t>(nbInputs); ++i) {
    if (isGeneric(op.schema.inputs[i].role)) return inputTypes[i];
  }
  return DataType::kFLOAT;
}

}  // namespace dyn2trt::tensorrt
