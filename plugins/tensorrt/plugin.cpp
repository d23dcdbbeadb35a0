#include "plugin.h"

#include <algorithm>
#include <new>

#include "log.h"
#include "tensor_specs.h"

namespace dyn2trt::tensorrt {
namespace {

using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginTensorDesc;

constexpr int32_t kOk = 0;
constexpr int32_t kError = 1;

// The core aligns its scratch memory as cudaMalloc does; TensorRT says nothing about that of a plugin.
constexpr size_t kAlignment = 256;

void* aligned(void* pointer) {
  auto const address = reinterpret_cast<uintptr_t>(pointer);
  return reinterpret_cast<void*>((address + kAlignment - 1) / kAlignment * kAlignment);
}

Call largestCall(Op const& op, Attributes const& attributes, DynamicPluginTensorDesc const* inputs, int32_t nbInputs,
                 DynamicPluginTensorDesc const* outputs, int32_t nbOutputs) {
  Call call{op.schema, attributes, {}, {}};
  for (int32_t i = 0; i < nbInputs; ++i) call.inputs.push_back(toLargestTensor(inputs[i]));
  for (int32_t i = 0; i < nbOutputs; ++i) call.outputs.push_back(toLargestTensor(outputs[i]));
  return call;
}

}  // namespace

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept {
  switch (type) {
    case nvinfer1::PluginCapabilityType::kCORE:
      return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD:
      return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME:
      return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

nvinfer1::IPluginV3* Plugin::clone() noexcept {
  auto* const plugin = new (std::nothrow) Plugin(op_, attributes_);
  if (plugin != nullptr) {
    plugin->nbInputs_ = nbInputs_;
    plugin->workspaceBytes_ = workspaceBytes_;
  }
  return plugin;
}

// A context gets a plugin of its own, so that contexts of different shapes do not meet.
nvinfer1::IPluginV3* Plugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept { return clone(); }

int32_t Plugin::getOutputDataTypes(nvinfer1::DataType* outputTypes, int32_t nbOutputs,
                                   nvinfer1::DataType const* inputTypes, int32_t nbInputs) const noexcept {
  for (int32_t i = 0; i < nbOutputs; ++i) {
    outputTypes[i] = outputType(op_, static_cast<size_t>(i), inputTypes, nbInputs);
  }
  return kOk;
}

int32_t Plugin::getOutputShapes(nvinfer1::DimsExprs const* inputs, int32_t nbInputs, nvinfer1::DimsExprs const*,
                                int32_t, nvinfer1::DimsExprs* outputs, int32_t,
                                nvinfer1::IExprBuilder& builder) noexcept {
  // Ranks only: sizes may still be unknown, and are checked by configurePlugin.
  auto const count = static_cast<size_t>(nbInputs);
  std::string const wrong = checkInputCount(op_, count);
  if (!wrong.empty()) return refuse(wrong);
  std::vector<contract::TensorSpec> const specs = inputSpecs(op_, attributes_, count);
  for (size_t i = 0; i < count; ++i) {
    if (inputs[i].nbDims != specs[i].rank) {
      return refuse(std::string(specs[i].name) + " has " + std::to_string(specs[i].rank) + " dimensions, not " +
                    std::to_string(inputs[i].nbDims));
    }
  }
  if (op_.hooks.outputShapes != nullptr) {
    op_.hooks.outputShapes(attributes_, inputs, nbInputs, outputs, builder);
  } else {
    outputShapes(op_, inputs, outputs, builder);
  }
  return kOk;
}

bool Plugin::supportsFormatCombination(int32_t position, DynamicPluginTensorDesc const* tensors, int32_t nbInputs,
                                       int32_t) noexcept {
  std::vector<contract::TensorSpec> specs = inputSpecs(op_, attributes_, static_cast<size_t>(nbInputs));
  specs.insert(specs.end(), op_.schema.outputs, op_.schema.outputs + op_.nbOutputs());
  return supportsFormat(specs, position, tensors);
}

int32_t Plugin::configurePlugin(DynamicPluginTensorDesc const* inputs, int32_t nbInputs,
                                DynamicPluginTensorDesc const* outputs, int32_t nbOutputs) noexcept {
  Call const call = largestCall(op_, attributes_, inputs, nbInputs, outputs, nbOutputs);
  size_t bytes = 0;
  int32_t const status = check(call, &bytes);
  if (status == kOk) {
    bool const last = std::any_of(call.inputs.begin(), call.inputs.end(),
                                  [](Tensor const& tensor) { return tensor.format == nvinfer1::TensorFormat::kHWC8; });
    logVerbose(op_.name(), std::string("configured in ") + (last ? "kHWC8" : "kLINEAR") + ", " + std::to_string(bytes) +
                               " bytes of workspace");
  }
  return status;
}

size_t Plugin::getWorkspaceSize(DynamicPluginTensorDesc const* inputs, int32_t nbInputs,
                                DynamicPluginTensorDesc const* outputs, int32_t nbOutputs) const noexcept {
  size_t bytes = 0;
  check(largestCall(op_, attributes_, inputs, nbInputs, outputs, nbOutputs), &bytes);
  return bytes == 0 ? 0 : bytes + kAlignment - 1;
}

int32_t Plugin::onShapeChange(PluginTensorDesc const* inputs, int32_t nbInputs, PluginTensorDesc const* outputs,
                              int32_t nbOutputs) noexcept {
  Call call{op_.schema, attributes_, {}, {}};
  for (int32_t i = 0; i < nbInputs; ++i) call.inputs.push_back(toTensor(inputs[i]));
  for (int32_t i = 0; i < nbOutputs; ++i) call.outputs.push_back(toTensor(outputs[i]));
  nbInputs_ = call.inputs.size();
  workspaceBytes_ = 0;
  return check(call, &workspaceBytes_);
}

int32_t Plugin::enqueue(PluginTensorDesc const* inputDescriptions, PluginTensorDesc const* outputDescriptions,
                        void const* const* inputs, void* const* outputs, void* workspace,
                        cudaStream_t stream) noexcept {
  Call call{op_.schema, attributes_, {}, {}};
  for (size_t i = 0; i < nbInputs_; ++i) call.inputs.push_back(toTensor(inputDescriptions[i], inputs[i]));
  for (size_t i = 0; i < op_.nbOutputs(); ++i) call.outputs.push_back(toTensor(outputDescriptions[i], outputs[i]));
  // TensorRT gave what getWorkspaceSize asked for at the largest shape, which is enough at this one.
  int const status = op_.hooks.enqueue(call, aligned(workspace), workspaceBytes_, stream);
  return status == DYN2TRT_OK ? kOk : refuse(dyn2trt_last_error());
}

nvinfer1::PluginFieldCollection const* Plugin::getFieldsToSerialize() noexcept {
  fields_ = toFields(attributesOf(op_.schema), attributes_);
  collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
  return &collection_;
}

int32_t Plugin::refuse(std::string const& message) const noexcept {
  logError(op_.name(), message);
  return kError;
}

int32_t Plugin::check(Call const& call, size_t* workspaceBytes) const noexcept {
  std::string const wrong = checkShapes(op_, call);
  if (!wrong.empty()) return refuse(wrong);
  if (op_.hooks.workspace != nullptr && op_.hooks.workspace(call, workspaceBytes) != DYN2TRT_OK) {
    return refuse(dyn2trt_last_error());
  }
  return kOk;
}

}  // namespace dyn2trt::tensorrt
