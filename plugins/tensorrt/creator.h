// The one creator class: makes the Plugin of an Op from fields that it validates.
#pragma once

#include <NvInferRuntime.h>

#include "op.h"

namespace dyn2trt::tensorrt {

class Creator : public nvinfer1::IPluginCreatorV3One {
 public:
  explicit Creator(Op const& op);

  // From an ONNX node's attributes or from a plan. Null, and a message in TensorRT's log, when they do not fit.
  nvinfer1::IPluginV3* createPlugin(char const* name, nvinfer1::PluginFieldCollection const* fields,
                                    nvinfer1::TensorRTPhase phase) noexcept override;
  nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override { return &collection_; }
  char const* getPluginName() const noexcept override { return op_.name(); }
  char const* getPluginVersion() const noexcept override;
  char const* getPluginNamespace() const noexcept override;

 private:
  Op const& op_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

// One for each op, for as long as the process lives.
std::vector<nvinfer1::IPluginCreatorInterface*> const& allCreators();

}  // namespace dyn2trt::tensorrt
