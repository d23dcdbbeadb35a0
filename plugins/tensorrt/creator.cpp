#include "creator.h"

#include <deque>
#include <new>

#include "log.h"
#include "plugin.h"

namespace dyn2trt::tensorrt {

Creator::Creator(Op const& op) : op_(op) {
  for (Attribute const attribute : attributesOf(op.schema)) fields_.push_back(describe(attribute));
  collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
}

char const* Creator::getPluginVersion() const noexcept { return kVersion; }

char const* Creator::getPluginNamespace() const noexcept { return kNamespace; }

nvinfer1::IPluginV3* Creator::createPlugin(char const* name, nvinfer1::PluginFieldCollection const* fields,
                                           nvinfer1::TensorRTPhase) noexcept {
  Attributes attributes = op_.schema.defaults;
  std::string wrong = fields != nullptr ? fromFields(attributesOf(op_.schema), *fields, attributes) : "";
  if (wrong.empty() && op_.hooks.checkAttributes != nullptr) {
    wrong = op_.hooks.checkAttributes(op_.schema, attributes);
  }
  if (!wrong.empty()) {
    std::string const node = name != nullptr && name[0] != '\0' ? std::string("node ") + name + ": " : "";
    logError(op_.name(), node + wrong);
    return nullptr;
  }
  return new (std::nothrow) Plugin(op_, attributes);
}

std::vector<nvinfer1::IPluginCreatorInterface*> const& allCreators() {
  static std::deque<Creator> creators(allOps().begin(), allOps().end());
  static std::vector<nvinfer1::IPluginCreatorInterface*> const pointers = [] {
    std::vector<nvinfer1::IPluginCreatorInterface*> made;
    for (Creator& creator : creators) made.push_back(&creator);
    return made;
  }();
  return pointers;
}

}  // namespace dyn2trt::tensorrt
